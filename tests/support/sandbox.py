"""The sandbox as a process of the tests, and the few calls tests make to it directly."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from backoffice.local.network import LOOPBACK, answers_http
from backoffice.local.processes import Command, Process, started_on_a_free_port

API_KEY = "sk_test_of_the_tests"
TIMEOUT_S = 30


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. Paths start with a slash; answers are parsed JSON."""

    url: str
    process: Process
    api_key: str = API_KEY

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read from Stripe's API; raises requests.HTTPError when it is refused."""
        return self._answer("GET", path, params=query)

    def post(self, path: str, form: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write through Stripe's API, keys in its bracket notation (`items[0][price]`)."""
        return self._answer("POST", path, data=form or {})

    def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for a fault or another turn of events: `POST /_sandbox<path>` with JSON."""
        return self._answer("POST", f"/_sandbox{path}", json=body or {})

    def observe(self, path: str, **query: Any) -> dict[str, Any]:
        """Read what the sandbox saw: `GET /_sandbox<path>`."""
        return self._answer("GET", f"/_sandbox{path}", params=query)

    def _answer(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        response = requests.request(
            method, self.url + path, auth=(self.api_key, ""), timeout=TIMEOUT_S, **what
        )
        if not response.ok:
            raise requests.HTTPError(f"{response.status_code}: {response.text}", response=response)
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def running_sandbox(home: Path) -> Iterator[Sandbox]:
    """A sandbox on a free loopback port, its log in `home`; ended at the end."""

    def command(port: int) -> Command:
        return Command(
            name=f"sandbox-{port}",
            argv=(sys.executable, "-m", "sandbox", "--port", str(port)),
            env=dict(os.environ),
            ready=lambda: answers_http(port, "/_sandbox/clock"),
        )

    process, port = started_on_a_free_port(command, home)
    try:
        yield Sandbox(f"http://{LOOPBACK}:{port}", process)
    finally:
        process.stop()
