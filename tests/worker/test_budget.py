"""The shared budget: counted over processes, and without its server slower but not stopped."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import redis

from backoffice.local.network import free_port
from reconcile.errors import RateLimited
from reconcile.settings import Settings
from worker.budget import SharedBudget

MakeSettings = Callable[..., Settings]

SPEND = """
import sys, time
from reconcile.settings import Settings
from worker.budget import SharedBudget
budget = SharedBudget(Settings(redis_url=sys.argv[1], stripe_requests_per_s=10))
until = time.monotonic() + 3
while time.monotonic() < until:
    budget.acquire("/v1/subscriptions")
    print(time.time(), flush=True)
"""


def slots(budget: SharedBudget, seconds: float, endpoint: str = "/v1/subscriptions") -> int:
    """How many calls get a slot in so long."""
    got, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            budget.acquire(endpoint)
        except RateLimited:
            continue
        got += 1
    return got


def test_processes_share_one_budget_in_every_second(redis_url: str) -> None:
    spenders = [
        subprocess.Popen([sys.executable, "-c", SPEND, redis_url], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [spender.communicate(timeout=60)[0].decode().split() for spender in spenders]
    times = sorted(float(at) for lines in told for at in lines)
    assert all(lines for lines in told), "one process got nothing"
    assert len(times) >= 20, "the budget was not used"
    # Printed a moment after it was taken: a little more than a second may show one more.
    for start in times:
        assert sum(start <= at < start + 0.95 for at in times) <= 10


def test_one_endpoint_never_gets_more_than_stripe_gives_it(
    make_settings: MakeSettings, redis_url: str
) -> None:
    budget = SharedBudget(
        make_settings(redis_url=redis_url, stripe_requests_per_s=100), longest_wait_s=0
    )
    assert slots(budget, 0.5, "/v1/subscriptions") == 25
    assert slots(budget, 0.2, "/v1/invoices") == 25


def test_a_call_that_gets_no_slot_in_time_is_put_off(
    make_settings: MakeSettings, redis_url: str
) -> None:
    budget = SharedBudget(
        make_settings(redis_url=redis_url, stripe_requests_per_s=1), longest_wait_s=0.2
    )
    budget.acquire("/v1/subscriptions")
    started = time.monotonic()
    with pytest.raises(RateLimited) as raised:
        budget.acquire("/v1/subscriptions")
    assert 0.2 <= time.monotonic() - started < 0.8
    assert raised.value.retry_after_s > 0


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
