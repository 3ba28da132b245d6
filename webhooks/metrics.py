"""What the door counts. Labels are bounded: outcomes are these, secret names are the settings'."""

from collections.abc import Collection
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from webhooks.refusals import Refusals

Outcome = Literal["stored", "ignored", "bad_signature", "too_large", "unavailable"]

# Answers that refuse no webhook: who only looks by sends none.
_NOT_REFUSED = frozenset({"accepted", "not_post"})

# What alerts look at, and whether a secret has matched then.
_BEGIN_AT_ZERO: dict[Outcome, bool] = {
    "stored": True,
    "ignored": True,
    "unavailable": True,
    "bad_signature": False,
}


class DoorMetrics:
    """Counters of one process; `webhooks.serve` adds the processes up."""

    def __init__(
        self, registry: CollectorRegistry, refusals: Refusals, secret_names: Collection[str]
    ) -> None:
        self._refusals = refusals
        self._requests = Counter(
            "trueup_webhook_requests",
            "Webhook requests by outcome and by the name of the secret that matched",
            ["outcome", "secret"],
            registry=registry,
        )
        # A series that begins with its first one has not grown by it: on a quiet installation an
        # alert on growth would miss just what it waits for.
        for outcome, secrets in _BEGIN_AT_ZERO.items():
            for name in secret_names if secrets else ("",):
                self._requests.labels(outcome, name)
        self.batch_rows = Histogram(
            "trueup_inbox_batch_rows",
            "Events that shared one commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )

        self._seconds = Histogram(
            "trueup_webhook_seconds",
            "Seconds from the request to its answer, by outcome",
            ["outcome"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 8),
            registry=registry,
        )
        self.ack_age = Histogram(
            "trueup_webhook_ack_age_seconds",
            "Seconds from an event's creation at Stripe to our answer that it is stored",
            buckets=(1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400, 259200),
            registry=registry,
        )

    def count(self, outcome: Outcome, secret_name: str = "") -> None:
        """Count one request; `secret_name` is empty when none matched."""
        self._requests.labels(outcome, secret_name).inc()

    def answered(self, outcome: str, seconds: float) -> None:
        """Note how a request was answered, and after how long."""
        self._seconds.labels(outcome=outcome).observe(seconds)
        if outcome not in _NOT_REFUSED:
            self._refusals.count(outcome)
