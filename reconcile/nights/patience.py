"""Trying again what may pass by itself while a night runs: Stripe or the host is away or busy."""

import time
from collections.abc import Callable
from random import Random
from typing import TypeVar

import structlog

from reconcile.errors import ErrorClass, RateLimited, RetryLater, classify, retry_delay
from reconcile.settings import Settings

LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


def patiently(
    settings: Settings,
    attempt: Callable[[], T],
    tries: int,
    passing: tuple[type[Exception], ...] = (RateLimited, RetryLater),
) -> T:
    """Return what the attempt returns, tried so many times while what it raises may pass.

    Raises what the last try raised, and at once what will not pass.
    """
    for number in range(1, tries):
        try:
            return attempt()
        except passing as error:
            delay = retry_delay(number, settings, Random())  # noqa: S311 - it only spreads the tries
            known = classify(error)
            told_s = known.retry_after_s if known.error_class is ErrorClass.RATE_LIMITED else 0
            pause_s = max(told_s or 0, delay.total_seconds() if delay else 0)
            pause_s = min(pause_s, LONGEST_PAUSE_S)
            structlog.get_logger().warning(
                "the night waits", line=known.line, pause_s=round(pause_s, 2)
            )
            time.sleep(pause_s)
    return attempt()
