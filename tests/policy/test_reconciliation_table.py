"""The reconciliation table, row by row: A active, Q our quantity, S Stripe's.

Each case names its row. `FOUND` columns list every finding, because each matching one is opened
whichever row decides the write.
"""

from typing import Any

import pytest

from reconcile.policy.reconciliation import reconcile, reconcile_organization
from reconcile.policy.rulings import Row
from reconcile.policy.values import (
    Change,
    FindingKind,
    ItemProblem,
    Keep,
    Proration,
    Review,
    SeatPolicy,
    Standing,
    SubscriptionFacts,
    Verdict,
    Wait,
)
from tests.policy.factories import PRO, organization, rules, seat, subscription

F = FindingKind
FOLLOW, CONTRACT = SeatPolicy.FOLLOW, SeatPolicy.CONTRACT
POLICIES_THAT_COUNT = [SeatPolicy.PURCHASED, FOLLOW, CONTRACT]


def kinds(verdict: Verdict) -> set[FindingKind]:
    return {observation.kind for observation in verdict.observations}


def write(verdict: Verdict) -> tuple[dict[str, int], Proration]:
    assert isinstance(verdict.decision, Change), verdict
    return dict(verdict.decision.quantities), verdict.decision.proration


# --- any policy: nothing is concluded ---------------------------------------------------------

UNCLEAR: dict[str, tuple[SubscriptionFacts, FindingKind]] = {
    "counts unreadable": (
        subscription(seat(9, 5, 5), counts_problem="the view is gone"),
        F.COUNTS_UNREADABLE,
    ),
    "one count unreadable": (subscription(seat(None, 5, 5)), F.COUNTS_UNREADABLE),
    "A suddenly 0": (subscription(seat(0, 5, 5, active_before=4)), F.COUNTS_SUDDENLY_ZERO),
    "item missing": (subscription(seat(4, 5, None)), F.ITEM_MISSING),
    "item missing, nobody active": (subscription(seat(0, 5, None)), F.ITEM_MISSING),
    "item never bought but used": (subscription(seat(2, 0, None)), F.ITEM_MISSING),
    "metered item": (
        subscription(seat(9, 5, None, item_problem=ItemProblem.METERED)),
        F.ITEM_METERED,
    ),
    "wrong price": (
        subscription(seat(9, 5, 5, item_problem=ItemProblem.WRONG_PRICE)),
        F.ITEM_WRONG_PRICE,
    ),
    "wrong currency": (
        subscription(seat(9, 5, 5, item_problem=ItemProblem.WRONG_CURRENCY)),
        F.ITEM_WRONG_CURRENCY,
    ),
    "two items for one seat type": (
        subscription(seat(9, 5, 5, item_problem=ItemProblem.DUPLICATE)),
        F.ITEM_DUPLICATE,
    ),
    "a seat type of another plan": (
        subscription(seat(9, 5, 5, seat_type="pro")),
        F.ITEM_WRONG_PRICE,
    ),
    "more than one live subscription": (
        subscription(seat(9, 5, 5), live_subscriptions=2),
        F.SEVERAL_SUBSCRIPTIONS,
    ),
}


@pytest.mark.parametrize("policy", POLICIES_THAT_COUNT)
@pytest.mark.parametrize(("facts", "found"), UNCLEAR.values(), ids=UNCLEAR.keys())
def test_unclear_facts_write_nothing_and_open_a_finding(
    facts: SubscriptionFacts, found: FindingKind, policy: SeatPolicy
) -> None:
    """any.unclear."""
    of_policy = subscription(
        *facts.seats,
        rules=rules(policy),
        live_subscriptions=facts.live_subscriptions,
        counts_problem=facts.counts_problem,
    )
    verdict = reconcile(of_policy)
    assert isinstance(verdict.decision, Keep)
    assert not verdict.decision.adopt
    assert verdict.rule == Row.UNCLEAR
    assert found in kinds(verdict)
    assert verdict.block_growth


def test_a_dead_subscription_lacks_no_items() -> None:
    """Nobody would ever look at it again to close the finding."""
    verdict = reconcile(subscription(seat(4, 5, None), standing=Standing.DEAD))
    assert F.ITEM_MISSING not in kinds(verdict)
    assert F.ITEM_MISSING in verdict.judged
    assert verdict.rule == Row.DEAD


