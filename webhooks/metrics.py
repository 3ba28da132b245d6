"""What the door counts. Labels are bounded: outcomes are these, secret names are the settings'."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Outcome = Literal["stored", "ignored", "bad_signature", "too_large", "unavailable"]


class DoorMetrics:
    """Counters of one process; `webhooks.serve` adds the processes up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "trueup_webhook_requests",
            "Webhook requests by outcome and by the name of the secret that matched",
            ["outcome", "secret"],
            registry=registry,
        )
        self.batch_rows = Histogram(
            "trueup_inbox_batch_rows",
            "Events that shared one commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )

    def count(self, outcome: Outcome, secret_name: str = "") -> None:
        """Count one request; `secret_name` is empty when none matched."""
        self._requests.labels(outcome, secret_name).inc()
