"""What an activation is decided from, in the states that only Stripe and time bring about."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconcile.actor import Actor
from reconcile.adjustments import adjusting, preparing
from reconcile.members.activation import Done, activate
from reconcile.policy.seat_change import Move
from reconcile.policy.values import Change, Proration, Refuse
from reconcile.settings import Settings
from reconcile.store import adjustments, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.roster import AutoAdd, lock_organization
from tests.support.operating import locks_waited_for
from tests.support.roster import add_member, add_members
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop
from tests.support.workshop import eventually


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def waits(shop: Shop, member_id: str, seat_type: str = "voice", role: str = "member") -> None:
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", member_id, status="pending", seat_type=seat_type, role=role)


def test_the_seat_that_a_member_on_the_way_needs_is_not_free(shop: Shop) -> None:
    """B7: a conversion that Stripe has not answered yet brings its members along."""
    customer = shop.organization("org_1", base=2, voice=1)
    subscription_id = shop.subscribe(customer, {"base": 2, "voice": 2})
    shop.settle(subscription_id)
    intent = preparing.prepare(
        shop.services,
        shop.services.stripe.subscription(subscription_id),
        Change(quantities={"base": 1}, proration=Proration.NEXT_INVOICE, reason="-1 Base seat"),
        trigger="test",
        active={"base": 1, "voice": 2},
        moves=(
            Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice"),
        ),
    )
    waits(shop, "ann")
    with shop.services.sessions.begin() as session:
        adjustment = adjusting.intend(session, shop.services, intent)
    outcome = activate(shop.services, "org_1", "ann", actor=Actor("token:host"))
    assert isinstance(outcome, Refuse)
    assert outcome.code == "no_free_seat"
    adjusting.carry_out(shop.services, adjustment)
    with shop.services.sessions() as session:
        counts = shop.services.roster.counts(session, "org_1").by_seat_type
    assert counts == {"base": 1, "voice": 2}


def test_a_reduction_is_not_over_in_the_middle_of_a_check(shop: Shop) -> None:
    """What is bought is read first, then what is in flight: over in between, it is neither."""
    customer = shop.organization("org_1", voice=2)
    subscription_id = shop.subscribe(customer, {"voice": 4})
    shop.settle(subscription_id)
    intent = preparing.prepare(
        shop.services,
        shop.services.stripe.subscription(subscription_id),
        Change(quantities={"voice": 2}, proration=Proration.NEXT_INVOICE, reason="-2 Voice seats"),
        trigger="test",
        active={"voice": 2},
    )
    with shop.services.sessions.begin() as session:
        adjustment = adjusting.intend(session, shop.services, intent)
    with ThreadPoolExecutor(1) as others, shop.services.sessions.begin() as session:
        lock_organization(session, "org_1")
        carried_out = others.submit(adjusting.carry_out, shop.services, adjustment)
        eventually(lambda: carried_out.done() or locks_waited_for(shop.services) > 0)
        assert subscriptions.seats_of(session, subscription_id)["voice"].quantity == 4
        assert adjustments.pending(session, subscription_id) is not None
    assert carried_out.result().adjustment.state == "applied"


def test_an_item_that_stripe_no_longer_has_is_no_room(shop: Shop) -> None:
    customer = shop.organization("org_1", base=1, voice=1)
    subscription_id = shop.subscribe(customer, {"base": 1, "voice": 3})
    shop.settle(subscription_id)
    item = shop.seats(subscription_id)["voice"].item_id
    shop.sandbox.post(
        f"/v1/subscriptions/{subscription_id}",
        {"items[0][id]": item, "items[0][deleted]": "true"},
    )
    shop.settle(subscription_id)
    waits(shop, "ann")
    outcome = activate(shop.services, "org_1", "ann", actor=Actor("token:host"))
    assert isinstance(outcome, Refuse)
    assert "item_missing" in shop.findings(subscription_id)


@pytest.mark.parametrize("ended", [False, True])
def test_included_seats_need_a_subscription_that_is_alive(shop: Shop, ended: bool) -> None:
    customer = shop.organization("org_1", plan="commerce_growth")
    with shop.services.sessions.begin() as session:
        add_members(session, "org_1", "admin", role="admin", active=1)
    price = next(
        p for p in shop.services.catalog.plan("commerce_growth").prices if p.interval == "month"
    )
    subscription_id = str(
        shop.sandbox.post(
            "/v1/subscriptions",
            {
                "customer": customer,
                "metadata[organization_id]": "org_1",
                "items[0][price]": price.id,
            },
        )["id"]
    )
    shop.settle(subscription_id)
    if ended:
        shop.sandbox._answer("DELETE", f"/v1/subscriptions/{subscription_id}")
        shop.settle(subscription_id)
    waits(shop, "ann", "admin", role="admin")
    outcome = activate(shop.services, "org_1", "ann", actor=Actor("token:host"))
    if ended:
        assert isinstance(outcome, Refuse)
        assert outcome.code == "subscription_inactive"
    else:
        assert isinstance(outcome, Done)


def test_nothing_is_bought_beside_an_update_that_waits_for_its_payment(
    shop: Shop, sandbox: Sandbox
) -> None:
    """Stripe keeps the other update for a day: neither is to be paid for twice, or lost."""
    customer = shop.organization("org_1", base=1, voice=2)
    subscription_id = shop.subscribe(customer, {"base": 1, "voice": 2})
    shop.settle(subscription_id)
    automatic = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=9, ceiling_minor=None)
    with shop.services.sessions.begin() as session:
        roster_store.write_auto_add(session, "org_1", [automatic])
    sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    shop.edit(
        subscription_id,
        "base",
        2,
        payment_behavior="pending_if_incomplete",
        proration_behavior="always_invoice",
    )
    assert sandbox.get(f"/v1/subscriptions/{subscription_id}")["pending_update"]
    sandbox.control("/declines", {"customer": customer, "code": None})
    waits(shop, "ann")
    for _ in range(2):  # not known here yet, and known
        outcome = activate(shop.services, "org_1", "ann", actor=Actor("token:host"))
        assert isinstance(outcome, Refuse)
        assert outcome.code == "in_progress"
    assert shop.writes(subscription_id) == 0
    first = shop.with_plan("agency", activates_first=True)
    assert isinstance(activate(first.services, "org_1", "ann", actor=Actor("token:host")), Done)
    assert "pending update" in first.settle(subscription_id).line
    assert shop.writes(subscription_id) == 0
