"""A person's change of seats: one update, or a refusal with the way out."""

from dataclasses import replace
from typing import Any

import pytest

from reconcile.policy.seat_change import (
    ChangeFacts,
    Move,
    Requester,
    Wanted,
    decide_change,
    describe_change,
)
from reconcile.policy.values import (
    Change,
    ContractKind,
    ItemProblem,
    Keep,
    Proration,
    Refuse,
    SeatPolicy,
    Standing,
)
from tests.policy.factories import AGENCY, change_facts, rules, seat

MANAGER: dict[str, Any] = {"by": Requester.ACCOUNT_MANAGER, "approval": "order 17, Kim"}


def decided(facts: ChangeFacts, **wanted: Any) -> Change:
    outcome = decide_change(facts, Wanted(**wanted))
    assert isinstance(outcome, Change), outcome
    return outcome


def refused(facts: ChangeFacts, **wanted: Any) -> Refuse:
    outcome = decide_change(facts, Wanted(**wanted))
    assert isinstance(outcome, Refuse), outcome
    return outcome


def contract(**changes: Any) -> ChangeFacts:
    return change_facts((5, 5), (3, 5), rules=rules(SeatPolicy.CONTRACT, **changes))


def test_adding_is_billed_immediately() -> None:
    """B2."""
    change = decided(change_facts((2, 3), (2, 2)), quantities={"voice": 4})
    assert (change.quantities, change.proration) == ({"voice": 4}, Proration.CHARGE_NOW)
    assert change.reason == "+2 Voice seats"


def test_removing_is_a_credit_on_the_next_invoice() -> None:
    """B3: never a refund."""
    change = decided(change_facts((2, 3), (2, 5)), quantities={"voice": 2})
    assert (change.quantities, change.proration) == ({"voice": 2}, Proration.NEXT_INVOICE)


def test_adding_and_removing_in_one_save_is_one_update() -> None:
    """B4."""
    change = decided(change_facts((2, 3), (2, 2)), quantities={"base": 2, "voice": 4})
    assert change.quantities == {"base": 2, "voice": 4}
    assert change.proration == Proration.CHARGE_NOW
    assert change.reason == "+2 Voice seats, -1 Base seat"


def test_the_change_in_words_is_the_one_of_the_preview() -> None:
    """B1."""
    before, after = {"base": 3, "voice": 1}, {"base": 2, "voice": 3}
    assert describe_change(AGENCY, before, after) == "+2 Voice seats, -1 Base seat"
    assert describe_change(AGENCY, after, after) == ""


def test_never_below_the_active_count() -> None:
    """B5: the seat type, the active count and the way out."""
    outcome = refused(change_facts((2, 3), (5, 8)), quantities={"voice": 4})
    assert outcome.code == "below_active"
    assert outcome.message == "5 active Voice members: remove members first, then reduce"
    assert decided(change_facts((2, 3), (5, 8)), quantities={"voice": 5})


def test_the_floor_holds_for_the_whole_save() -> None:
    """B5."""
    outcome = refused(change_facts((3, 3), (2, 2)), quantities={"base": 2, "voice": 9})
    assert outcome.code == "below_active"


def test_one_active_member_is_spoken_of_as_one() -> None:
    outcome = refused(change_facts((1, 3), (1, 2)), quantities={"voice": 0})
    assert outcome.message == "1 active Voice member: remove members first, then reduce"


def test_converting_seats_with_their_members_works_when_both_pools_are_full() -> None:
    """B7: neither order of the two separate steps would."""
    full = change_facts((4, 4), (3, 3))
    move = Move(member_id="mem_1", from_seat_type="base", to_seat_type="voice")
    quantities = {"base": 3, "voice": 4}
    assert decided(full, quantities=quantities, moves=(move,)).quantities == quantities
    assert refused(full, quantities=quantities).code == "below_active"
    assert refused(full, moves=(move,)).code == "no_free_seat"


def test_moving_members_alone_writes_nothing_to_stripe() -> None:
    """B6."""
    move = Move(member_id="mem_1", from_seat_type="base", to_seat_type="voice")
    outcome = decide_change(change_facts((4, 4), (2, 3)), Wanted(moves=(move,)))
    assert isinstance(outcome, Keep)


