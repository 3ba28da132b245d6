"""Roles and seats: who may change them, and which pool gives and takes one."""

from dataclasses import replace
from typing import Any

import pytest

from reconcile.policy.activation import Allow, decide_activation
from reconcile.policy.roles import (
    Assignment,
    MemberFacts,
    Reassign,
    WantedRole,
    decide_admin_transfer,
    decide_departure,
    decide_invited,
    decide_ownership_transfer,
    decide_role_change,
    decide_seat_move,
    decide_swap,
)
from reconcile.policy.values import PlanRules, Refuse, SeatPolicy
from tests.policy.factories import AGENCY, COMMERCE, PRO, activation


def member(
    role: str, seat_type: str | None, name: str = "mem_1", active: bool = True
) -> MemberFacts:
    return MemberFacts(member_id=name, role=role, seat_type=seat_type, active=active)


OWNER, ADMIN = member("owner", None, "owner"), member("admin", "admin", "admin")
REP = member("sales_rep", "sales_rep", "rep")


def change(rules: PlanRules, who: MemberFacts, to: str, **changes: Any) -> Reassign | Refuse:
    others = changes.pop("others", 1)
    wanted = WantedRole(**{"role": to, **changes})
    return decide_role_change(rules, who, wanted, other_active_admins=others)


def code(outcome: object) -> str:
    assert isinstance(outcome, Refuse), outcome
    return outcome.code


def full_pool(outcome: Reassign | Refuse, active: int) -> object:
    """What activation says of the pool that takes, at three included seats."""
    assert isinstance(outcome, Reassign)
    return decide_activation(
        activation(
            active,
            None,
            rules=COMMERCE,
            standing=None,
            takes=outcome.takes,
            frees=outcome.frees,
            may_raise=False,
        )
    )


def test_a_role_change_takes_one_pool_and_frees_the_other() -> None:
    """C6."""
    outcome = change(COMMERCE, REP, "admin")
    assert outcome == Reassign(
        assignments=(Assignment(member_id="rep", role="admin", seat_type="admin"),),
        takes="admin",
        frees="sales_rep",
    )
    assert isinstance(full_pool(outcome, active=2), Allow)
    assert code(full_pool(outcome, active=3)) == "seat_limit"


def test_whoever_is_not_active_takes_and_frees_nothing() -> None:
    """C3."""
    outcome = change(COMMERCE, replace(REP, active=False), "admin")
    assert isinstance(outcome, Reassign)
    assert (outcome.takes, outcome.frees) == (None, None)


def test_ownership_to_an_admin_fits_a_full_pool() -> None:
    """C7: net zero; the old owner steps down to admin."""
    outcome = decide_ownership_transfer(COMMERCE, OWNER, ADMIN)
    assert isinstance(outcome, Reassign)
    assert outcome.assignments == (
        Assignment(member_id="admin", role="owner", seat_type=None),
        Assignment(member_id="owner", role="admin", seat_type="admin"),
    )
    assert isinstance(full_pool(outcome, active=7), Allow)


def test_ownership_to_a_sales_rep_needs_a_free_admin_seat() -> None:
    """C7."""
    outcome = decide_ownership_transfer(COMMERCE, OWNER, REP)
    assert isinstance(outcome, Reassign)
    assert (outcome.takes, outcome.frees) == ("admin", "sales_rep")
    assert isinstance(full_pool(outcome, active=2), Allow)
    assert code(full_pool(outcome, active=3)) == "seat_limit"


@pytest.mark.parametrize("successor", [OWNER, replace(ADMIN, active=False)])
def test_a_successor_is_another_active_member(successor: MemberFacts) -> None:
    assert code(decide_ownership_transfer(COMMERCE, OWNER, successor)) == "successor_unfit"
    assert code(decide_ownership_transfer(COMMERCE, ADMIN, REP)) == "not_owner"


def test_who_is_not_active_has_no_role_to_pass_on() -> None:
    """A3, C7: an invite to the role, passed on, would make a second one of it."""
    invited = member("admin", "pro", "a", active=False)
    assert code(decide_admin_transfer(PRO, invited, member("member", "pro", "b"))) == "not_active"
    assert code(decide_ownership_transfer(COMMERCE, replace(OWNER, active=False), ADMIN)) == (
        "not_active"
    )


@pytest.mark.parametrize(("who", "to"), [(OWNER, "admin"), (ADMIN, "owner")])
def test_ownership_is_not_a_change_of_role(who: MemberFacts, to: str) -> None:
    assert code(change(COMMERCE, who, to)) == "transfer_needed"
    assert code(decide_departure(COMMERCE, OWNER, other_active_admins=3)) == "transfer_needed"


def test_the_last_active_admin_can_neither_step_down_nor_leave() -> None:
    """B8."""
    last = member("admin", "base")
    assert code(change(AGENCY, last, "member", others=0)) == "last_admin"
    assert code(decide_departure(AGENCY, last, other_active_admins=0)) == "last_admin"
    assert isinstance(change(AGENCY, last, "member", others=1), Reassign)
    assert decide_departure(AGENCY, last, other_active_admins=1) is None
    assert decide_departure(AGENCY, replace(last, active=False), other_active_admins=0) is None
    assert decide_departure(AGENCY, member("member", "base"), other_active_admins=0) is None


