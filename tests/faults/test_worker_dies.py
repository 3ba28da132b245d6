"""The whole way from the inbox to the invoice, with the worker killed at every place that matters.

`trueup relay` and `trueup worker` as they are started in production; the crash points kill with
SIGKILL, once. Whatever happens, the raise is charged exactly once and the event is accounted for.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile.crash_points import CrashPoint
from reconcile.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop
from tests.support.workshop import Workshop, eventually

PLACES = (
    CrashPoint.AFTER_CLAIM,
    CrashPoint.AFTER_FACTS,
    CrashPoint.AFTER_INTENT,
    CrashPoint.AFTER_CALL,
    CrashPoint.AFTER_OUTCOME,
    CrashPoint.BEFORE_FINISH,
)


@pytest.fixture
def workshop(shop: Shop, settings: Settings, tmp_path: Path) -> Iterator[Workshop]:
    env = os.environ | environment(settings) | {"TRUEUP_HINT_LEASE_S": "1"}
    workshop = Workshop(tmp_path, dict(env), shop.services.sessions)
    yield workshop
    workshop.stop()


def edited_below_the_floor(shop: Shop) -> str:
    """Five active Voice members, and somebody lowers the seats to four in Stripe's dashboard."""
    customer = shop.organization(voice=5)
    subscription = shop.subscribe(customer, {"voice": 5})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 4, proration_behavior="none")
    return subscription


def raised_once(shop: Shop, subscription: str) -> None:
    """Five seats again, by one adjustment and one invoice."""
    assert shop.quantities(subscription) == {"voice": 5}
    assert len(shop.invoices(subscription, "subscription_update")) == 1
    (adjustment,) = shop.adjustments(subscription)
    assert adjustment.state == "applied"


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_here_charges_once(
    shop: Shop, workshop: Workshop, tmp_path: Path, place: CrashPoint
) -> None:
    subscription = edited_below_the_floor(shop)
    event_id = workshop.event(f"sub:{subscription}", kind="thin")
    marker = tmp_path / "died"
    workshop.trueup("relay")
    workshop.trueup("worker", TRUEUP_CRASH_POINT=f"{place}:{marker}")
    eventually(lambda: workshop.row(event_id).state == "done")
    assert marker.exists(), "nobody died"
    raised_once(shop, subscription)


def test_a_relay_killed_behind_its_hint_hints_again(
    shop: Shop, workshop: Workshop, tmp_path: Path
) -> None:
    subscription = edited_below_the_floor(shop)
    event_id = workshop.event(f"sub:{subscription}", kind="thin")
    marker = tmp_path / "died"
    died = workshop.trueup("relay", TRUEUP_CRASH_POINT=f"{CrashPoint.AFTER_HINT}:{marker}")
    eventually(lambda: not died.alive)
    assert marker.exists(), "nobody died"
    workshop.trueup("worker")
    workshop.trueup("relay")
    eventually(lambda: workshop.row(event_id).state == "done")
    raised_once(shop, subscription)


def test_stripe_failing_on_the_way_charges_once(
    shop: Shop, workshop: Workshop, sandbox: Sandbox
) -> None:
    """Away, then asked too much, then an answer that is lost after the change was made."""
    subscription = edited_below_the_floor(shop)
    path = f"/v1/subscriptions/{subscription}"
    for kind, method in (("server_error", "GET"), ("rate_limit", "GET"), ("timeout_after", "POST")):
        sandbox.control("/faults", {"kind": kind, "method": method, "path": path})
    event_id = workshop.event(f"sub:{subscription}", kind="thin")
    workshop.trueup("relay")
    workshop.trueup("worker", TRUEUP_RETRY_BASE_S="0.2", TRUEUP_STRIPE_TIMEOUT_S="1")
    eventually(lambda: workshop.row(event_id).state == "done")
    raised_once(shop, subscription)


def test_two_workers_and_a_burst_charge_once(shop: Shop, workshop: Workshop) -> None:
    subscription = edited_below_the_floor(shop)
    workshop.trueup("relay")
    for _ in range(2):
        workshop.trueup("worker")
    burst = [workshop.event(f"sub:{subscription}", kind="thin") for _ in range(30)]
    eventually(lambda: workshop.count("pending") == 0)
    raised_once(shop, subscription)
    assert all(workshop.row(each).state in ("done", "superseded") for each in burst)
