"""The API for tests: the real application on real services, called in process or as a process.

`Client` is a host application with a token: JSON in, JSON out, nothing of the inside.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from requests.structures import CaseInsensitiveDict
from werkzeug.serving import make_server

from backoffice.api import tokens
from backoffice.api.app import create_app
from backoffice.api.tokens import SCOPES
from backoffice.local import parts
from backoffice.local.processes import Process, started_on_a_free_port
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import tokens as store
from tests.support.services import environment

TIMEOUT_S = 30


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its JSON (None for what is none), its headers, its text."""

    status: int
    json: Any
    headers: CaseInsensitiveDict[str]
    text: str

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    def ok(self, status: int | None = None) -> "Reply":
        """Return itself when it went well, or with exactly this status; fail with the problem."""
        good = 200 <= self.status < 300 if status is None else self.status == status
        assert good, f"{self.status} {self.text}"
        return self

    def problem(self, status: int, code: str) -> "Reply":
        """Return itself when it is this problem; fail with what it is."""
        said = (self.status, (self.json or {}).get("code"))
        assert said == (status, code), f"{self.status} {self.text}"
        assert self.headers["Content-Type"] == "application/problem+json", self.headers
        assert all(self["remedies"]), self.text
        assert self["remedies"], "there is a way out of everything, or it says so"
        return self


@dataclass(frozen=True)
class Client:
    """A caller of the API. Exactly one of `app` (in process) and `url` (over HTTP) is set."""

    token: str | None
    app: Flask | None = None
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def with_token(self, token: str | None) -> "Client":
        """The same client with another token, or none."""
        return replace(self, token=token)

    def get(self, path: str, **query: Any) -> Reply:
        """GET `/v1<path>`."""
        return self.send("GET", path, query=query)

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, **body_too: Any
    ) -> Reply:
        """POST JSON to `/v1<path>`, with an Idempotency-Key if there is one."""
        return self.send("POST", path, body={**(body or {}), **body_too}, key=key)

    def put(self, path: str, *, key: str | None = None, **body: Any) -> Reply:
        """PUT JSON to `/v1<path>`."""
        return self.send("PUT", path, body=body, key=key)

    def patch(self, path: str, *, key: str | None = None, **body: Any) -> Reply:
        """PATCH `/v1<path>` with JSON."""
        return self.send("PATCH", path, body=body, key=key)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: dict[str, Any] | None = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        root: str = "/v1",
    ) -> Reply:
        """Send one request. `body` is JSON, or bytes as they are."""
        sent = self.headers | (headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if key is not None:
            sent["Idempotency-Key"] = key
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        content = {} if body is None else content
        if self.app is not None:
            answer = self.app.test_client().open(
                root + path, method=method, query_string=query, headers=sent, **content
            )
            is_json = (answer.mimetype or "").endswith("json")
            text = answer.get_data(as_text=True)
            parsed = answer.get_json(force=True) if is_json else None
            return Reply(answer.status_code, parsed, CaseInsensitiveDict(answer.headers), text)
        found = requests.request(
            method,
            self.url + root + path,
            params=query,
            headers=sent,
            timeout=TIMEOUT_S,
            **content,
        )
        is_json = "json" in found.headers.get("Content-Type", "")
        parsed = found.json() if is_json else None
        return Reply(found.status_code, parsed, CaseInsensitiveDict(found.headers), found.text)


def a_token(
    services: Services, *scopes: str, organization_id: str | None = None, **more: Any
) -> str:
    """Make a token (of every scope by default) and return its text."""
    made = tokens.make()
    with services.sessions.begin() as session:
        store.add(
            session,
            id=made.token_id,
            name="of the tests",
            digest=made.digest,
            scopes=scopes or SCOPES,
            organization_id=organization_id,
            created_by="cli:tests",
            expires_at=more.get("expires_at"),
        )
    return made.text


def api_of(services: Services, *scopes: str, organization_id: str | None = None) -> Client:
    """The API on these services, in process, and a client of it with every scope."""
    token = a_token(services, *scopes, organization_id=organization_id)
    return Client(token=token, app=create_app(services))


@contextmanager
def listening(api: Client) -> Iterator[Client]:
    """The same API behind a socket, from threads of this process."""
    assert api.app is not None
    server = make_server("127.0.0.1", 0, api.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield replace(api, app=None, url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_api(
    home: Path, settings: Settings, services: Services, **more: str
) -> Iterator[tuple[Client, Process]]:
    """The API as a process on a free port, and a client of it with every scope."""
    env = dict(os.environ) | environment(settings) | more
    process, port = started_on_a_free_port(partial(parts.api, env), home)
    try:
        yield Client(token=a_token(services), url=parts.url(port)), process
    finally:
        process.kill()
