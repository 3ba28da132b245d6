"""The host application's backend: it knows the API's address and has a token, nothing else."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT_S = 60
# A request that a worker goes on with is sent again, under the same key, until it is answered.
MOST_ASKED = 100
AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said: JSON, and whether it went well."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str | None:
        """A refusal's code; None where there is none."""
        return None if self.ok else str(self.body.get("code"))

    @property
    def said(self) -> str:
        """One line for a person: what was done, or why not."""
        return str(self.body.get("line" if self.ok else "detail", ""))

    @property
    def ways_out(self) -> str:
        """What to do about a refusal."""
        return "; ".join(self.body.get("remedies", []))

    def __getitem__(self, name: str) -> Any:
        """A field of the answer."""
        return self.body[name]


class Host:
    """Asks the API on behalf of the application's users."""

    def __init__(self, url: str, token: str) -> None:
        self.url = f"{url}/v1"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read; raises requests.HTTPError."""
        answer = self._session.get(self.url + path, params=query, timeout=TIMEOUT_S)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, path: str, *, by: str | None = None, **body: Any) -> Answer:
        """Ask for something, in the name of a member (`by`) or as the application itself."""
        return self._write("POST", path, by, body)

    def put(self, path: str, *, by: str | None = None, **body: Any) -> Answer:
        """Set something."""
        return self._write("PUT", path, by, body)

    def _write(self, method: str, path: str, by: str | None, body: dict[str, Any]) -> Answer:
        named = {"acting_member_id": by} if by else {}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        for _ in range(MOST_ASKED):
            answer = self._session.request(
                method, self.url + path, json=body | named, headers=headers, timeout=TIMEOUT_S
            )
            if answer.status_code != requests.codes.accepted:
                break
            time.sleep(AGAIN_S)
        return Answer(answer.status_code, answer.json())
