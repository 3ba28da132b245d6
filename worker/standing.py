"""How things stand, read from both servers when somebody asks for metrics: the relay tells it.

Gauges that a process keeps would freeze when it can no longer look; these are gone then, and of the
database `trueup_database_up` says why.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from reconcile.database import build_engine
from reconcile.settings import Settings
from reconcile.store import gauges
from reconcile.store.gauges import Gauges
from worker.budget import SharedBudget

# Whoever asks more often than this gets the last answer.
FRESH_S = 5.0


class StandingCollector(Collector):
    """Asks the database at most every few seconds, over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._lease_s = settings.hint_lease_s
        self._engine = build_engine(settings.database_url, pool_size=1)
        self._budget = SharedBudget(settings)
        self._lock = threading.Lock()
        self._last: tuple[float, Gauges | None] | None = None

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: to be registered must not cost a look."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge that can be read now, and whether the database answers."""
        found = self._look()
        yield GaugeMetricFamily(
            "trueup_database_up",
            "Whether the relay's look at the database was answered.",
            value=found is not None,
        )
        if found is not None:
            yield from _told(found)
        with suppress(RedisError):
            yield GaugeMetricFamily(
                "trueup_stripe_budget_left",
                "Calls of Stripe left in the present second, of all processes together.",
                value=self._budget.left(),
            )

    def close(self) -> None:
        """Let go of the connection."""
        self._engine.dispose()

    def _look(self) -> Gauges | None:
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > FRESH_S:
                self._last = (now, self._ask())
            return self._last[1]

    def _ask(self) -> Gauges | None:
        try:
            with self._engine.connect() as connection:
                return gauges.read(connection, hint_lease_s=self._lease_s)
        except SQLAlchemyError:
            return None


def _told(found: Gauges) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "trueup_inbox_unfinished", "Events not finished yet, up to 10,000.", value=found.unfinished
    )
    yield GaugeMetricFamily(
        "trueup_inbox_oldest_seconds",
        "How long an event has been due that no worker has taken, at most.",
        value=found.oldest_unfinished_s or 0,
    )
    yield GaugeMetricFamily(
        "trueup_adjustments_in_flight",
        "Adjustments sent to Stripe or about to be, outcome not recorded.",
        value=found.adjustments_in_flight,
    )
    yield GaugeMetricFamily(
        "trueup_adjustments_oldest_seconds",
        "Age of the oldest adjustment in flight.",
        value=found.oldest_in_flight_s or 0,
    )
    failing = GaugeMetricFamily(
        "trueup_inbox_failing",
        "Events whose last try failed, by class of error.",
        labels=["error_class"],
    )
    dead = GaugeMetricFamily(
        "trueup_inbox_dead", "Dead letters that nobody has dealt with.", labels=["error_class"]
    )
    open_findings = GaugeMetricFamily(
        "trueup_findings_open", "Findings that are open, by kind.", labels=["kind"]
    )
    paused = GaugeMetricFamily(
        "trueup_paused", "Pauses in force, by what they hold back.", labels=["scope"]
    )
    last_run = GaugeMetricFamily(
        "trueup_last_run_timestamp_seconds",
        "When the last good run of a task ended, seconds since 1970.",
        labels=["task"],
    )
    differing = GaugeMetricFamily(
        "trueup_nightly_differences",
        "What the last good nightly run found to differ, by what.",
        labels=["reason"],
    )
    audited = GaugeMetricFamily(
        "trueup_gap_audit_events",
        "Events of Stripe's list that the last good gap audit looked at.",
        labels=["found"],
    )
    yield _labelled(failing, found.failing)
    yield _labelled(dead, found.dead)
    yield _labelled(open_findings, found.findings)
    yield _labelled(paused, found.paused)
    yield _labelled(last_run, {task: at.timestamp() for task, at in found.last_done.items()})
    yield _labelled(differing, found.differing)
    yield _labelled(audited, found.audited)
    if found.differing_gained is not None:
        yield GaugeMetricFamily(
            "trueup_nightly_differences_gained",
            "How many more the last good nightly run found to differ than the one before it.",
            value=found.differing_gained,
        )


def _labelled(family: GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for name, value in values.items():
        family.add_metric([name], value)
    return family
