"""Whether events that come in now would be kept and worked off. Asked often, answered from memory.

Its connection is its own: a busy writer does not make the receiver look broken.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from reconcile.settings import Settings
from reconcile.store import inbox

# Whoever asks more often than this gets the last answer: the address is public.
FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Each part is `ok` or says in one line what is wrong."""

    checks: dict[str, str]
    unfinished: int | None = None
    oldest_age_s: float | None = None

    @property
    def ready(self) -> bool:
        """Whether every check is `ok`."""
        return all(found == "ok" for found in self.checks.values())


class ReadinessProbe:
    """Asks the database and the queue, at most once a second."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        ping_queue: Callable[[], None],
        *,
        secrets_usable: bool,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._ping_queue = ping_queue
        self._secrets_usable = secrets_usable
        self._lock = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def look(self) -> Readiness:
        """Return how things are, at most a second old."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > FRESH_S:
                self._last = (now, self._ask())
            return self._last[1]

    def _ask(self) -> Readiness:
        secrets = "ok" if self._secrets_usable else "no webhook secret: nothing can be authentic"
        checks = {"secrets": secrets, "queue": self._ask_queue()}
        try:
            with self._engine.connect() as connection:
                found = inbox.backlog(connection, hint_lease_s=self._settings.hint_lease_s)
        except SQLAlchemyError as error:
            return Readiness({**checks, "database": f"no answer ({type(error).__name__})"})
        limit_s = self._settings.ready_max_event_age_s
        late = found.oldest_age_s is not None and found.oldest_age_s > limit_s
        checks |= {
            "database": "ok",
            "backlog": f"an event waits longer than {limit_s} s for a worker" if late else "ok",
        }
        return Readiness(checks, found.unfinished, found.oldest_age_s)

    def _ask_queue(self) -> str:
        try:
            self._ping_queue()
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the queue is away
            return f"no answer ({type(error).__name__})"
        return "ok"
