"""The activation table, row by row: first match wins. Exact words where people read them."""

from dataclasses import replace
from typing import Any

import pytest

from reconcile.policy.activation import (
    ActivationFacts,
    Allow,
    Raise,
    capacity,
    decide_activation,
    decide_invite,
)
from reconcile.policy.values import Proration, Refuse, SeatPolicy, Standing
from tests.policy.factories import COMMERCE, PRO, activation, rules

NONE_FREE: dict[str, Any] = {"active": 5, "capacity": 5}
GROWING: dict[str, Any] = {**NONE_FREE, "auto_add": True}
CONTRACT, FOLLOW = SeatPolicy.CONTRACT, SeatPolicy.FOLLOW


def commerce(takes: str | None = "admin", **changes: Any) -> ActivationFacts:
    return activation(**{"rules": COMMERCE, "takes": takes, "standing": None, **changes})


def refused(facts: ActivationFacts) -> Refuse:
    outcome = decide_activation(facts)
    assert isinstance(outcome, Refuse), outcome
    assert outcome.remedies
    return outcome


def test_trial_refuses_before_counting() -> None:
    """C4, activation.trial: with its own error, before any seat is counted."""
    facts = commerce(active=None, organization_in_trial=True, frees="admin")
    assert refused(facts).code == "trial_invites_blocked"
    assert isinstance(decide_invite(facts), Refuse)
    assert isinstance(decide_activation(activation(organization_in_trial=True)), Allow)


def test_the_owner_takes_no_seat_also_in_a_trial() -> None:
    """C2."""
    assert isinstance(decide_activation(commerce(None, organization_in_trial=True)), Allow)


def test_net_zero_for_every_pool_is_allowed_in_a_full_pool() -> None:
    """activation.net_zero."""
    facts = activation(**NONE_FREE, frees="voice", standing=Standing.PAST_DUE)
    assert isinstance(decide_activation(facts), Allow)


def test_a_restriction_lets_nobody_into_a_seat_and_never_touches_the_owner() -> None:
    """activation.restricted, C8: whatever room there is, once the grace of a review is over."""
    outcome = refused(commerce(active=1, restricted=True))
    assert outcome.code == "organization_restricted"
    assert outcome.notify == "owner"
    assert isinstance(decide_activation(commerce(None, restricted=True)), Allow)
    assert isinstance(decide_activation(commerce(frees="admin", restricted=True)), Allow)


def test_another_tier_is_refused_whole() -> None:
    """A5, activation.tier."""
    outcome = refused(activation(1, 9, pool_tier="business"))
    assert outcome.code == "tier_mixed"
    assert outcome.notify == "account_manager"
    assert isinstance(decide_activation(activation(1, 9, pool_tier="agency")), Allow)


def test_the_hard_cap_names_the_pool_and_points_to_enterprise() -> None:
    """activation.hard_cap."""
    outcome = refused(commerce(active=7))
    assert outcome.code == "hard_cap"
    assert "Admin" in outcome.message
    assert any("Enterprise" in remedy for remedy in outcome.remedies)


def test_the_hard_cap_also_stops_a_plan_with_room() -> None:
    """activation.hard_cap."""
    capped = rules(voice={"hard_cap": 5})
    assert refused(activation(5, 9, rules=capped)).code == "hard_cap"
    assert isinstance(decide_activation(activation(4, 9, rules=capped)), Allow)


def test_a_dead_subscription_refuses_even_with_room() -> None:
    """activation.inactive."""
    assert refused(activation(1, 9, standing=Standing.DEAD)).code == "subscription_inactive"


@pytest.mark.parametrize(
    "standing",
    [Standing.LIVE, Standing.TRIALING, Standing.PAST_DUE, Standing.CANCELING],
)
@pytest.mark.parametrize("policy", [SeatPolicy.PURCHASED, CONTRACT, FOLLOW])
def test_a_free_seat_is_allowed_without_a_write(policy: SeatPolicy, standing: Standing) -> None:
    """activation.fits."""
    facts = activation(4, 5, rules=rules(policy), standing=standing, shortfall=True)
    assert isinstance(decide_activation(facts), Allow)