def test_the_last_member_of_one_pool_leaving_is_ordinary_life() -> None:
    """any.unclear."""
    base = seat(3, 5, 5, seat_type="base")
    one_left = reconcile(subscription(base, seat(0, 5, 5, active_before=1)))
    several = reconcile(subscription(base, seat(0, 5, 5, active_before=2)))
    assert kinds(one_left) == set()
    assert kinds(several) == {F.COUNTS_SUDDENLY_ZERO}
    assert not several.believes_counts


@pytest.mark.parametrize("policy", POLICIES_THAT_COUNT)
@pytest.mark.parametrize("motion", ["adjustment_in_flight", "pending_update", "settling"])
def test_in_flight_waits_and_says_nothing_of_quantities_in_motion(
    motion: str, policy: SeatPolicy
) -> None:
    """any.in_flight."""
    verdict = reconcile(subscription(seat(9, 5, 3), rules=rules(policy), **{motion: True}))
    assert isinstance(verdict.decision, Wait)
    assert verdict.rule == Row.IN_FLIGHT
    assert not kinds(verdict)
    # What was found before stays open: nothing here could have told whether it is gone.
    assert F.STRIPE_BELOW_FLOOR not in verdict.judged


@pytest.mark.parametrize("policy", POLICIES_THAT_COUNT)
def test_over_the_hard_cap_is_one_review_and_no_growth(policy: SeatPolicy) -> None:
    """C8, any.over_hard_cap."""
    capped = rules(policy, voice={"hard_cap": 7})
    verdict = reconcile(subscription(seat(8, 8, 5), rules=capped))
    assert verdict.decision == Review(
        seat_types=("voice",), reason="over the hard cap: voice; no growth"
    )
    assert verdict.rule == Row.OVER_HARD_CAP
    assert verdict.block_growth
    assert F.OVER_HARD_CAP in kinds(verdict)
    assert reconcile(subscription(seat(7, 7, 7), rules=capped)).rule != Row.OVER_HARD_CAP


@pytest.mark.parametrize("policy", POLICIES_THAT_COUNT)
def test_dead_subscription_is_not_written(policy: SeatPolicy) -> None:
    """any.dead."""
    dead = {"rules": rules(policy), "standing": Standing.DEAD}
    used = reconcile(subscription(seat(6, 5, 3), **dead))
    unused = reconcile(subscription(seat(0, 5, 3), **dead))
    assert isinstance(used.decision, Keep)
    assert used.rule == unused.rule == Row.DEAD
    assert kinds(used) == {F.ACTIVE_WITHOUT_SUBSCRIPTION}
    assert not kinds(unused)


def test_a_subscription_that_another_has_replaced_is_no_finding() -> None:
    """any.dead: the members are on the one that is live."""
    verdict = reconcile(subscription(seat(6, 5, 3), standing=Standing.DEAD, succeeded=True))
    assert not kinds(verdict)


HELD = {
    "past_due: no raise, decreases wait": (Standing.PAST_DUE, Row.PAST_DUE),
    "collection paused: hold": (Standing.PAUSED_COLLECTION, Row.COLLECTION_PAUSED),
    "canceling at period end: keep": (Standing.CANCELING, Row.CANCELING),
}


@pytest.mark.parametrize(("standing", "row"), HELD.values(), ids=HELD.keys())
@pytest.mark.parametrize("counts", [(6, 5, 5), (6, 5, 3), (2, 5, 5), (4, 5, 9)])
@pytest.mark.parametrize("policy", POLICIES_THAT_COUNT)
def test_held_subscriptions_are_not_written(
    policy: SeatPolicy, counts: tuple[int, int, int], standing: Standing, row: Row
) -> None:
    """any.past_due, any.collection_paused, any.canceling."""
    facts = subscription(seat(*counts, auto_add=True), rules=rules(policy), standing=standing)
    verdict = reconcile(facts)
    assert isinstance(verdict.decision, Keep)
    assert not verdict.decision.adopt
    assert verdict.rule == row


