"""HTTP/1.1 on a loopback socket: a thread for each connection, one send for each answer.

Only what API clients use: Content-Length bodies, keep-alive, `Expect: 100-continue`. Knows
nothing about Stripe. Written for the sandbox because a fault must be able to drop a connection
without an answer, and a test to run all of it in its own process. Beside granian (one worker, 16
threads, the same handlers, GET of a small object, two noisy cores): 6,300 to 4,800 requests a
second on one connection, 7,600 to 10,800 on eight.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from sandbox.http.app import new_request_id
from sandbox.http.routes import Handle, Request, Response

MAX_HEADERS = 100
MAX_LINE = 65536
MAX_BODY = 256 * 1024 * 1024  # seeding a hundred thousand subscriptions is one request
MAX_CONNECTIONS = 512
IDLE_TIMEOUT_S = 75
SLOT_TIMEOUT_S = 5


class _BadRequestError(Exception):
    """What came in is not HTTP we speak."""


class Server(socketserver.ThreadingTCPServer):
    """Listens at once; `serve_forever` answers; port 0 picks a free one (`port`)."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, host: str, port: int, handle: Handle) -> None:
        self.handle = handle
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), _Connection)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or close it when there are too many already."""
        if self._slots.acquire(timeout=SLOT_TIMEOUT_S):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection from its first request to its last."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


class _Connection(socketserver.StreamRequestHandler):
    """One connection and its requests, one after the other."""

    disable_nagle_algorithm = True
    timeout = IDLE_TIMEOUT_S

    def handle(self) -> None:
        assert isinstance(self.server, Server)
        with contextlib.suppress(OSError):
            while self._one(self.server):
                pass

    def _one(self, server: Server) -> bool:
        """Answer one request; False when the connection ends."""
        try:
            request = self._read()
        except _BadRequestError:
            self._send(Response(400, b'{"error":{"message":"Bad request"}}'), close=True)
            return False
        if request is None:
            return False
        response = server.handle(request)
        if response.drop:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return False
        close = request.headers.get("connection", "").lower() == "close"
        self._send(response, close=close)
        return not close

    def _read(self) -> Request | None:
        first = self.rfile.readline(MAX_LINE)
        if not first.strip():
            return None
        try:
            method, target, _version = first.decode("latin-1").split()
        except ValueError:
            raise _BadRequestError from None
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = self.rfile.readline(MAX_LINE)
            if line in (b"\r\n", b"\n", b""):
                break
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise _BadRequestError
            headers[name.strip().lower()] = value.strip()
        else:
            raise _BadRequestError
        path, _, query = target.partition("?")
        return Request(method, unquote(path), query, headers, self._body(headers), new_request_id())

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "transfer-encoding" in headers:
            raise _BadRequestError
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise _BadRequestError
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise _BadRequestError
        return body

    def _send(self, response: Response, *, close: bool) -> None:
        try:
            reason = HTTPStatus(response.status).phrase
        except ValueError:
            reason = "Unknown"
        lines = [f"HTTP/1.1 {response.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines.append(f"Content-Length: {len(response.body)}")
        lines.append("Connection: " + ("close" if close else "keep-alive"))
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.connection.sendall(head + response.body)