@pytest.mark.parametrize(
    ("takes", "message", "way_out"),
    [
        ("admin", "Admin seat limit reached", "remove an Admin member"),
        ("sales_rep", "Sales Rep seat limit reached", "remove a Sales Rep member"),
    ],
)
def test_a_full_included_pool_is_refused_with_its_words(
    takes: str, message: str, way_out: str
) -> None:
    """C5, C1, activation.included."""
    outcome = refused(commerce(takes, active=3, auto_add=True))
    assert outcome.message == message
    assert outcome.remedies == (way_out, "upgrade the plan")
    assert isinstance(decide_activation(commerce(takes, active=2)), Allow)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"standing": Standing.PAST_DUE}, "past_due"),
        ({"standing": Standing.PAUSED_COLLECTION}, "collection_paused"),
        ({"shortfall": True}, "shortfall"),
    ],
)
@pytest.mark.parametrize("policy", [SeatPolicy.PURCHASED, CONTRACT, FOLLOW])
def test_growth_is_refused_while_something_is_owed(
    policy: SeatPolicy, changes: dict[str, Any], code: str
) -> None:
    """activation.growth_blocked."""
    facts = activation(**{**GROWING, "rules": rules(policy), **changes})
    assert refused(facts).code == code


def test_a_full_contract_tells_the_account_manager() -> None:
    """activation.contract."""
    outcome = refused(activation(**GROWING, rules=rules(CONTRACT)))
    assert outcome.code == "contract"
    assert outcome.notify == "account_manager"
    assert "seat changes are processed through your account manager" in outcome.message


def test_a_contract_that_allows_overage_records_the_peak() -> None:
    """activation.contract."""
    outcome = decide_activation(
        activation(**GROWING, rules=rules(CONTRACT, contract_allows_overage=True))
    )
    assert isinstance(outcome, Allow)
    assert outcome.overage == 6


def test_auto_add_is_off_by_default() -> None:
    """B15, activation.auto_add_off."""
    assert refused(activation(**NONE_FREE)).code == "no_free_seat"


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_add_ceiling": 5},
        {"rules": rules(voice={"ceiling": 5})},
        {"invoice_limit_reached": True},
    ],
    ids=["own ceiling", "plan's ceiling", "Stripe's invoice limit"],
)
def test_a_ceiling_or_stripes_limit_refuses_and_notifies(changes: dict[str, Any]) -> None:
    """B15, activation.growth_limit."""
    outcome = refused(activation(**{**GROWING, "standing": Standing.TRIALING, **changes}))
    assert outcome.code == "auto_add_limit"
    assert outcome.notify == "owner"


def test_trialing_raises_without_proration_also_when_canceling() -> None:
    """activation.trialing."""
    outcome = decide_activation(
        activation(**GROWING | {"standing": Standing.TRIALING | Standing.CANCELING})
    )
    assert isinstance(outcome, Raise)
    assert (outcome.quantity, outcome.proration) == (6, Proration.NONE)


def test_canceling_refuses_the_purchase() -> None:
    """activation.canceling."""
    assert refused(activation(**GROWING | {"standing": Standing.CANCELING})).code == "canceling"


def test_a_schedule_carries_the_raise_or_refuses_it() -> None:
    """activation.schedule."""
    through = decide_activation(
        activation(**GROWING, schedule_managed=True, schedule_changeable=True)
    )
    assert isinstance(through, Raise)
    assert through.through_schedule
    assert refused(activation(**GROWING, schedule_managed=True)).code == "schedule_managed"


def test_otherwise_the_seat_is_raised_and_charged_now_then_the_member_activated() -> None:
    """activation.otherwise."""
    outcome = decide_activation(activation(**GROWING))
    assert outcome == Raise(
        seat_type="voice",
        quantity=6,
        proration=Proration.CHARGE_NOW,
        reason="Voice 5 -> 6 for an activation",
    )