def test_past_due_says_what_it_holds_back_and_nothing_when_it_holds_nothing() -> None:
    """any.past_due."""
    held = reconcile(subscription(seat(6, 5, 5, auto_add=True), standing=Standing.PAST_DUE))
    idle = reconcile(subscription(seat(5, 5, 5), standing=Standing.PAST_DUE))
    assert kinds(held) == {F.PAST_DUE}
    assert not kinds(idle)


def test_collection_paused_is_a_finding() -> None:
    """any.collection_paused."""
    verdict = reconcile(subscription(seat(5, 5, 5), standing=Standing.PAUSED_COLLECTION))
    assert kinds(verdict) == {F.COLLECTION_PAUSED}


def test_canceling_reports_more_active_than_bought() -> None:
    """any.canceling."""
    verdict = reconcile(subscription(seat(6, 5, 5), standing=Standing.CANCELING))
    assert kinds(verdict) == {F.CANCELING_BELOW_ACTIVE}


def test_every_matching_finding_is_opened_whichever_row_decides() -> None:
    standing = Standing.PAST_DUE | Standing.PAUSED_COLLECTION
    verdict = reconcile(subscription(seat(6, 8, 4), standing=standing))
    assert verdict.rule == Row.PAST_DUE
    assert kinds(verdict) == {F.PAST_DUE, F.COLLECTION_PAUSED, F.STRIPE_BELOW_FLOOR}


TRIALING = {
    "purchased, lowered in Stripe": (rules(), (3, 6, 4), 6),
    "purchased, raised in Stripe": (rules(), (3, 6, 9), 6),
    "purchased, below the active count": (rules(), (8, 6, 4), 8),
    "follow, up": (rules(FOLLOW), (8, 6, 6), 8),
    "follow, down": (rules(FOLLOW), (4, 6, 6), 4),
}


@pytest.mark.parametrize(("plan", "counts", "target"), TRIALING.values(), ids=TRIALING.keys())
def test_trialing_sets_with_proration_none(
    plan: Any, counts: tuple[int, int, int], target: int
) -> None:
    """any.trialing_differs."""
    verdict = reconcile(subscription(seat(*counts), rules=plan, standing=Standing.TRIALING))
    assert write(verdict) == ({"voice": target}, Proration.NONE)
    assert verdict.rule == Row.TRIALING_DIFFERS
    assert isinstance(verdict.decision, Change)
    assert not verdict.decision.at_renewal


@pytest.mark.parametrize("plan", [rules(), rules(FOLLOW)])
def test_schedule_managed_changes_only_through_its_phases(plan: Any) -> None:
    """any.schedule."""
    verdict = reconcile(
        subscription(seat(6, 5, 5, auto_add=True), rules=plan, schedule_managed=True)
    )
    assert isinstance(verdict.decision, Change)
    assert verdict.decision.through_schedule


# --- contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [Standing.LIVE, Standing.TRIALING])
def test_contract_with_s_unlike_q_is_the_account_managers(standing: Standing) -> None:
    """contract.differs."""
    verdict = reconcile(subscription(seat(4, 5, 8), rules=rules(CONTRACT), standing=standing))
    assert isinstance(verdict.decision, Keep)
    assert not verdict.decision.adopt
    assert verdict.rule == Row.CONTRACT_DIFFERS
    assert kinds(verdict) == {F.CONTRACT_DRIFT}
    assert verdict.observations[0].notify == "account_manager"


@pytest.mark.parametrize(
    ("active", "row", "also"),
    [(0, Row.CONTRACT_DIFFERS, set()), (1, Row.UNCLEAR, {F.ITEM_MISSING})],
)
def test_what_a_contract_names_and_stripe_never_had_differs(
    active: int, row: Row, also: set[FindingKind]
) -> None:
    """contract.differs."""
    seats = (seat(5, 5, 5, seat_type="base"), seat(active, 3, None, awaited=True))
    verdict = reconcile(subscription(*seats, rules=rules(CONTRACT)))
    assert isinstance(verdict.decision, Keep)
    assert verdict.rule == row
    assert kinds(verdict) == {F.CONTRACT_DRIFT} | also
    drift = verdict.observations[-1]
    assert drift.seat_type == "voice"
    assert drift.detail == {"quantity": 3, "stripe_quantity": 0}


