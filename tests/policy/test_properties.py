"""What holds for all facts, whatever they are: one line each in the names of the tests."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconcile.policy.activation import Raise, decide_activation
from reconcile.policy.proration import (
    ItemChange,
    ItemState,
    Period,
    PriceModel,
    expected_lines_minor,
    expected_total_minor,
)
from reconcile.policy.reconciliation import reconcile
from reconcile.policy.seat_change import Move, Requester, Wanted, decide_change
from reconcile.policy.values import (
    Change,
    ItemProblem,
    Keep,
    PlanRules,
    Proration,
    SeatFacts,
    SeatPolicy,
    Standing,
    SubscriptionFacts,
)
from tests.policy.factories import activation, change_facts, rules, seat, subscription

COUNTS = st.integers(min_value=0, max_value=12)
FLAGS = [Standing.TRIALING, Standing.PAST_DUE, Standing.PAUSED_COLLECTION, Standing.CANCELING]
STANDINGS = st.one_of(
    st.sampled_from([Standing.LIVE, Standing.DEAD]),
    st.sets(st.sampled_from(FLAGS), min_size=1).map(lambda flags: combined(*flags)),
)
LIMITS = st.one_of(st.none(), st.integers(min_value=0, max_value=12))


def combined(*flags: Standing) -> Standing:
    result = Standing(0)
    for flag in flags:
        result |= flag
    return result


@st.composite
def plans(draw: st.DrawFn, policies: Any = tuple(SeatPolicy)) -> PlanRules:
    # Limits as the catalog lets them be: none below the minimum, none above the hard cap.
    minimum, ceiling, hard_cap = sorted(draw(st.tuples(COUNTS, COUNTS, COUNTS)))
    voice = {
        "minimum": min(minimum, 3),
        "ceiling": draw(st.sampled_from([None, ceiling])),
        "hard_cap": draw(st.sampled_from([None, hard_cap])),
        "included": draw(st.sampled_from([None, ceiling])),
    }
    return rules(
        draw(st.sampled_from(policies)),
        voice=voice,
        restores_quantity=draw(st.booleans()),
        raises_below_floor=draw(st.booleans()),
        follow_raises=draw(st.sampled_from(["now", "monthly"])),
        follow_lowers=draw(st.sampled_from(["now", "renewal"])),
    )


@st.composite
def seats(draw: st.DrawFn, seat_type: str) -> SeatFacts:
    active = draw(COUNTS)
    return seat(
        active,
        draw(COUNTS),
        draw(COUNTS),
        seat_type=seat_type,
        active_before=active,
        auto_add=draw(st.booleans()),
        auto_add_ceiling=draw(LIMITS),
    )


@st.composite
def facts(draw: st.DrawFn, /, **fixed: Any) -> SubscriptionFacts:
    values = {
        "rules": draw(plans()),
        "standing": draw(STANDINGS),
        "schedule_managed": draw(st.booleans()),
    }
    return subscription(draw(seats("base")), draw(seats("voice")), **(values | fixed))


def changes(given_facts: SubscriptionFacts, **fixed: Any) -> bool:
    decision = reconcile(replace(given_facts, **fixed)).decision
    if isinstance(decision, Keep):
        return bool(decision.adopt)
    return isinstance(decision, Change)


@given(facts())
def test_no_decision_writes_below_the_active_count_or_past_the_cap(it: SubscriptionFacts) -> None:
    decision = reconcile(it).decision
    if not isinstance(decision, Change):
        return
    by_type = {found.seat_type: found for found in it.seats}
    for seat_type, quantity in decision.quantities.items():
        cap = it.rules.seat_types[seat_type].hard_cap
        assert quantity >= (by_type[seat_type].active or 0)
        assert cap is None or quantity <= max(cap, by_type[seat_type].quantity)
        assert quantity != by_type[seat_type].stripe_quantity, "a write that changes nothing"


@given(facts())
def test_no_decision_writes_when_the_counts_are_unreadable(it: SubscriptionFacts) -> None:
    assert not changes(it, counts_problem="the roster cannot be read")
    assert not changes(it, seats=(it.seats[0], seat(None, 5, 9)))


@given(facts(), st.sampled_from(ItemProblem))
def test_no_decision_writes_when_items_are_odd(it: SubscriptionFacts, odd: ItemProblem) -> None:
    first = it.seats[0]
    assert not changes(it, seats=(first, seat(3, 5, 9, item_problem=odd)))
    assert not changes(it, seats=(first, seat(3, 5, None)))
    assert not changes(it, live_subscriptions=2)


@given(facts(), st.sampled_from(["adjustment_in_flight", "pending_update", "settling"]))
def test_no_decision_writes_beside_another_write(it: SubscriptionFacts, motion: str) -> None:
    assert not changes(it, **{motion: True})


@given(facts(), STANDINGS)
def test_no_decision_writes_while_held(it: SubscriptionFacts, standing: Standing) -> None:
    holding = (
        Standing.DEAD | Standing.PAST_DUE | Standing.PAUSED_COLLECTION | Standing.CANCELING
    ) & standing
    if holding:
        assert not changes(it, standing=standing)


@given(facts(), plans([SeatPolicy.CONTRACT, SeatPolicy.INCLUDED, SeatPolicy.OWN_SEAT]))
def test_no_decision_writes_seats_that_are_not_ours_to_set(
    it: SubscriptionFacts, plan: PlanRules
) -> None:
    assert not changes(it, rules=plan)


@given(facts())
def test_a_trial_is_never_prorated(it: SubscriptionFacts) -> None:
    decision = reconcile(it).decision
    if isinstance(decision, Change) and Standing.TRIALING in it.standing:
        assert decision.proration == Proration.NONE
        assert not decision.at_renewal


@given(facts())
def test_every_write_settles_within_two_rounds(it: SubscriptionFacts) -> None:
    """What a decision asks for is what the next one agrees with: no flapping, ever."""
    for _ in range(3):
        decision = reconcile(it).decision
        written = decision.quantities if isinstance(decision, Change) else {}
        adopted = decision.adopt if isinstance(decision, Change | Keep) else {}
        if not written and not adopted:
            return
        new = {**adopted, **written}
        it = replace(
            it,
            seats=tuple(
                replace(
                    found,
                    quantity=new.get(found.seat_type, found.quantity),
                    stripe_quantity=new.get(found.seat_type, found.stripe_quantity),
                )
                for found in it.seats
            ),
        )
    raise AssertionError(f"still changing: {it}")


@given(
    st.tuples(COUNTS, COUNTS),
    st.tuples(COUNTS, COUNTS),
    st.dictionaries(st.sampled_from(["base", "voice"]), COUNTS),
    st.sampled_from([None, "month", "year"]),
    st.integers(min_value=0, max_value=3),
)
def test_a_mixed_change_nets_to_one_update(
    base: tuple[int, int],
    voice: tuple[int, int],
    quantities: dict[str, int],
    interval: str | None,
    moving: int,
) -> None:
    moves = tuple(
        Move(member_id=f"mem_{n}", from_seat_type="base", to_seat_type="voice")
        for n in range(min(moving, base[0]))
    )
    it = change_facts(base, voice)
    change = decide_change(it, Wanted(quantities=quantities, interval=interval, moves=moves))
    if not isinstance(change, Change):
        return
    before = {"base": base[1], "voice": voice[1]}
    after = before | dict(change.quantities)
    assert after == before | quantities, "one update brings all of what was asked for"
    active = {"base": base[0] - len(moves), "voice": voice[0] + len(moves)}
    for seat_type in quantities:
        assert after[seat_type] >= active[seat_type]
    if change.interval:
        assert change.quantities.keys() == after.keys(), "every item switches, one of none as well"
    else:
        assert all(before[s] != count for s, count in change.quantities.items())


@given(
    st.lists(st.tuples(st.integers(1, 9999), COUNTS, COUNTS), min_size=1, max_size=4),
    st.integers(min_value=0, max_value=2_592_000),
)
def test_netting_loses_no_amount(items: list[tuple[int, int, int]], since: int) -> None:
    whole = Period(start=datetime.fromtimestamp(0, UTC), end=datetime.fromtimestamp(2_592_000, UTC))
    moment = datetime.fromtimestamp(since, UTC)
    all_changes = [
        ItemChange(
            before=ItemState(price=PriceModel(unit_minor=unit), quantity=old, period=whole),
            after=ItemState(price=PriceModel(unit_minor=unit), quantity=new, period=whole),
        )
        for unit, old, new in items
    ]
    separately = sum(expected_total_minor([one], moment) for one in all_changes)
    assert expected_total_minor(all_changes, moment) == separately
    exact = sum(unit * (new - old) for unit, old, new in items) * (2_592_000 - since) / 2_592_000
    assert abs(separately - exact) <= len(expected_lines_minor(all_changes, moment))


@given(
    plans(),
    STANDINGS,
    COUNTS,
    COUNTS,
    st.booleans(),
    st.integers(min_value=1, max_value=3),
)
def test_an_activation_never_raises_to_less_than_will_be_active(  # noqa: PLR0917 - one per strategy
    plan: PlanRules, standing: Standing, active: int, room: int, auto_add: bool, joining: int
) -> None:
    outcome = decide_activation(
        activation(active, room, rules=plan, standing=standing, auto_add=auto_add, joining=joining)
    )
    if isinstance(outcome, Raise):
        cap = plan.seat_types["voice"].hard_cap
        assert outcome.quantity == active + joining > room
        assert cap is None or outcome.quantity <= cap
        assert plan.policy in {SeatPolicy.PURCHASED, SeatPolicy.FOLLOW}
    unreadable = decide_activation(activation(None, room, rules=plan, standing=standing))
    assert not isinstance(unreadable, Raise)


@given(
    st.tuples(COUNTS, COUNTS),
    st.dictionaries(st.sampled_from(["base", "voice"]), COUNTS, min_size=1),
    STANDINGS,
    st.sampled_from(Requester),
)
def test_a_persons_change_is_refused_when_the_counts_are_unreadable(
    base: tuple[int, int], quantities: dict[str, int], standing: Standing, by: Requester
) -> None:
    it = change_facts(base, (0, 0), standing=standing, counts_problem="no view")
    wanted = Wanted(quantities=quantities, by=by, approval="yes")
    assert not isinstance(decide_change(it, wanted), Change)
