"""What the host application is told: a full pool, what Auto-Add bought, where it stopped."""

from typing import Any

import pytest
from sqlalchemy import select

from reconcile.actor import Actor
from reconcile.members.activation import activate
from reconcile.members.joining import Done, Outcome
from reconcile.members.membership import move_seat
from reconcile.store import roster
from reconcile.store.roster import AutoAdd
from reconcile.tables import notices
from tests.support.roster import add_member, add_members
from tests.support.shop import Shop

HOST = Actor("token:host")


@pytest.fixture
def agency(shop: Shop) -> str:
    """Two Voice seats, both taken, and three members who wait at the door."""
    customer = shop.organization("org_1", voice=2, base=1)
    subscription_id = shop.subscribe(customer, {"voice": 2, "base": 2})
    shop.settle(subscription_id)
    with shop.services.sessions.begin() as session:
        add_members(session, "org_1", "voice", pending=3)
    return subscription_id


def auto_add(shop: Shop, ceiling: int) -> None:
    setting = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=ceiling, ceiling_minor=None)
    with shop.services.sessions.begin() as session:
        roster.write_auto_add(session, "org_1", [setting])


def enters(shop: Shop, number: int) -> Outcome:
    return activate(shop.services, "org_1", f"member_voice_pending_{number}", actor=HOST)


def told(shop: Shop, kind: str) -> list[Any]:
    with shop.services.sessions() as session:
        wanted = select(notices).where(notices.c.type == kind).order_by(notices.c.created_at)
        return list(session.execute(wanted))


def test_a_full_pool_is_told_once_however_many_try(shop: Shop, agency: str) -> None:
    """B15, C5: the owner learns that seats are short, not of every login."""
    for number in (0, 1, 2, 0):
        assert not isinstance(enters(shop, number), Done)
    (notice,) = told(shop, "seats.limit_reached")
    assert (notice.organization_id, notice.audience) == ("org_1", "owner")
    assert notice.data == {
        "seat_type": "voice",
        "active": 2,
        "capacity": 2,
        "member_id": "member_voice_pending_0",
        "code": "no_free_seat",
    }
    assert notice.summary == "No free Voice seat: 2 active, 2 bought"


def test_a_larger_pool_that_is_full_again_is_another_occasion(shop: Shop, agency: str) -> None:
    """B15."""
    enters(shop, 0)
    shop.edit(agency, "voice", 3)
    shop.settle(agency)
    assert isinstance(enters(shop, 0), Done)
    enters(shop, 1)
    assert [each.data["capacity"] for each in told(shop, "seats.limit_reached")] == [2, 3]


def test_what_auto_add_bought_is_told_with_its_cost(shop: Shop, agency: str) -> None:
    """B15."""
    auto_add(shop, ceiling=3)
    assert isinstance(enters(shop, 0), Done)
    (notice,) = told(shop, "auto_add.happened")
    (invoice,) = shop.invoices(agency, "subscription_update")
    (adjustment,) = shop.adjustments(agency)
    assert notice.data == {
        "seat_type": "voice",
        "quantity_before": 2,
        "quantity_after": 3,
        "currency": "usd",
        "total_minor": invoice["total"],
        "amount_due_minor": invoice["amount_due"],
        "adjustment_id": adjustment.id,
        "invoice_id": invoice["id"],
    }
    enters(shop, 1)
    enters(shop, 2)
    (stopped,) = told(shop, "auto_add.ceiling_reached")
    assert (stopped.data["capacity"], stopped.data["code"]) == (3, "auto_add_limit")


def test_seats_that_a_run_adds_are_told_as_well(shop: Shop, agency: str) -> None:
    """B15: more became active in the host's export, and the next look buys their seats."""
    auto_add(shop, ceiling=5)
    shop.activate("org_1", "voice", 4)
    shop.settle(agency)
    (notice,) = told(shop, "auto_add.happened")
    assert (notice.data["quantity_before"], notice.data["quantity_after"]) == (2, 4)


def test_seats_that_a_person_edits_are_not_told_as_auto_add(shop: Shop, agency: str) -> None:
    """B15."""
    shop.edit(agency, "voice", 1)  # lowered below the two active: raised back
    shop.settle(agency)
    assert shop.quantities(agency)["voice"] == 2
    assert told(shop, "auto_add.happened") == []


def test_a_member_who_moves_is_told_to_the_host(shop: Shop, agency: str) -> None:
    """B6: the member's app reflects the other seat."""
    shop.activate("org_1", "voice", 1)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "bo", seat_type="voice")
    assert isinstance(move_seat(shop.services, "org_1", "bo", seat_type="base", actor=HOST), Done)
    (notice,) = told(shop, "member.changed")
    assert notice.data == {
        "member_id": "bo",
        "what": "seat type changed",
        "role": "member",
        "seat_type": "base",
        "status": "active",
    }