def test_contract_overage_records_the_peak() -> None:
    """contract.overage."""
    verdict = reconcile(subscription(seat(7, 5, 5), rules=rules(CONTRACT)))
    assert isinstance(verdict.decision, Keep)
    assert verdict.rule == Row.CONTRACT_OVERAGE
    assert kinds(verdict) == {F.CONTRACT_OVERAGE}
    assert verdict.observations[0].detail["peak"] == 7


# --- purchased --------------------------------------------------------------------------------


def test_purchased_agreeing_is_kept_and_a_reduction_suggested() -> None:
    """B13, purchased.agrees."""
    verdict = reconcile(subscription(seat(7, 10, 10)))
    assert verdict.decision == Keep(
        reason="10 Voice, 7 active, 3 unused", suggest={"voice": 7}, adopt={}
    )
    assert verdict.rule == Row.PURCHASED_AGREES
    assert not kinds(verdict)
    assert reconcile(subscription(seat(10, 10, 10))).decision == Keep(
        reason="10 Voice, 10 active", suggest={}
    )


def test_purchased_over_quantity_with_auto_add_is_raised_and_charged_now() -> None:
    """purchased.auto_add."""
    verdict = reconcile(subscription(seat(7, 5, 5, auto_add=True)))
    assert write(verdict) == ({"voice": 7}, Proration.CHARGE_NOW)
    assert verdict.rule == Row.PURCHASED_AUTO_ADD


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        (rules(), {"auto_add": False}),
        (rules(), {"auto_add": True, "auto_add_ceiling": 6}),
        (rules(voice={"ceiling": 6}), {"auto_add": True}),
    ],
    ids=["auto-add off", "auto-add ceiling reached", "plan ceiling reached"],
)
def test_purchased_over_quantity_without_auto_add_charges_nothing(plan: Any, changes: Any) -> None:
    """purchased.over."""
    verdict = reconcile(subscription(seat(7, 5, 5, **changes), rules=plan))
    assert isinstance(verdict.decision, Keep)
    assert verdict.rule == Row.PURCHASED_OVER
    assert kinds(verdict) == {F.ACTIVE_OVER_QUANTITY}
    assert verdict.block_growth


@pytest.mark.parametrize("stripe", [4, 6, 9])
def test_purchased_changed_in_stripe_to_a_safe_quantity_is_adopted(stripe: int) -> None:
    """purchased.changed."""
    verdict = reconcile(subscription(seat(4, 5, stripe)))
    assert isinstance(verdict.decision, Keep)
    assert verdict.decision.adopt == {"voice": stripe}
    assert verdict.rule == Row.PURCHASED_CHANGED
    assert kinds(verdict) == {F.STRIPE_QUANTITY_CHANGED}
    assert not verdict.block_growth


@pytest.mark.parametrize(
    ("counts", "target", "charge"),
    [
        ((4, 5, 9), 5, Proration.NEXT_INVOICE),
        ((4, 6, 5), 6, Proration.CHARGE_NOW),
        ((8, 5, 9), 8, Proration.NEXT_INVOICE),  # never below the active count
    ],
)
def test_purchased_changed_in_stripe_is_restored_where_the_plan_says_so(
    counts: tuple[int, int, int], target: int, charge: Proration
) -> None:
    """purchased.changed."""
    verdict = reconcile(subscription(seat(*counts), rules=rules(restores_quantity=True)))
    assert write(verdict) == ({"voice": target}, charge)
    assert kinds(verdict) == {F.STRIPE_QUANTITY_CHANGED}


def test_one_seat_is_a_seat() -> None:
    for stripe, said in ((1, "Stripe has 1 Voice seat for 4"), (2, "Stripe has 2 Voice seats for")):
        (found,) = reconcile(subscription(seat(4, 5, stripe))).observations
        assert found.summary.startswith(said)


