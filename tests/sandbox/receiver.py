"""A webhook receiver for tests: real HTTP, keeps what came, answers what it is told to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

WAIT_S = 60.0


@dataclass(frozen=True)
class Received:
    """One POST as it came in."""

    body: bytes
    signature: str
    at: float

    @property
    def event(self) -> dict[str, Any]:
        """The parsed body."""
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


@dataclass
class Receiver:
    """What came, in the order of arrival; `statuses` are the next answers, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, one: Received) -> int:
        """Keeps one POST; returns the status to answer."""
        with self.changed:
            self.received.append(one)
            self.changed.notify_all()
            return self.statuses.pop(0) if self.statuses else 200

    def wait_for(self, count: int) -> list[Received]:
        """At least `count` POSTs; AssertionError when they do not come."""
        with self.changed:
            came = self.changed.wait_for(lambda: len(self.received) >= count, WAIT_S)
            assert came, f"{len(self.received)} of {count} came: {self.types}"
            return list(self.received)

    @property
    def types(self) -> list[str]:
        """The types of what came."""
        return [one.event["type"] for one in self.received]


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """A receiver on a free loopback port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(
                Received(body, self.headers["Stripe-Signature"], time.monotonic())
            )
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks/stripe"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def eventually(check: Callable[[], bool]) -> None:
    """Waits until something that another thread does has happened."""
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
