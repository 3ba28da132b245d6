"""A load generator that is not the bottleneck: one thread, sockets, requests made beforehand.

It reports its own share of a core beside the figures, so that nobody has to believe it.
"""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_RECEIVE_BYTES = 65_536
_PATIENCE_S = 30.0


class NotAcceptedError(RuntimeError):
    """A receiver answered something other than 200, or not at all."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one round saw. Times in seconds."""

    requests: int
    elapsed_s: float
    generator_cpu_s: float
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return self.requests / self.elapsed_s


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    sent_at: float = 0.0
    answer: bytearray = field(default_factory=bytearray)

    def send(self, request: bytes) -> None:
        self.answer.clear()
        self.sent_at = time.perf_counter()
        self.sock.sendall(request)


def post_all(port: int, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send each request once, `connections` at a time, each connection kept open.

    Raises NotAcceptedError at the first answer that is not 200.
    """
    waiting = iter(requests)
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        opened = [_open(port) for _ in range(min(connections, len(requests)))]
        for connection in opened:
            selector.register(connection.sock, selectors.EVENT_READ, connection)
        cpu, started = time.process_time(), time.perf_counter()
        for connection in opened:
            connection.send(next(waiting))
        while len(latencies) < len(requests):
            ready = selector.select(_PATIENCE_S)
            if not ready:
                raise NotAcceptedError(f"no answer for {_PATIENCE_S:g} s")
            for key, _ in ready:
                _take_answer(key.data, latencies, waiting)
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        for connection in opened:
            connection.sock.close()
    return Load(len(latencies), elapsed, cpu, latencies)


def _open(port: int) -> _Connection:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Connection(sock)


def _take_answer(connection: _Connection, latencies: list[float], waiting: Iterator[bytes]) -> None:
    received = connection.sock.recv(_RECEIVE_BYTES)
    if not received:
        raise NotAcceptedError("the connection was closed")
    connection.answer += received
    if not _complete(connection.answer):
        return
    latencies.append(time.perf_counter() - connection.sent_at)
    if not connection.answer.startswith(b"HTTP/1.1 200"):
        raise NotAcceptedError(bytes(connection.answer[:200]).decode("latin-1"))
    request = next(waiting, None)
    if request is not None:
        connection.send(request)


def _complete(answer: bytearray) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    _, _, rest = head.lower().partition(b"content-length:")
    return len(body) >= int(rest.partition(b"\r\n")[0])
