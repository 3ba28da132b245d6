"""What the door counts. Labels are bounded: outcomes are these, secret names are the settings'."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

OUTCOMES = ("stored", "ignored", "bad_signature", "too_large", "unavailable")


@dataclass(frozen=True, slots=True)
class DoorMetrics:
    """Counters of one process; `webhooks.serve` adds the processes up."""

    requests: Counter
    batch_rows: Histogram


def build_metrics(registry: CollectorRegistry) -> DoorMetrics:
    """Return the door's metrics, registered."""
    return DoorMetrics(
        requests=Counter(
            "trueup_webhook_requests",
            "Webhook requests by outcome and by the name of the secret that matched",
            ["outcome", "secret"],
            registry=registry,
        ),
        batch_rows=Histogram(
            "trueup_inbox_batch_rows",
            "Events that shared one commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        ),
    )
