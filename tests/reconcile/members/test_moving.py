"""Moves between pools: swaps, and members whom a change of seats in flight is counting on."""

import pytest

from reconcile import facts, seeing
from reconcile.actor import Actor
from reconcile.adjustments import adjusting, preparing, seat_change
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.members import membership
from reconcile.members.joining import Done, Outcome
from reconcile.policy.seat_change import Move, Wanted
from reconcile.policy.values import Change, Proration, Refuse
from reconcile.settling.work import Ended, work_off
from reconcile.store import audit, roster
from tests.support.roster import add_member, add_organization
from tests.support.shop import Shop

HOST = Actor("token:host")


@pytest.fixture
def full(shop: Shop) -> str:
    """Two Base and one Voice seat, all taken: by Ann and Bob, and by Vic."""
    customer = shop.organization("org_1")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="base")
        add_member(session, "org_1", "bob", seat_type="base")
        add_member(session, "org_1", "vic", seat_type="voice")
    subscription_id = shop.subscribe(customer, {"base": 2, "voice": 1})
    shop.settle(subscription_id)
    return subscription_id


def seat_of(shop: Shop, member_id: str) -> str | None:
    with shop.services.sessions() as session:
        found = roster.member(session, "org_1", member_id)
    assert found
    return found.seat_type


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refuse), outcome
    return outcome.code


def swap(shop: Shop, one: str, other: str, seat_type: str = "voice") -> Outcome:
    return membership.swap_seats(
        shop.services, "org_1", one, other, seat_type=seat_type, actor=HOST
    )


def test_a_swap_fits_full_pools_and_is_one_operation(shop: Shop, full: str) -> None:
    """B6, B7."""
    alone = membership.move_seat(shop.services, "org_1", "bob", seat_type="voice", actor=HOST)
    assert code(alone) == "no_free_seat"
    assert isinstance(swap(shop, "bob", "vic"), Done)
    assert (seat_of(shop, "bob"), seat_of(shop, "vic")) == ("voice", "base")
    with shop.services.sessions() as session:
        entries = audit.page(session, action="member.seat_swapped")
    assert {each.subject for each in entries} == {"bob", "vic"}
    assert swap(shop, "bob", "vic") == Done(line="bob has a seat of this type already")
    assert shop.writes(full) == 0


def test_a_swap_needs_two_active_members_and_the_seat(shop: Shop, full: str) -> None:
    """B6."""
    assert code(swap(shop, "ann", "bob")) == "nothing_to_swap"
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "wes", seat_type="voice", status="blocked")
    assert code(swap(shop, "ann", "wes")) == "nothing_to_swap"
    assert code(swap(shop, "wes", "ann", seat_type="base")) == "nothing_to_swap"


def test_roles_that_take_no_such_seat_do_not_swap(shop: Shop) -> None:
    """C2."""
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "adam", role="admin", seat_type="admin")
        add_member(session, "org_1", "ray", role="sales_rep", seat_type="sales_rep")
    assert code(swap(shop, "adam", "ray", seat_type="sales_rep")) == "seat_type_not_allowed"


def test_a_seat_of_ones_own_does_not_move(shop: Shop) -> None:
    """A2."""
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="workspace_pro")
        for name in ("ann", "bob"):
            add_member(session, "org_1", name, seat_type="pro")
    assert code(swap(shop, "ann", "bob", seat_type="gold")) == "own_seat"
    moved = membership.move_seat(shop.services, "org_1", "ann", seat_type="gold", actor=HOST)
    assert code(moved) == "own_seat"


def test_who_is_being_moved_is_not_moved_by_anything_else(shop: Shop, full: str) -> None:
    """B7: the conversion in flight lowers Base by the seat that Bob leaves."""
    services = shop.services
    seen = seeing.fetched(services, full)
    move = Move(member_id="bob", from_seat_type="base", to_seat_type="voice")
    change = Change(
        quantities={"base": 1, "voice": 2}, proration=Proration.CHARGE_NOW, reason="convert"
    )
    with services.sessions.begin() as session:
        organization = roster.organization(session, "org_1")
        assert organization
        facts.record(session, services, seen, organization)
    intent = preparing.prepare(
        services,
        seen.subscription,
        change,
        trigger="test",
        active={"base": 1, "voice": 2},
        moves=(move,),
    )
    with services.sessions.begin() as session:
        adjustment = adjusting.intend(session, services, intent)
    assert code(swap(shop, "bob", "vic")) == "in_progress"
    assert code(swap(shop, "vic", "bob", seat_type="base")) == "in_progress"
    adjusting.carry_out(services, adjustment)
    assert seat_of(shop, "bob") == "voice"
    assert isinstance(swap(shop, "ann", "bob"), Done)


def test_a_finding_that_ends_with_a_move_is_closed_right_after_it(shop: Shop) -> None:
    """B6: no event of Stripe's comes after it, and growth would be blocked until the night."""
    sub = shop.subscribe(shop.organization(base=3, voice=1), {"base": 2, "voice": 2})
    shop.settle(sub)
    assert shop.findings(sub) == {"active_over_quantity"}
    move = Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice")
    shown = seat_change.preview(shop.services, "org_1", Wanted(moves=(move,)), actor=HOST)
    assert isinstance(shown, Preview), shown
    assert isinstance(seat_change.apply(shop.services, "org_1", shown.id, actor=HOST), Applied)
    assert work_off(shop.services, "org:org_1").ended is Ended.DONE
    assert shop.findings(sub) == set()


def test_a_whole_pool_that_moves_is_no_count_that_fell_to_zero(shop: Shop) -> None:
    """B7: growth was blocked after it, as if the roster were broken."""
    sub = shop.subscribe(shop.organization(base=2, voice=4), {"base": 2, "voice": 4})
    shop.settle(sub)
    names = [f"member_voice_active_{number}" for number in range(4)]
    moves = tuple(Move(member_id=n, from_seat_type="voice", to_seat_type="base") for n in names[:3])
    wanted = Wanted(quantities={"voice": 1, "base": 6}, moves=moves)
    shown = seat_change.preview(shop.services, "org_1", wanted, actor=HOST)
    assert isinstance(shown, Preview), shown
    assert isinstance(seat_change.apply(shop.services, "org_1", shown.id, actor=HOST), Applied)
    moved = membership.move_seat(shop.services, "org_1", names[3], seat_type="base", actor=HOST)
    assert isinstance(moved, Done), moved
    shop.settle(sub)
    assert shop.findings(sub) == set()
    shop.activate("org_1", "base", 0)
    shop.settle(sub)
    assert shop.findings(sub) == {"counts_suddenly_zero"}