@pytest.mark.parametrize("counts", [(4, 5, 3), (6, 5, 3)])
def test_purchased_below_the_floor_is_urgent_and_raised_back(counts: tuple[int, int, int]) -> None:
    """purchased.below_floor."""
    verdict = reconcile(subscription(seat(*counts)))
    assert write(verdict) == ({"voice": counts[0]}, Proration.CHARGE_NOW)
    assert verdict.rule == Row.PURCHASED_BELOW_FLOOR
    assert kinds(verdict) == {F.STRIPE_BELOW_FLOOR}
    assert all(observation.urgent for observation in verdict.observations)
    assert verdict.block_growth


@pytest.mark.parametrize("standing", [Standing.LIVE, Standing.TRIALING])
def test_purchased_below_the_floor_is_only_reported_where_the_plan_says_so(
    standing: Standing,
) -> None:
    """purchased.below_floor."""
    reporting = rules(raises_below_floor=False)
    verdict = reconcile(subscription(seat(4, 5, 3), rules=reporting, standing=standing))
    assert isinstance(verdict.decision, Keep)
    assert kinds(verdict) == {F.STRIPE_BELOW_FLOOR}
    assert verdict.block_growth


def test_a_ceiling_stops_new_seats_but_not_the_ones_bought_before_it() -> None:
    capped = rules(voice={"ceiling": 5})
    bought = reconcile(subscription(seat(6, 6, 4), rules=capped))
    never_bought = reconcile(subscription(seat(6, 5, 4), rules=capped))
    assert write(bought)[0] == {"voice": 6}
    assert isinstance(never_bought.decision, Keep)


# --- follow -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "charge"), [("now", Proration.CHARGE_NOW), ("monthly", Proration.NEXT_INVOICE)]
)
def test_follow_raises_at_once(setting: str, charge: Proration) -> None:
    """follow.raises."""
    verdict = reconcile(subscription(seat(7, 5, 5), rules=rules(FOLLOW, follow_raises=setting)))
    assert write(verdict) == ({"voice": 7}, charge)
    assert verdict.rule == Row.FOLLOW_RAISES


@pytest.mark.parametrize(
    ("setting", "charge", "at_renewal"),
    [("renewal", Proration.NONE, True), ("now", Proration.NEXT_INVOICE, False)],
)
def test_follow_lowers_as_the_plan_says(setting: str, charge: Proration, at_renewal: bool) -> None:
    """follow.lowers."""
    verdict = reconcile(subscription(seat(3, 5, 5), rules=rules(FOLLOW, follow_lowers=setting)))
    assert write(verdict) == ({"voice": 3}, charge)
    assert verdict.rule == Row.FOLLOW_LOWERS
    assert isinstance(verdict.decision, Change)
    assert verdict.decision.at_renewal is at_renewal


def test_follow_keeps_the_minimum() -> None:
    """follow.lowers."""
    verdict = reconcile(
        subscription(seat(1, 5, 5), rules=rules(FOLLOW, follow_lowers="now", voice={"minimum": 3}))
    )
    assert write(verdict)[0] == {"voice": 3}


def test_follow_raises_first_and_lowers_another_pool_at_renewal_later() -> None:
    seats = (seat(7, 5, 5, seat_type="base"), seat(3, 5, 5))
    now = reconcile(subscription(*seats, rules=rules(FOLLOW)))
    assert write(now) == ({"base": 7}, Proration.CHARGE_NOW)
    raised = (seat(7, 7, 7, seat_type="base"), seat(3, 5, 5))
    assert write(reconcile(subscription(*raised, rules=rules(FOLLOW)))) == (
        {"voice": 3},
        Proration.NONE,
    )


# --- own_seat, included, and organizations as a whole -------------------------------------------


def test_own_seat_without_an_active_member_is_a_finding_for_the_payer() -> None:
    """own_seat."""
    facts = subscription(
        seat(0, 1, 1, seat_type="pro", active_before=1),
        rules=PRO,
        member_active=False,
    )
    verdict = reconcile(facts)
    assert isinstance(verdict.decision, Keep)
    assert verdict.rule == Row.OWN_SEAT
    assert kinds(verdict) == {F.SEAT_WITHOUT_MEMBER}
    assert verdict.observations[0].notify == "payer"


