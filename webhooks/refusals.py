"""What one process of the door refused lately, said with its sign of life to whoever looks.

Kept in memory and never in the database: what is not authentic leaves no row. It ends with the
process, so that a receiver that was restarted with the right secret begins with a clean slate.
"""

import threading
import time
from collections.abc import Callable, Mapping

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

# As whom the door shows that it is alive.
NAME = "receiver"
# Refusals further apart than this are not of one story. Stripe's own tries come within it.
LATELY_S = 24 * 3600.0


class Run(BaseModel):
    """Refusals of one outcome: how many, and when the first and the last were (since 1970)."""

    model_config = ConfigDict(frozen=True)

    count: int
    since: float
    last: float


_RUNS = TypeAdapter(dict[str, Run])


class Refusals:
    """The refusals of this process. Outcomes are a handful, so it stays as small as that."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}

    def count(self, outcome: str) -> None:
        """Count one; after a day without any it is the first of a new run."""
        now = self._clock()
        with self._lock:
            run = self._runs.get(outcome)
            if run is None or now - run.last > LATELY_S:
                run = Run(count=0, since=now, last=now)
            self._runs[outcome] = Run(count=run.count + 1, since=run.since, last=now)

    def told(self) -> str:
        """Return the runs that are not a day old, as `heard` reads them."""
        now = self._clock()
        with self._lock:
            lately = {name: run for name, run in self._runs.items() if now - run.last <= LATELY_S}
        return orjson.dumps({name: run.model_dump() for name, run in lately.items()}).decode()


def heard(told: str) -> Mapping[str, Run]:
    """Return the runs by outcome; none of what cannot be read, as of another release."""
    try:
        return _RUNS.validate_json(told)
    except ValidationError:
        return {}
