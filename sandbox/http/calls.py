"""The call log: what was asked of the API, for benchmarks and for proofs of "exactly once".

The outermost layer; it sees faults and replays as the client does. Bounded: old calls are
forgotten, counts are not.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.control.faults import endpoint_of
from sandbox.http.routes import Handle, Request, Response

KEPT_CALLS = 100_000


@dataclass(frozen=True)
class Call:
    """One call; `status` 0 means that the connection was dropped."""

    method: str
    path: str
    status: int
    idempotency_key: str | None
    replayed: bool
    request_id: str
    seconds: float


class CallLog:
    """The calls since the start or the last `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=KEPT_CALLS)
        self._counts: Counter[tuple[str, int]] = Counter()

    def __call__(self, request: Request, inner: Handle) -> Response:
        """The layer: note every call that is not one of the control API."""
        if request.path.startswith("/_sandbox"):
            return inner(request)
        started = time.perf_counter()
        response = inner(request)
        call = Call(
            request.method,
            request.path,
            response.status,
            request.headers.get("idempotency-key"),
            response.headers.get("Idempotent-Replayed") == "true",
            request.id,
            round(time.perf_counter() - started, 6),
        )
        with self._lock:
            self._calls.append(call)
            self._counts[endpoint_of(request), response.status] += 1
        return response

    def clear(self) -> None:
        """Starts counting anew."""
        with self._lock:
            self._calls.clear()
            self._counts.clear()

    def summary(self, limit: int, method: str | None, path: str | None) -> dict[str, Any]:
        """Counts by endpoint and status, and the last calls, filtered by method and path."""
        with self._lock:
            counts = sorted(self._counts.items())
            calls = list(self._calls)
        chosen = [
            call
            for call in calls
            if method in (None, call.method) and (path is None or call.path.startswith(path))
        ]
        return {
            "total": sum(count for _, count in counts),
            "counts": [
                {"endpoint": endpoint, "status": status, "count": count}
                for (endpoint, status), count in counts
            ],
            "calls": [asdict(call) for call in chosen[-limit:]],
        }
