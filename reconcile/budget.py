"""What a Stripe call asks before it goes out. Counting over processes is `worker.budget`'s."""

from typing import Protocol


def kind_of(endpoint: str) -> str:
    """`GET /v1/subscriptions/sub_1` is a call of `GET /v1/subscriptions`: ids are not endpoints."""
    return "/".join(endpoint.split("/")[:3])


class Budget(Protocol):
    """The calls a second that all processes share."""

    def acquire(self, endpoint: str) -> None:
        """Take a slot for one call; raises RateLimited when none came within a bounded wait."""

    def slow_down(self, seconds: float) -> None:
        """Give out no slot for so long: Stripe asked for it."""


class Unbudgeted:
    """No limit: for tests and for a single process."""

    def acquire(self, endpoint: str) -> None:
        """Take a slot at once."""
        del endpoint

    def slow_down(self, seconds: float) -> None:
        """Do nothing: nobody else would know."""
        del seconds
