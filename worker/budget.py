"""The Stripe calls a second that all processes share, counted on the queue's server.

Stripe limits an account, not a process, and punishes bursts with 429 for everybody. Each call
takes a slot of a moving window first, so that in no second more than the budget leaves, whichever
process asks. Without the queue's server every process goes on alone with a part of the budget:
slower, never stopped.
"""

import random
import time

import structlog
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import RedisError

from reconcile import metrics
from reconcile.budget import kind_of
from reconcile.errors import RateLimited
from reconcile.settings import Settings
from worker.queues import connect

# Stripe's limit for an endpoint that has none of its own: https://docs.stripe.com/rate-limits
ENDPOINT_PER_S = 25

# How many processes are taken to be at work when they cannot count together.
ALONE_DIVISOR = 4

# The longest a call waits for its slot; then the work is put off, which frees the worker.
LONGEST_WAIT_S = 5.0

# Set on the server for as long as Stripe wants nobody to call.
PAUSED = "trueup:stripe:paused"

# While the queue's server is away it is not asked for every call: each asking costs its time-out.
AWAY_S = 5.0


class SharedBudget:
    """A slot for each Stripe call, shared by all processes with the same queue's server."""

    def __init__(self, settings: Settings, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._longest_wait_s = longest_wait_s
        per_s = settings.stripe_requests_per_s
        self._all = RateLimitItemPerSecond(per_s)
        self._endpoint = RateLimitItemPerSecond(min(per_s, ENDPOINT_PER_S))
        self._alone = RateLimitItemPerSecond(max(1, per_s // ALONE_DIVISOR))
        self._redis = connect(settings)
        self._shared = MovingWindowRateLimiter(
            RedisStorage(
                settings.redis_url,
                connection_pool=self._redis.connection_pool,
                key_prefix="trueup:stripe",
            )
        )
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._away_until = 0.0
        self._paused_until = 0.0
        self._log = structlog.get_logger()

    def acquire(self, endpoint: str) -> None:
        """Wait for a slot for one call; raises RateLimited when none came in time."""
        asked_at = time.monotonic()
        try:
            while not self._try(endpoint):
                if time.monotonic() - asked_at > self._longest_wait_s:
                    line = "the shared budget of Stripe calls is used up"
                    raise RateLimited(line, retry_after_s=2.0)
                # Apart from each other, or all that wait would come back together.
                time.sleep(random.uniform(0.02, 0.08))  # noqa: S311 - nothing secret about it
        finally:
            # Who gave up as well: the longest waits are what a shortage is seen by.
            metrics.BUDGET_WAIT_SECONDS.observe(time.monotonic() - asked_at)

    def slow_down(self, seconds: float) -> None:
        """Give out no slot to any process for so long: Stripe answered one of them 429.

        A longer pause that is in force already stays.
        """
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        for_ms = max(1, round(seconds * 1000))
        try:
            # Set where there is none, else only ever moved further away.
            if not self._redis.set(PAUSED, 1, px=for_ms, nx=True):
                self._redis.pexpire(PAUSED, for_ms, gt=True)
        except RedisError as error:
            self._alone_for_now(error)

    def left(self) -> int:
        """Return the slots of the present second that nobody took; 0 while Stripe wants none.

        Raises RedisError when the queue's server is away.
        """
        if self._redis.exists(PAUSED):
            return 0
        return int(self._shared.get_window_stats(self._all, "all").remaining)

    def _try(self, endpoint: str) -> bool:
        now = time.monotonic()
        if now < self._paused_until:
            return False
        if now < self._away_until:
            return self._try_alone()
        try:
            if self._redis.exists(PAUSED):
                return False
            # The endpoint first: a slot of the whole budget is not spent on a call that must wait.
            return self._shared.hit(
                self._endpoint, "endpoint", kind_of(endpoint)
            ) and self._shared.hit(self._all, "all")
        except RedisError as error:
            self._alone_for_now(error)
            return self._try_alone()

    def _alone_for_now(self, error: RedisError) -> None:
        self._away_until = time.monotonic() + AWAY_S
        self._log.warning("the shared budget is away, going on alone", error=str(error))

    def _try_alone(self) -> bool:
        metrics.BUDGET_ALONE.inc()
        return self._own.hit(self._alone, "alone")
