"""Whether this process lives, and whether it could serve: the only doors without a token.

Asked often by load balancers, so the answer is remembered for a second.
"""

import threading
import time
from collections.abc import Callable

import orjson
from flask import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from reconcile.database import describe

FRESH_S = 1.0


class Health:
    """Asks the database and the queue, at most once a second."""

    def __init__(self, engine: Engine, ping_queue: Callable[[], None]) -> None:
        self._engine = engine
        self._ping_queue = ping_queue
        self._lock = threading.Lock()
        self._last: tuple[float, dict[str, str]] | None = None

    def alive(self) -> Response:
        """Return 200: the process answers."""
        return _answer(200, {"status": "alive"})

    def ready(self) -> Response:
        """Return 200, or 503 without the database. Without the queue work waits and is not lost."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > FRESH_S:
                self._last = (now, self._ask())
            checks = self._last[1]
        ready = checks["database"] == "ok"
        status = "ready" if ready else "not ready"
        return _answer(200 if ready else 503, {"status": status, "checks": checks})

    def _ask(self) -> dict[str, str]:
        checks = {"database": "ok", "queue": "ok"}
        try:
            describe(self._engine)
        except SQLAlchemyError as error:
            checks["database"] = f"no answer ({type(error).__name__})"
        try:
            self._ping_queue()
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the queue is away
            checks["queue"] = f"no answer ({type(error).__name__})"
        return checks


def _answer(status: int, content: dict[str, object]) -> Response:
    return Response(orjson.dumps(content), status, content_type="application/json")