def test_the_one_admin_is_changed_in_one_operation() -> None:
    """A3."""
    admin, other = member("admin", "pro", "a"), member("member", "pro", "b")
    assert code(change(PRO, other, "admin")) == "single_admin"
    assert code(change(PRO, admin, "member", others=0)) == "single_admin"
    assert code(decide_departure(PRO, admin, other_active_admins=0)) == "single_admin"
    outcome = decide_admin_transfer(PRO, admin, other)
    assert isinstance(outcome, Reassign)
    assert [(a.member_id, a.role) for a in outcome.assignments] == [("b", "admin"), ("a", "member")]
    assert outcome.takes == outcome.frees
    assert code(decide_admin_transfer(PRO, other, admin)) == "not_admin"


def test_a_move_between_pools_keeps_the_role() -> None:
    """B6."""
    outcome = decide_seat_move(AGENCY, member("member", "base"), "voice")
    assert outcome == Reassign(
        assignments=(Assignment(member_id="mem_1", role="member", seat_type="voice"),),
        takes="voice",
        frees="base",
    )
    assert code(decide_seat_move(COMMERCE, REP, "admin")) == "seat_type_not_allowed"


def test_a_role_with_two_pools_keeps_the_present_one_or_asks() -> None:
    outcome = change(AGENCY, member("member", "voice"), "admin")
    assert isinstance(outcome, Reassign)
    assert outcome.assignments[0].seat_type == "voice"
    assert code(change(AGENCY, member("member", None), "admin")) == "seat_type_not_allowed"
    chosen = change(AGENCY, member("member", None), "admin", seat_type="base")
    assert isinstance(chosen, Reassign)
    assert code(change(AGENCY, member("member", "base"), "boss")) == "unknown_role"


def test_a_plan_for_one_person_has_nobody_to_invite() -> None:
    """A1: whatever the role, once its one admin is there."""
    alone = replace(
        PRO, roles={"admin": PRO.roles["admin"]}, policy=SeatPolicy.INCLUDED, single_admin=True
    )
    wanted = WantedRole(role="admin", seat_type="pro")
    refused = decide_invited(alone, "bob", wanted, {"admin": 1})
    assert code(refused) == "individual_plan"
    assert isinstance(refused, Refuse)
    assert refused.remedies == ("upgrade the plan",)
    assert isinstance(decide_invited(alone, "ann", wanted, {}), Assignment)
    another = WantedRole(role="member")
    assert isinstance(decide_invited(PRO, "bob", another, {"admin": 1}), Assignment)
    assert code(decide_invited(PRO, "bob", wanted, {"admin": 1})) == "single_admin"


def test_there_is_one_owner() -> None:
    """C7: a second one is not invited, ownership is passed on."""
    wanted = WantedRole(role="owner")
    assert code(decide_invited(COMMERCE, "x", wanted, {"owner": 1})) == "transfer_needed"
    assert isinstance(decide_invited(COMMERCE, "x", wanted, {}), Assignment)


def test_two_members_exchange_their_pools_whatever_room_there_is() -> None:
    """B7: net zero, so no pool is asked."""
    ann, bob = member("member", "base", "ann"), member("admin", "voice", "bob")
    outcome = decide_swap(AGENCY, ann, bob, "voice")
    assert outcome == Reassign(
        assignments=(
            Assignment(member_id="ann", role="member", seat_type="voice"),
            Assignment(member_id="bob", role="admin", seat_type="base"),
        )
    )
    assert code(decide_swap(AGENCY, ann, bob, "base")) == "nothing_to_swap"
    assert code(decide_swap(AGENCY, ann, replace(bob, active=False), "voice")) == "nothing_to_swap"
    assert code(decide_swap(COMMERCE, ADMIN, REP, "sales_rep")) == "seat_type_not_allowed"


def test_a_seat_of_ones_own_does_not_move() -> None:
    """A2: it is of the type that was paid for."""
    ann, bob = member("admin", "pro", "ann"), member("member", "pro", "bob")
    assert code(decide_seat_move(PRO, ann, "pro")) == "own_seat"
    assert code(decide_swap(PRO, ann, bob, "pro")) == "own_seat"


def test_where_admins_may_be_several_a_transfer_takes_two_steps() -> None:
    """B9: promote, then demote or remove; the refusal says so."""
    outcome = decide_admin_transfer(AGENCY, member("admin", "base"), member("member", "base", "b"))
    assert code(outcome) == "two_steps"
    assert isinstance(outcome, Refuse)
    assert outcome.remedies == (
        "promote the other member first",
        "then demote or remove the first",
    )


def test_ownership_needs_a_role_for_the_old_owner() -> None:
    lonely = replace(COMMERCE, roles={"owner": COMMERCE.roles["owner"]})
    assert code(decide_ownership_transfer(lonely, OWNER, ADMIN)) == "no_admin_role"


def test_a_role_that_the_plan_has_not_is_not_invited() -> None:
    assert (
        code(decide_invited(AGENCY, "x", WantedRole(role="boss"), {"admin": 1})) == "unknown_role"
    )
