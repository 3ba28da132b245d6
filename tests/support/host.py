"""A host application that takes notices, for tests: a real server, answers as it is told."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before it, 32 bytes..").decode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that came: its headers in lower case, and the body byte for byte."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The message id."""
        return self.headers["webhook-id"]

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Host:
    """What came, and what is answered: the answers in order, then 204 for ever."""

    url: str
    came: list[Delivery] = field(default_factory=list)
    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    takes_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, status: int, **headers: str) -> None:
        """Answer the next request so; underscores in names stand for hyphens."""
        self.answers.append((status, {k.replace("_", "-"): v for k, v in headers.items()}))

    def took(self, type_: str) -> list[Delivery]:
        """The deliveries of one type of notice."""
        return [each for each in self.came if each.json()["type"] == type_]


@contextmanager
def running_host() -> Iterator[Host]:
    """A host on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    host = Host(f"http://127.0.0.1:{server.server_address[1]}/notices")
    server.host = host  # type: ignore[attr-defined]  # the handler has nothing else to find it by
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        host: Host = self.server.host  # type: ignore[attr-defined]  # set where it is started
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with host.lock:
            host.came.append(Delivery(self.path, headers, body))
            host.at_once += 1
            host.most_at_once = max(host.most_at_once, host.at_once)
            status, more = host.answers.pop(0) if host.answers else (204, {})
        time.sleep(host.takes_s)
        with host.lock:
            host.at_once -= 1
        try:
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked did not wait

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""
        del args