def test_the_plan_may_activate_first() -> None:
    """activation.otherwise."""
    outcome = decide_activation(activation(**GROWING, rules=rules(activates_first=True)))
    assert isinstance(outcome, Raise)
    assert outcome.activates_first


@pytest.mark.parametrize(
    ("setting", "charge"), [("now", Proration.CHARGE_NOW), ("monthly", Proration.NEXT_INVOICE)]
)
def test_follow_raises_without_auto_add(setting: str, charge: Proration) -> None:
    """activation.otherwise."""
    outcome = decide_activation(activation(**NONE_FREE, rules=rules(FOLLOW, follow_raises=setting)))
    assert isinstance(outcome, Raise)
    assert outcome.proration == charge


def test_an_own_seat_joins_on_payment() -> None:
    """A2: the seats other members paid for do not help."""
    facts = {"rules": PRO, "takes": "pro", "pool_tier": "pro"}
    assert refused(activation(1, 9, **facts)).code == "payment_needed"
    assert isinstance(decide_activation(activation(1, 1, **facts, own_seat_paid=True)), Allow)


def test_an_invite_to_a_seat_of_ones_own_is_sent_before_it_is_paid() -> None:
    """A2: the invitee pays for it in between."""
    facts = activation(1, 1, rules=PRO, takes="pro", pool_tier="pro")
    assert isinstance(decide_invite(facts), Allow)
    assert isinstance(decide_invite(replace(facts, pool_tier="business")), Refuse)


@pytest.mark.parametrize("changes", [{"standing": None}, {"capacity": None}])
def test_without_a_subscription_nothing_is_free(changes: dict[str, Any]) -> None:
    assert refused(activation(**{"active": 0, **changes})).code == "no_subscription"


def test_counts_that_cannot_be_read_decide_nothing() -> None:
    assert refused(activation(None, 9, auto_add=True)).code == "counts_unreadable"


def test_a_seat_type_the_plan_does_not_have_is_refused() -> None:
    assert refused(activation(0, 9, takes="pro")).code == "unknown_seat_type"


def test_a_move_between_pools_needs_room_and_buys_nothing() -> None:
    """B6: also where Auto-Add would buy a seat."""
    outcome = refused(activation(**GROWING, frees="base", may_raise=False))
    assert outcome.code == "no_free_seat"
    assert isinstance(decide_activation(activation(4, 5, frees="base", may_raise=False)), Allow)


def test_a_burst_of_activations_is_one_raise() -> None:
    """B15."""
    outcome = decide_activation(activation(**GROWING, joining=4))
    assert isinstance(outcome, Raise)
    assert outcome.quantity == 9


def test_an_invite_reserves_and_buys_nothing() -> None:
    """C3: the check runs again when it is accepted."""
    assert isinstance(decide_invite(activation(**GROWING)), Allow)
    assert isinstance(decide_invite(commerce(active=3)), Refuse)


@pytest.mark.parametrize(
    ("quantities", "expected"),
    [
        ((5, 5, None), 5),
        ((5, 5, 3), 3),  # a reduction in flight counts as done
        ((5, 5, 9), 5),  # a raise in flight counts as not yet done
        ((5, 2), 2),  # Stripe was lowered behind our back
        ((None,), None),
    ],
)
def test_capacity_is_the_smallest_quantity_in_force_or_being_written(
    quantities: tuple[int | None, ...], expected: int | None
) -> None:
    """activation.fits."""
    assert capacity(*quantities) == expected


def test_a_raise_never_lowers_a_quantity_in_force() -> None:
    outcome = decide_activation(activation(**GROWING, most=8))
    assert isinstance(outcome, Raise)
    assert outcome.quantity == 8


def test_seats_of_members_on_their_way_are_taken() -> None:
    """B7: a conversion in flight brings its members with it."""
    assert isinstance(decide_activation(activation(3, 5, arriving=1)), Allow)
    assert refused(activation(3, 5, arriving=2)).code == "no_free_seat"