def test_a_change_of_nothing_writes_nothing() -> None:
    outcome = decide_change(
        change_facts((2, 3), (2, 2)), Wanted(quantities={"voice": 2}, interval="month")
    )
    assert isinstance(outcome, Keep)


def test_all_items_switch_interval_in_one_update_with_their_quantities() -> None:
    """B10: a new price without its quantity would be reset to 1."""
    change = decided(change_facts((2, 3), (2, 2)), interval="year")
    assert change.interval == "year"
    assert change.quantities == {"base": 3, "voice": 2}
    assert change.proration == Proration.CHARGE_NOW


def test_an_interval_switch_may_carry_a_change_of_seats() -> None:
    change = decided(change_facts((2, 3), (2, 2)), interval="year", quantities={"base": 2})
    assert change.quantities == {"base": 2, "voice": 2}


def test_an_interval_is_not_switched_while_seats_are_short() -> None:
    """B5: every item is written again, and none below who is active."""
    short = change_facts((4, 3), (3, 5))
    outcome = refused(short, interval="year")
    assert outcome.code == "below_active"
    assert outcome.message.startswith("4 active Base members, 3 seats bought: buy seats")
    assert decided(short, interval="year", quantities={"base": 4}).interval == "year"


@pytest.mark.parametrize("interval", ["month", "year"])
def test_seats_that_follow_begin_another_period_with_who_is_active(interval: str) -> None:
    """B10, follow.lowers: nobody who has left is paid for in it."""
    left = change_facts((1, 2), (3, 5), rules=rules(SeatPolicy.FOLLOW), interval=interval)
    other = {"month": "year", "year": "month"}[interval]
    change = decided(left, interval=other)
    assert change.quantities == {"base": 1, "voice": 3}
    assert change.reason == f"-1 Base seat, -2 Voice seats; billed each {other}"
    assert isinstance(decide_change(left, Wanted(interval=interval)), Keep)
    alone = change_facts((0, 2), (3, 3), rules=rules(SeatPolicy.FOLLOW))
    assert decided(alone, interval="year").quantities == {"base": 1, "voice": 3}, "the minimum"


def test_seats_that_follow_are_not_lowered_with_a_count_that_nobody_believes() -> None:
    """any.unclear: a pool of three is rarely empty from one look to the next."""
    lost = seat(0, 3, 3, active_before=3)
    facts = change_facts((2, 2), (0, 0), rules=rules(SeatPolicy.FOLLOW))
    facts = replace(facts, seats=(facts.seats[0], lost))
    assert refused(facts, interval="year").code == "counts_unreadable"
    bought = replace(facts, rules=rules())
    assert decided(bought, interval="year").quantities == {"base": 2, "voice": 3}


def test_annual_to_monthly_is_an_invoice_today() -> None:
    """B10: usually a credit, used up by the next invoices."""
    change = decided(change_facts((2, 3), (2, 2), interval="year"), interval="month")
    assert (change.interval, change.proration) == ("month", Proration.CHARGE_NOW)


@pytest.mark.parametrize(
    ("quantities", "code"),
    [
        ({"pro": 3}, "unknown_seat_type"),
        ({"base": 0}, "below_minimum"),
        ({"voice": -1}, "invalid_quantity"),
        ({"voice": 21}, "ceiling"),
    ],
)
def test_quantities_stay_within_the_plan(quantities: dict[str, int], code: str) -> None:
    facts = change_facts((0, 3), (0, 2), rules=rules(voice={"ceiling": 20}))
    assert refused(facts, quantities=quantities).code == code


def test_nothing_is_bought_past_the_hard_cap() -> None:
    facts = change_facts((2, 3), (2, 2), rules=rules(voice={"hard_cap": 7}))
    assert refused(facts, quantities={"voice": 8}).code == "hard_cap"


def test_a_restricted_organization_adds_no_seats_and_may_remove_some() -> None:
    """C8."""
    facts = change_facts((2, 3), (2, 5), restricted=True)
    assert refused(facts, quantities={"voice": 6}).code == "organization_restricted"
    assert decided(facts, quantities={"voice": 4}).quantities == {"voice": 4}


def test_a_quantity_over_the_ceiling_may_still_come_down() -> None:
    facts = change_facts((2, 3), (2, 30), rules=rules(voice={"ceiling": 20}))
    assert decided(facts, quantities={"voice": 25}).quantities == {"voice": 25}


