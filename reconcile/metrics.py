"""The metrics of everything behind the public door; `docs/metrics.md` says what each tells.

A metric is declared like a logger: a name, no state of ours. Labels are from short closed lists:
never an id, a customer or an error text. With `PROMETHEUS_MULTIPROC_DIR` set, the processes that
share the directory are added up by whichever of them serves.
"""

import os

import structlog
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from reconcile.settings import Settings

HINTED = Counter("trueup_relay_hinted_keys", "Work keys the relay put into the queue.")
RELAY_ERRORS = Counter(
    "trueup_relay_errors", "Rounds of the relay that failed, by what was unreachable.", ["what"]
)
QUEUE_DEPTH = Gauge(
    "trueup_queue_depth", "Hints that wait in the queue.", multiprocess_mode="mostrecent"
)
NOTICES = Counter(
    "trueup_notices", "Tries to deliver a notice to the host, by how they ended.", ["result"]
)
WORKED_OFF = Counter(
    "trueup_worked_off", "Work keys worked off, by how it ended.", ["scope", "ended"]
)
WORK_SECONDS = Histogram(
    "trueup_work_seconds",
    "Seconds from the lock to the recorded outcome of one work key.",
    ["scope"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)
DEAD_LETTERS = Counter(
    "trueup_dead_letters", "Events that became dead letters, by class of error.", ["error_class"]
)
RESCUED = Counter(
    "trueup_relay_rescued_keys",
    "Work keys hinted again because their lease ran out: a lost hint, or a worker that died.",
)
STRIPE_CALLS = Counter(
    "trueup_stripe_calls",
    "Calls to Stripe, by endpoint and what came of them.",
    ["endpoint", "result"],
)
# What alerts on growth look at: a series that begins with its first number has not grown by it.
_STRIPE_TROUBLE = ("key_refused", "rate_limited", "unavailable", "unknown")
STRIPE_SECONDS = Histogram(
    "trueup_stripe_call_seconds",
    "Seconds a call to Stripe took, without the wait for its slot.",
    ["endpoint"],
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 20),
)
ADJUSTMENTS = Counter(
    "trueup_adjustments", "Adjustments that ended, by kind and how.", ["kind", "state"]
)
MONEY_MOVED = Counter(
    "trueup_money_moved_minor",
    "What adjustments moved, in minor units, by direction and currency.",
    ["direction", "currency"],
)
FINDINGS_OPENED = Counter(
    "trueup_findings_opened", "Findings opened: drift and anomalies, by kind.", ["kind"]
)
BUDGET_WAIT_SECONDS = Histogram(
    "trueup_stripe_budget_wait_seconds",
    "Seconds a Stripe call waited for its slot of the shared budget, also in vain.",
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
RUN_SECONDS = Histogram(
    "trueup_run_seconds",
    "Seconds a run of the schedule took, by task.",
    ["task"],
    buckets=(1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400),
)
PRUNED = Counter("trueup_pruned_events", "Finished events deleted after their time.")
REDACTED = Counter(
    "trueup_redacted_events", "Finished events whose personal data was taken out after its time."
)


def stripe_call_begins(endpoint: str) -> None:
    """Tell from 0 on how often calls of this endpoint came to what an alert is about."""
    for result in _STRIPE_TROUBLE:
        STRIPE_CALLS.labels(endpoint=endpoint, result=result)


def exposed() -> CollectorRegistry:
    """Return what to serve: this process, or all that share `PROMETHEUS_MULTIPROC_DIR`."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def serve(settings: Settings, *more: Collector) -> None:
    """Answer `/metrics` from a thread of this process at `metrics_listen`, if that is set.

    `more` is what this process can tell besides its own counts. Another process of the same
    machine may be answering there already: then it adds ours up, or nobody sees them, but no work
    is refused for want of a port.
    """
    if not settings.metrics_listen:
        return
    registry = exposed()
    for each in more:
        registry.register(each)
    host, _, port = settings.metrics_listen.rpartition(":")
    try:
        start_http_server(int(port), host, registry)
    except OSError as error:
        structlog.get_logger().warning(
            "no metrics from this process", listen=settings.metrics_listen, error=str(error)
        )
