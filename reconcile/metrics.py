"""The metrics of everything behind the public door; `docs/metrics.md` says what each tells.

A metric is declared like a logger: a name, no state of ours. Labels are from short closed lists:
never an id, a customer or an error text. With `PROMETHEUS_MULTIPROC_DIR` set, the processes that
share the directory are added up by whichever of them serves.
"""

import os

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from reconcile.settings import Settings

HINTED = Counter("trueup_relay_hinted_keys", "Work keys the relay put into the queue.")
RELAY_ERRORS = Counter(
    "trueup_relay_errors", "Rounds of the relay that failed, by what was unreachable.", ["what"]
)
QUEUE_DEPTH = Gauge(
    "trueup_queue_depth", "Hints that wait in the queue.", multiprocess_mode="mostrecent"
)
WORKED_OFF = Counter(
    "trueup_worked_off", "Work keys worked off, by how it ended.", ["scope", "ended"]
NOTICES = Counter(
    "trueup_notices", "Tries to deliver a notice to the host, by how they ended.", ["result"]
)
)
WORK_SECONDS = Histogram(
    "trueup_work_seconds",
    "Seconds from the lock to the recorded outcome of one work key.",
    ["scope"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)
DEAD_LETTERS = Counter("trueup_dead_letters", "Events that became dead letters.")
BUDGET_WAIT_SECONDS = Histogram(
    "trueup_stripe_budget_wait_seconds",
    "Seconds a Stripe call waited for its slot of the shared budget.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
BUDGET_ALONE = Counter(
    "trueup_stripe_budget_alone", "Slots taken without the shared budget: the queue was down."
)
WORKER_RESTARTS = Counter(
    "trueup_worker_restarts", "Workers started anew by their supervisor, by reason.", ["reason"]
)
RUNS = Counter(
    "trueup_runs", "Runs of the schedule, by task and how they ended.", ["task", "state"]
)
AUDITED = Counter(
    "trueup_gap_audit_events", "Events of Stripe's list the gap audit looked at.", ["found"]
)
PRUNED = Counter("trueup_pruned_events", "Finished events deleted after their time.")


def exposed() -> CollectorRegistry:
    """Return what to serve: this process, or all that share `PROMETHEUS_MULTIPROC_DIR`."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def serve(settings: Settings) -> None:
    """Answer `/metrics` from a thread of this process at `metrics_listen`, if that is set."""
    if settings.metrics_listen:
        host, _, port = settings.metrics_listen.rpartition(":")
        start_http_server(int(port), host, exposed())
