"""A whole installation as processes, to be looked at from outside, and sinks that listen to it."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from backoffice.local import parts
from backoffice.local.network import LOOPBACK, free_port
from backoffice.local.processes import Process
from reconcile.settings import PREFIX, Settings
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop
from tests.support.stripe_events import snapshot
from tests.support.webhooks import post_event


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """An empty shop: services, and the catalog's prices in the sandbox."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@dataclass
class Installation:
    """Processes of one installation; what they write, and where they tell their metrics."""

    home: Path
    env: dict[str, str]
    running: dict[str, Process] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, **settings: str) -> Process:
        """Start `receiver`, `relay`, `worker`, `schedule` or `api`, with metrics of its own."""
        self.ports[name], port = free_port(), free_port()
        own = {"metrics_listen": f"{LOOPBACK}:{self.ports[name]}"} | settings
        env = self.env | {f"{PREFIX}{key.upper()}": value for key, value in own.items()}
        command = {
            "receiver": lambda: parts.receiver(env, port),
            "api": lambda: parts.api(env, port),
            "relay": lambda: parts.relay(env),
            "schedule": lambda: parts.schedule(env),
            "worker": lambda: parts.worker(env),
        }[name]()
        process = Process(command, self.home)
        process.start()
        self.running[name] = process
        process.wait_ready()
        if name in {"receiver", "api"}:
            self.env[f"{name.upper()}_URL"] = parts.url(port)
        return process

    def url(self, name: str) -> str:
        """The base url of the receiver or the API."""
        return self.env[f"{name.upper()}_URL"]

    def metrics(self, name: str) -> str:
        """What the process tells; empty while nobody answers."""
        try:
            return requests.get(parts.url(self.ports[name]) + "/metrics", timeout=30).text
        except requests.ConnectionError:
            return ""

    def written(self) -> str:
        """Everything that all processes have written."""
        return "\n".join(p.log.read_text(errors="replace") for p in self.running.values())

    def stop(self) -> None:
        """Stop them, in the order they were started."""
        for process in self.running.values():
            process.stop()


@pytest.fixture
def installation(shop: Shop, settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    """An installation in front of the shop, nothing of it started yet."""
    env = os.environ | environment(settings) | {"TRUEUP_HINT_LEASE_S": "1"}
    made = Installation(tmp_path, dict(env))
    yield made
    made.stop()


def lowered_below_the_floor(shop: Shop) -> tuple[str, dict[str, Any]]:
    """Five active Voice members, four seats in Stripe; returns the subscription and its event."""
    customer = shop.organization(voice=5)
    subscription = shop.subscribe(customer, {"voice": 5})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 4, proration_behavior="none")
    thing = shop.sandbox.get(f"/v1/subscriptions/{subscription}")
    return subscription, snapshot("customer.subscription.updated", thing)


def deliver(installation: Installation, event: dict[str, Any]) -> None:
    """Deliver the event as Stripe does; it is stored."""
    answer = post_event(installation.url("receiver"), event)
    assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Sink:
    """Bodies that were posted to a server of the test's own."""

    url: str
    bodies: list[bytes]


@contextmanager
def listening(answer: Callable[[], int] = lambda: 200) -> Iterator[Sink]:
    """Keep whatever is posted to a loopback port."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answer())
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Sink(f"http://{LOOPBACK}:{server.server_port}", bodies)
    finally:
        server.shutdown()
        server.server_close()
