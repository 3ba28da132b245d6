"""What Stripe sends, in every version's shape, from the signed request to the finished row.

An endpoint keeps the API version it was made with for years, so an old shape is an ordinary case.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backoffice.local.servers import Servers
from reconcile.settling.work import Ended, work_off
from tests.support.sandbox import API_KEY
from tests.support.shop import Shop
from tests.support.stripe_events import VERSIONS, invoice, snapshot, subscription, thin
from tests.support.webhooks import post_event
from tests.webhooks.conftest import Receiver, running_receiver


@pytest.fixture
def door(servers: Servers, database_url: str, tmp_path: Path) -> Iterator[Receiver]:
    with running_receiver(tmp_path, servers, stripe_api_key=API_KEY) as running:
        yield running


def in_the_shape_of(version: str, real: dict[str, Any], voice: int) -> dict[str, Any]:
    """The real subscription as that version's snapshot holds it, with so many Voice seats."""
    shaped = subscription(version, id=real["id"], customer=real["customer"])
    template = shaped["items"]["data"][0]
    shaped["items"]["data"] = [
        template
        | {
            "id": item["id"],
            "price": template["price"] | {"id": item["price"]["id"]},
            "quantity": voice if item["price"]["lookup_key"] == "agency_voice_month" else 2,
        }
        for item in real["items"]["data"]
    ]
    return shaped


@pytest.mark.parametrize("version", VERSIONS)
def test_a_change_told_in_any_version_is_settled(shop: Shop, door: Receiver, version: str) -> None:
    customer = shop.organization(base=2, voice=4)
    bought = shop.subscribe(customer, {"base": 2, "voice": 4})
    shop.settle(bought)
    shop.edit(bought, "voice", 3, proration_behavior="none")
    real = shop.sandbox.get(f"/v1/subscriptions/{bought}")
    told = [
        snapshot("customer.subscription.updated", in_the_shape_of(version, real, 3), version),
        snapshot("invoice.paid", naming(invoice(version), bought), version),
    ]
    for event in told:
        assert post_event(door.url, event).json()["state"] == "pending"
    report = work_off(shop.services, f"sub:{bought}")
    assert report.ended in {Ended.DONE, Ended.POSTPONED}, report.line
    assert shop.quantities(bought) == {"base": 2, "voice": 4}
    assert len(shop.adjustments(bought)) == 1
    assert states(shop, [event["id"] for event in told]) <= {"done", "superseded", "pending"}


def test_a_thin_notification_is_settled_from_the_object_it_names(
    shop: Shop, door: Receiver
) -> None:
    customer = shop.organization(base=2, voice=4)
    bought = shop.subscribe(customer, {"base": 2, "voice": 4})
    shop.settle(bought)
    shop.edit(bought, "voice", 3, proration_behavior="none")
    note = thin("v1.customer.subscription.item_quantity_changed", bought, "subscription")
    assert post_event(door.url, note).json()["state"] == "pending"
    assert work_off(shop.services, f"sub:{bought}").ended is Ended.DONE
    assert shop.quantities(bought) == {"base": 2, "voice": 4}
    assert states(shop, [note["id"]]) == {"done"}


def test_what_is_not_ours_is_kept_and_never_worked_on(shop: Shop, door: Receiver) -> None:
    customer = shop.organization(base=2, voice=4)
    bought = shop.subscribe(customer, {"base": 2, "voice": 4})
    changed = subscription(id=bought)
    others = [
        snapshot("customer.subscription.updated", changed, livemode=True),
        snapshot("customer.subscription.updated", changed, account="acct_other"),
        snapshot("something.stripe.will.invent", changed),
    ]
    for event in others:
        assert post_event(door.url, event).json()["state"] == "ignored"
    assert work_off(shop.services, f"sub:{bought}").ended is Ended.NOTHING_DUE
    assert states(shop, [event["id"] for event in others]) == {"ignored"}
    with shop.services.engine.connect() as connection:
        reasons = connection.scalars(text("select distinct reason from events")).all()
    assert len(reasons) == 3
    assert all(reasons)


def naming(shaped: dict[str, Any], subscription_id: str) -> dict[str, Any]:
    """The invoice with its subscription where its version has it."""
    if "parent" in shaped:
        shaped["parent"]["subscription_details"]["subscription"] = subscription_id
    else:
        shaped["subscription"] = subscription_id
    return shaped


def states(shop: Shop, event_ids: list[str]) -> set[str]:
    with shop.services.engine.connect() as connection:
        found = connection.scalars(
            text("select state from events where id = any(:ids)"), {"ids": event_ids}
        ).all()
    assert len(found) == len(event_ids)
    return set(found)
