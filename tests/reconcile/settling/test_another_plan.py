"""Seats after the organization went to another plan, or to another subscription.

What is recorded of the seats before must not stand in the way of those there are now.
"""

from dataclasses import replace

import pytest
from sqlalchemy import update

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.case import only_subscription
from reconcile.adjustments.seat_change import Preview
from reconcile.catalog import Catalog
from reconcile.members.activation import activate
from reconcile.members.joining import Done
from reconcile.members.overview import Overview, overview
from reconcile.members.room import pool_subscription
from reconcile.nights import checks
from reconcile.policy.seat_change import Wanted
from reconcile.settling.organizations import settle_organization
from reconcile.store import roster
from reconcile.tables import organizations
from tests.support.approving import EVE, agree
from tests.support.roster import add_member
from tests.support.shop import Shop, create_price, with_catalog

BOB = Actor("member:bob")


def goes_to(shop: Shop, plan: str) -> None:
    """The host's application puts the organization on another plan."""
    with shop.services.sessions.begin() as session:
        session.execute(update(organizations).values(plan=plan))


def price(shop: Shop, plan: str, seat_type: str) -> str:
    return str(shop.services.catalog.price_of(plan, seat_type, "month", "usd").id)


def looked_at(shop: Shop) -> Overview:
    with shop.services.sessions() as session:
        organization = roster.organization(session, "org_1")
        assert organization
        return overview(session, shop.services, organization)


@pytest.mark.parametrize("item_first", [False, True])
def test_seats_of_a_type_that_the_new_plan_does_not_have(shop: Shop, item_first: bool) -> None:
    """From Base and Voice to Member: whatever comes first, the plan or the items."""
    customer = shop.organization(base=2, voice=2)
    sub = shop.subscribe(customer, {"base": 3, "voice": 2})
    shop.settle(sub)
    items = {name: seat.item_id for name, seat in shop.seats(sub).items()}
    swap = {
        "items[0][id]": items["base"],
        "items[0][price]": price(shop, "team", "member"),
        "items[0][quantity]": 4,
        "items[1][id]": items["voice"],
        "items[1][deleted]": "true",
    }

    def plan() -> None:
        for seat_type, count in {"base": 0, "voice": 0, "member": 4}.items():
            shop.activate("org_1", seat_type, count)
        goes_to(shop, "team")

    def item() -> None:
        shop.sandbox.post(f"/v1/subscriptions/{sub}", swap)

    first, second = (item, plan) if item_first else (plan, item)
    first()
    shop.settle(sub)
    expected = {"item_wrong_price", "item_missing"}
    assert shop.findings(sub)
    assert shop.findings(sub) <= expected
    second()
    shop.settle(sub)
    assert shop.findings(sub) == set()
    assert {name: seat.quantity for name, seat in shop.seats(sub).items()} == {"member": 4}
    shown = seat_change.preview(shop.services, "org_1", Wanted(interval="year"), actor=EVE)
    assert isinstance(shown, Preview)


def test_seats_of_a_plan_that_includes_them_are_missed_in_stripe_by_nobody(shop: Shop) -> None:
    customer = shop.organization(plan="workspace_business", pro=1)
    sub = shop.subscribe(customer, {"pro": 6}, plan="workspace_business")
    shop.settle(sub)
    shop.sandbox.post(f"/v1/subscriptions/{sub}", {"items[0][price]": shop.stickers()})
    goes_to(shop, "workspace_starter")
    shop.take_out(sub, "pro")
    shop.settle(sub)
    assert shop.findings(sub) == set()


def test_what_was_sold_beside_included_seats_is_none_of_ours_in_the_next_plan(shop: Shop) -> None:
    customer = shop.organization(plan="workspace_starter", pro=1)
    form = {"customer": customer, "items[0][price]": shop.stickers()}
    beside = str(shop.sandbox.post("/v1/subscriptions", form)["id"])
    shop.settle(beside)
    goes_to(shop, "workspace_business")
    shop.settle(beside)
    assert shop.findings(beside) == set()