def test_an_interval_without_prices_is_refused() -> None:
    assert refused(change_facts((2, 3), (2, 2)), interval="week").code == "unknown_interval"


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        (Standing.DEAD, "subscription_inactive"),
        (Standing.PAST_DUE, "past_due"),
        (Standing.PAUSED_COLLECTION, "collection_paused"),
        (Standing.CANCELING, "canceling"),
    ],
)
@pytest.mark.parametrize("quantity", [2, 9])
def test_held_subscriptions_do_not_change(quantity: int, standing: Standing, code: str) -> None:
    facts = change_facts((2, 3), (2, 5), standing=standing)
    assert refused(facts, quantities={"voice": quantity}).code == code


def test_trialing_changes_without_proration() -> None:
    facts = change_facts((2, 3), (2, 2), standing=Standing.TRIALING)
    assert decided(facts, quantities={"voice": 4}).proration == Proration.NONE


def test_one_change_at_a_time() -> None:
    facts = change_facts((2, 3), (2, 2), in_flight=True)
    assert refused(facts, quantities={"voice": 4}).code == "in_progress"


def test_a_schedule_carries_the_change_or_refuses_it() -> None:
    facts: dict[str, Any] = {"base": (2, 3), "voice": (2, 2), "schedule_managed": True}
    fits = change_facts(**facts, schedule_changeable=True)
    assert decided(fits, quantities={"voice": 4}).through_schedule
    assert refused(change_facts(**facts), quantities={"voice": 4}).code == "schedule_managed"


@pytest.mark.parametrize(
    "changes",
    [{"counts_problem": "no view"}, {"seats": (seat(None, 5, 5),)}],
    ids=["all unreadable", "one unreadable"],
)
def test_counts_that_cannot_be_read_change_nothing(changes: dict[str, Any]) -> None:
    facts = change_facts((2, 3), (2, 2), **changes)
    assert refused(facts, quantities={"voice": 9}).code == "counts_unreadable"


def test_an_item_that_is_not_the_plans_is_not_changed() -> None:
    odd = seat(2, 3, 3, item_problem=ItemProblem.WRONG_PRICE)
    facts = change_facts((2, 3), (2, 2), seats=(odd,))
    assert refused(facts, quantities={"voice": 9}).code == "item_problem"


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (SeatPolicy.INCLUDED, "included"),
        (SeatPolicy.CONTRACT, "contract"),
        (SeatPolicy.OWN_SEAT, "own_seat"),
        (SeatPolicy.FOLLOW, "follows_members"),
    ],
)
def test_only_purchased_seats_are_the_customers_to_change(policy: SeatPolicy, code: str) -> None:
    """A6."""
    facts = change_facts((2, 3), (2, 2), rules=rules(policy))
    assert refused(facts, quantities={"voice": 4}).code == code


def test_a_contract_is_changed_by_an_account_manager_who_says_why() -> None:
    """A6."""
    outcome = refused(contract(), quantities={"voice": 6}, by=Requester.ACCOUNT_MANAGER)
    assert outcome.code == "approval_needed"
    change = decided(contract(), quantities={"voice": 6}, **MANAGER)
    assert change.reason == "+1 Voice seat; approved: order 17, Kim"


@pytest.mark.parametrize(
    ("kind", "at_renewal", "charge"),
    [
        (ContractKind.MONTHLY, True, Proration.NONE),
        (ContractKind.ANNUAL_UPFRONT, False, Proration.CHARGE_NOW),
    ],
)
def test_a_contract_changes_at_the_next_cycle_or_prorated(
    kind: ContractKind, at_renewal: bool, charge: Proration
) -> None:
    """A6."""
    change = decided(contract(contract_kind=kind), quantities={"voice": 6}, **MANAGER)
    assert (change.at_renewal, change.proration) == (at_renewal, charge)


@pytest.mark.parametrize("allowed", [True, False])
def test_removing_during_a_contract_is_the_contracts_to_allow(allowed: bool) -> None:
    """A7."""
    facts, fewer = contract(contract_removals=allowed), Wanted(quantities={"voice": 4}, **MANAGER)
    assert isinstance(decide_change(facts, fewer), Change if allowed else Refuse)
