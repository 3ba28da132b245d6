"""The shared budget: counted over processes, and without its server slower but not stopped."""

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle

import pytest
import redis
from prometheus_client import REGISTRY

from backoffice.local.network import free_port
from reconcile.errors import RateLimited, StripeRateLimited
from reconcile.settings import Settings
from reconcile.stripe_api import StripeApi
from tests.support.sandbox import Sandbox
from worker.budget import PAUSED, SharedBudget

MakeSettings = Callable[..., Settings]

SPEND = """
import sys, time
from reconcile.settings import Settings
from worker.budget import SharedBudget
budget = SharedBudget(Settings(redis_url=sys.argv[1], stripe_requests_per_s=10))
until = time.monotonic() + 3
while time.monotonic() < until:
    budget.acquire(sys.argv[2])
    print(time.time(), flush=True)
"""


def stripes_own_limit(budget: SharedBudget, *endpoints: str) -> bool:
    """Whether 25 calls a second get a slot before one is put off, to the endpoints in turn.

    Some of the second's slots come back while a slow machine counts.
    """
    began_at = time.monotonic()
    for number, endpoint in enumerate(cycle(endpoints)):
        try:
            budget.acquire(endpoint)
        except RateLimited:
            return 25 <= number <= 25 * (1 + time.monotonic() - began_at)
    raise AssertionError("never put off")


def put_off(budget: SharedBudget, endpoint: str) -> tuple[RateLimited, float]:
    """The first call that gets no slot, and how long it waited for one."""
    for _ in range(100):  # a slow machine finds the second over, and the slot free again
        asked_at = time.monotonic()
        try:
            budget.acquire(endpoint)
        except RateLimited as refused:
            return refused, time.monotonic() - asked_at
    raise AssertionError("never put off")


def slots(budget: SharedBudget, seconds: float) -> int:
    """How many calls get a slot in so long."""
    got, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            budget.acquire("GET /v1/subscriptions")
        except RateLimited:
            continue
        got += 1
    return got


def test_processes_share_one_budget_in_every_second(redis_url: str) -> None:
    spenders = [
        subprocess.Popen([sys.executable, "-c", SPEND, redis_url, path], stdout=subprocess.PIPE)
        for path in ("/v1/subscriptions", "/v1/invoices", "/v1/customers")
    ]
    told = [spender.communicate(timeout=60)[0].decode().split() for spender in spenders]
    times = sorted(float(at) for lines in told for at in lines)
    assert all(lines for lines in told), "one process got nothing"
    assert len(times) >= 20, "the budget was not used"
    # A window's worth may be taken at once at the start; then ten in every second.
    assert len(times) <= 10 * (times[-1] - times[0] + 1) + 3


def test_one_endpoint_never_gets_more_than_stripe_gives_it(
    make_settings: MakeSettings, redis_url: str
) -> None:
    budget = SharedBudget(
        make_settings(redis_url=redis_url, stripe_requests_per_s=100), longest_wait_s=0
    )
    assert stripes_own_limit(budget, "GET /v1/subscriptions")
    assert stripes_own_limit(budget, "GET /v1/invoices")


def test_a_call_that_gets_no_slot_in_time_is_put_off(
    make_settings: MakeSettings, redis_url: str
) -> None:
    budget = SharedBudget(
        make_settings(redis_url=redis_url, stripe_requests_per_s=1), longest_wait_s=0.2
    )
    budget.acquire("/v1/subscriptions")
    told = "trueup_stripe_budget_wait_seconds_sum"
    before = REGISTRY.get_sample_value(told) or 0
    refused, waited_s = put_off(budget, "/v1/subscriptions")
    assert (REGISTRY.get_sample_value(told) or 0) - before >= 0.2, "the wait in vain is told"
    assert 0.2 <= waited_s < 30
    assert refused.retry_after_s > 0


def test_without_its_server_each_process_goes_on_with_a_part(make_settings: MakeSettings) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    budget = SharedBudget(make_settings(redis_url=away, stripe_requests_per_s=20), longest_wait_s=0)
    assert 5 <= slots(budget, 0.9) <= 10


def test_an_emptied_server_changes_nothing(
    make_settings: MakeSettings, redis_url: str, redis_client: redis.Redis
) -> None:
    budget = SharedBudget(make_settings(redis_url=redis_url), longest_wait_s=0)
    budget.acquire("/v1/subscriptions")
    redis_client.flushall()
    redis_client.script_flush()
    budget.acquire("/v1/subscriptions")


def test_ids_share_the_budget_of_their_endpoint(
    make_settings: MakeSettings, redis_url: str
) -> None:
    budget = SharedBudget(
        make_settings(redis_url=redis_url, stripe_requests_per_s=100), longest_wait_s=0
    )
    ids = [f"GET /v1/subscriptions/sub_{number}" for number in range(10)]
    assert stripes_own_limit(budget, *ids)


def test_when_stripe_asks_one_process_to_slow_down_all_do(
    make_settings: MakeSettings, redis_url: str, redis_client: redis.Redis
) -> None:
    settings = make_settings(redis_url=redis_url)
    told, other = (SharedBudget(settings, longest_wait_s=0) for _ in range(2))
    other.acquire("GET /v1/subscriptions")
    told.slow_down(60)
    for budget in (told, other):
        with pytest.raises(RateLimited):
            budget.acquire("GET /v1/subscriptions")
    assert 0 < redis_client.pttl(PAUSED) <= 60_000
    redis_client.delete(PAUSED)  # as its own end would
    other.acquire("GET /v1/subscriptions")


def test_a_shorter_wish_for_time_does_not_end_a_longer_pause(
    make_settings: MakeSettings, redis_url: str, redis_client: redis.Redis
) -> None:
    """Two calls at once are refused: one may come back in a minute, the other in a moment."""
    settings = make_settings(redis_url=redis_url)
    one, other = (SharedBudget(settings, longest_wait_s=0) for _ in range(2))
    one.slow_down(60)
    one.slow_down(0.1)
    other.slow_down(0.1)
    time.sleep(0.2)
    for budget in (one, other):
        with pytest.raises(RateLimited):
            budget.acquire("GET /v1/subscriptions")
    assert redis_client.pttl(PAUSED) > 50_000
    other.slow_down(120)
    assert redis_client.pttl(PAUSED) > 110_000, "a longer one is heard"


def test_a_429_of_the_account_slows_all_down_and_one_of_an_object_does_not(
    make_settings: MakeSettings, redis_url: str, redis_client: redis.Redis, sandbox: Sandbox
) -> None:
    settings = make_settings(redis_url=redis_url, stripe_api_base=sandbox.url)
    stripe = StripeApi(settings, SharedBudget(settings))
    for kind, paused in (("lock_timeout", 0), ("rate_limit", 1)):
        sandbox.control("/faults", {"kind": kind, "path": "/v1/customers"})
        with pytest.raises(StripeRateLimited):
            stripe.read("/v1/customers")
        assert redis_client.exists(PAUSED) == paused