@pytest.mark.parametrize(
    ("standing", "found"),
    [
        (Standing.LIVE, {F.SEAT_WITHOUT_MEMBER}),
        (Standing.TRIALING, {F.SEAT_WITHOUT_MEMBER}),
        (Standing.PAST_DUE, set()),  # not paid: nothing that anyone could be missing
        (Standing.DEAD, set()),
    ],
)
def test_only_a_live_paid_own_seat_misses_its_member(
    standing: Standing, found: set[FindingKind]
) -> None:
    facts = subscription(
        seat(0, 1, 1, seat_type="pro"), rules=PRO, standing=standing, member_active=False
    )
    assert kinds(reconcile(facts)) == found
    active = subscription(
        seat(1, 1, 1, seat_type="pro"), rules=PRO, standing=standing, member_active=True
    )
    assert not kinds(reconcile(active))


def test_an_organization_lists_members_without_a_seat_of_their_own() -> None:
    """own_seat."""
    verdict = reconcile_organization(
        organization(
            rules=PRO,
            active={"pro": 3},
            active_members=frozenset({"a", "b", "c"}),
            paid_members=frozenset({"b", "z"}),
        )
    )
    assert [o.member_id for o in verdict.observations] == ["a", "c"]
    assert isinstance(verdict.decision, Keep)


def test_an_included_plan_is_never_written_and_reports_a_pool_over_its_limit() -> None:
    over = reconcile_organization(organization(active={"admin": 5, "sales_rep": 3}))
    fits = reconcile_organization(organization(active={"admin": 3, "sales_rep": 3}))
    assert isinstance(over.decision, Keep)
    assert kinds(over) == {F.ACTIVE_OVER_QUANTITY}
    assert over.block_growth
    assert not kinds(fits)
    assert F.ACTIVE_OVER_QUANTITY in fits.judged


def test_beyond_scale_opens_one_enterprise_review() -> None:
    """C8: more than 7 active Admins or more than 15 active Sales Reps."""
    verdict = reconcile_organization(organization(active={"admin": 8, "sales_rep": 16}))
    assert isinstance(verdict.decision, Review)
    assert verdict.decision.seat_types == ("admin", "sales_rep")
    assert kinds(verdict) == {F.OVER_HARD_CAP}
    assert {o.notify for o in verdict.observations} == {"owner"}


@pytest.mark.parametrize(
    "changes", [{"counts_problem": "no view"}, {"active": {"admin": None}}], ids=str
)
def test_an_organization_that_cannot_be_counted_is_left_alone(changes: Any) -> None:
    verdict = reconcile_organization(organization(**changes))
    assert isinstance(verdict.decision, Keep)
    assert kinds(verdict) == {F.COUNTS_UNREADABLE}
    assert verdict.judged == {F.COUNTS_UNREADABLE, F.CONTRACT_ENDING, F.CONTRACT_ENDED}


# --- one update -------------------------------------------------------------------------------


def test_what_several_seat_types_need_is_one_update() -> None:
    verdict = reconcile(subscription(seat(4, 5, 3, seat_type="base"), seat(6, 5, 5, auto_add=True)))
    assert write(verdict) == ({"base": 4, "voice": 6}, Proration.CHARGE_NOW)


def test_a_quantity_to_adopt_is_adopted_beside_a_write() -> None:
    verdict = reconcile(subscription(seat(4, 5, 3, seat_type="base"), seat(2, 5, 7)))
    assert isinstance(verdict.decision, Change)
    assert verdict.decision.quantities == {"base": 4}
    assert verdict.decision.adopt == {"voice": 7}


def test_a_seat_type_neither_bought_nor_used_is_no_matter() -> None:
    verdict = reconcile(subscription(seat(0, 0, None), seat(2, 2, 2, seat_type="base")))
    assert verdict.rule == Row.PURCHASED_AGREES
    assert not kinds(verdict)


def test_an_organization_that_buys_its_seats_is_judged_by_its_subscriptions() -> None:
    verdict = reconcile_organization(organization(rules=rules(), active={"voice": 4}))
    assert verdict.rule == Row.ORGANIZATION
    assert not kinds(verdict)