def test_the_seats_are_where_stripe_has_them(shop: Shop) -> None:
    """They moved to a subscription of their own; the old one lives on with something else."""
    customer = shop.organization(base=2)
    old = shop.subscribe(customer, {"base": 3})
    shop.settle(old)
    shop.sandbox.post(f"/v1/subscriptions/{old}", {"items[0][price]": shop.stickers()})
    new = shop.subscribe(customer, {"base": 4})
    shop.settle(new)
    assert shop.findings(new) == {"several_subscriptions"}
    shop.take_out(old, "base")
    shop.settle(old)
    shop.settle(new)
    assert shop.findings(old) == shop.findings(new) == set()
    with shop.services.sessions() as session:
        assert only_subscription(session, "org_1") == new
        assert pool_subscription(session, "org_1") == new
    seen = next(seats for seats in looked_at(shop).seats if seats.rules.seat_type == "base")
    assert (seen.quantity, seen.stripe_quantity, seen.capacity, seen.free) == (4, 4, 4, 2)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "bob", seat_type="base", status="pending")
    assert isinstance(activate(shop.services, "org_1", "bob", actor=BOB), Done)
    shop.settle(old)
    shop.settle(new)
    told = [check for check in checks.run(shop.services) if not check.ok]
    assert [check.name for check in told if "event" not in check.name] == []
    # Over, its seats are nowhere, and that is told of the one there still is.
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{new}")
    shop.settle(new)
    shop.settle(old)
    assert shop.findings(old) == {"item_missing"}
    assert shop.findings(new) == set()
    with shop.services.sessions() as session:
        assert only_subscription(session, "org_1") == old


def test_what_is_missed_where_no_seats_are_any_more_is_closed(shop: Shop) -> None:
    """It is known by its customer alone; with its last seats it was no concern of ours."""
    customer = shop.organization(base=2)
    old = shop.subscribe(customer, {"base": 3}, organization_id="")
    shop.settle(old)
    shop.sandbox.post(f"/v1/subscriptions/{old}", {"items[0][price]": shop.stickers()})
    shop.activate("org_1", "base", 0)
    shop.activate("org_1", "member", 2)
    goes_to(shop, "team")
    shop.take_out(old, "base")
    shop.settle(old)
    assert shop.findings(old) == {"item_missing"}, "members are active, and nobody pays for them"
    shop.settle(shop.subscribe(customer, {"member": 2}, plan="team"))
    shop.settle(old)
    assert shop.findings(old) == set()


@pytest.mark.parametrize("paid_first", [False, True])
def test_an_old_contract_says_nothing_of_seats_of_ones_own(shop: Shop, paid_first: bool) -> None:
    customer = shop.organization(plan="workspace_business", pro=1)
    pooled = shop.subscribe(customer, {"pro": 20}, plan="workspace_business")
    shop.settle(pooled)
    agree(shop, pro=20)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{pooled}")
    shop.settle(pooled)
    member = {"metadata[member_id]": "member_pro_active_0"}
    if not paid_first:
        goes_to(shop, "workspace_pro")
    own = shop.subscribe(customer, {"pro": 1}, plan="workspace_pro", **member)
    shop.settle(own)
    goes_to(shop, "workspace_pro")
    shop.settle(own)
    assert shop.seats(own)["pro"].quantity == 1
    (seats,) = looked_at(shop).seats
    assert (seats.quantity, seats.capacity) == (1, 1)


def test_a_fee_in_the_place_of_seats_is_no_seats(shop: Shop) -> None:
    """From a plan with seats to one that includes them: the item goes on as the plan's fee."""
    plan = shop.services.catalog.plan("commerce_growth")
    fee = replace(plan.prices[0], currency="usd", lookup_key="commerce_growth_usd")
    fee = replace(fee, id=create_price(shop.sandbox, fee))
    plans = {**shop.services.catalog.plans, plan.name: replace(plan, prices=(*plan.prices, fee))}
    shop = Shop(with_catalog(shop.services, Catalog(plans)), shop.sandbox)
    customer = shop.organization(base=2)
    sub = shop.subscribe(customer, {"base": 2})
    shop.settle(sub)
    shop.activate("org_1", "base", 0)
    goes_to(shop, plan.name)
    form = {"items[0][id]": shop.seats(sub)["base"].item_id, "items[0][price]": fee.id}
    shop.sandbox.post(f"/v1/subscriptions/{sub}", form | {"items[0][quantity]": 1})
    shop.settle(sub)
    assert shop.findings(sub) == set()


def test_a_member_without_a_seat_of_their_own_needs_none_in_the_next_plan(shop: Shop) -> None:
    """Nobody would ever close it: it is of no subscription, and no run looked for it any more."""
    shop.organization(plan="workspace_pro", pro=2)
    settle_organization(shop.services, "org_1", trigger="test")
    assert shop.findings(None) == {"member_without_seat"}
    goes_to(shop, "workspace_business")
    settle_organization(shop.services, "org_1", trigger="test")
    assert "member_without_seat" not in shop.findings(None)
