"""The sandbox in a thread of the tests, and a client that lets no wrong answer pass.

Real sockets and real HTTP: only the process is shared, so that a test may look at the world and
starts in milliseconds. Every answer of the API goes through `conformance`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from sandbox.api import build
from sandbox.control.doors import Doors
from sandbox.http.server import Server
from sandbox.webhooks.delivery import DeliverySettings
from sandbox.world import World
from tests.sandbox.conformance import assert_conforms

KEY = "sk_test_sandbox"
TIMEOUT_S = 30


@dataclass(frozen=True)
class Box:
    """A running sandbox."""

    url: str
    doors: Doors

    @property
    def world(self) -> World:
        """What it holds."""
        return self.doors.world


@contextmanager
def running_box(settings: DeliverySettings | None = None) -> Iterator[Box]:
    """A sandbox on a free loopback port, gone at the end."""
    doors = Doors(World(), settings or DeliverySettings(retry_scale=0.0, timeout_s=5))
    server = Server("127.0.0.1", 0, build(doors).handle)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    doors.start()
    try:
        yield Box(f"http://127.0.0.1:{server.port}", doors)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        doors.stop()


@dataclass(frozen=True)
class Answer:
    """One answer, parsed."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer that must be one."""
        found: dict[str, Any] = self.body["error"]
        return found


class Api:
    """Stripe's API as any HTTP client sees it; header names of answers as sent."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = (key, "")

    def call(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Any call, whatever its status; `key` is the idempotency key, `json` a v2 body."""
        form = fields(params or {})
        response = self._session.request(
            method,
            self.url + path,
            params=form if method == "GET" else None,
            data=form if method != "GET" and json is None else None,
            json=json,
            headers={**(headers or {}), **({"Idempotency-Key": key} if key else {})},
            timeout=TIMEOUT_S,
        )
        body = response.json()
        if not path.startswith("/_sandbox"):
            assert_conforms(body)
        return Answer(response.status_code, body, dict(response.headers))

    def get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The body of a GET that must work."""
        return _worked(self.call("GET", path, params))

    def post(
        self, path: str, params: dict[str, Any] | None = None, *, key: str | None = None
    ) -> dict[str, Any]:
        """The body of a POST that must work."""
        return _worked(self.call("POST", path, params, key=key))

    def delete(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The body of a DELETE that must work."""
        return _worked(self.call("DELETE", path, params))

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The control API: `path` after `/_sandbox/`; a GET takes `body` as its query."""
        where = f"/_sandbox/{path}"
        if method == "GET":
            return _worked(self.call("GET", where, body))
        return _worked(self.call(method, where, json=body or {}))

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()


def _worked(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, f"{answer.status}: {answer.body}"
    return answer.body


def fields(params: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters in Stripe's bracket notation."""
    if isinstance(params, dict):
        pairs = params.items()
    elif isinstance(params, list | tuple):
        pairs = dict(enumerate(params)).items()
    else:
        value = str(params).lower() if isinstance(params, bool) else str(params)
        return [(prefix, value)]
    return [
        field
        for name, value in pairs
        for field in fields(value, f"{prefix}[{name}]" if prefix else str(name))
    ]
