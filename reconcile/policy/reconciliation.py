"""What a subscription's quantities should be: the reconciliation table.

The first row that matches decides the write; every matching finding is still opened (see
`observing`). One verdict holds at most one update: what the seat types need is netted into it.
Nothing here is written on a guess: unreadable counts, odd items and doubled subscriptions keep
everything as it is.
"""

from collections.abc import Iterable, Mapping

from reconcile.policy import observing
from reconcile.policy.rulings import AGREEING, RULES_ON, Row, Ruling
from reconcile.policy.values import (
    Change,
    FindingKind,
    Keep,
    Observation,
    OrganizationFacts,
    Proration,
    Review,
    SeatPolicy,
    Standing,
    SubscriptionFacts,
    Verdict,
    Wait,
)

# Findings under which nobody may buy a seat until a person has looked (or a raise has landed).
_BLOCKING = frozenset(
    {
        FindingKind.COUNTS_UNREADABLE,
        FindingKind.COUNTS_SUDDENLY_ZERO,
        FindingKind.ITEM_MISSING,
        FindingKind.ITEM_METERED,
        FindingKind.ITEM_WRONG_PRICE,
        FindingKind.ITEM_WRONG_CURRENCY,
        FindingKind.ITEM_DUPLICATE,
        FindingKind.SEVERAL_SUBSCRIPTIONS,
        FindingKind.OVER_HARD_CAP,
        FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION,
        FindingKind.COLLECTION_PAUSED,
        FindingKind.PAST_DUE,
        FindingKind.ACTIVE_OVER_QUANTITY,
        FindingKind.STRIPE_BELOW_FLOOR,
    }
)


def reconcile(facts: SubscriptionFacts) -> Verdict:
    """Return what to do about one subscription, and every finding that holds.

    The decision is Keep, Wait, Change (one update) or Review; `rule` is the row that decided.
    """
    active = {seat.seat_type: seat.active for seat in facts.seats}
    before = {s.seat_type: s.active_before for s in facts.seats if s.active_before is not None}
    problem = observing.unreadable(facts.counts_problem, active)
    # One member's own seat falls to zero whenever its member leaves.
    doubtful = not problem and facts.rules.policy != SeatPolicy.OWN_SEAT
    zero = observing.suddenly_zero(active, before) if doubtful else ()
    found = list(observing.observe_shape(facts))
    # That the roster as a whole cannot be read is said once, and not of each subscription.
    own_problem = None if facts.roster_unreadable else problem
    found += observing.observe_counts(facts.rules, active, own_problem, zero)
    judged = observing.SHAPE_KINDS
    if facts.roster_unreadable:
        judged -= {FindingKind.COUNTS_UNREADABLE}
    if not problem:
        # A zero that is doubted is no count to compare anything else with.
        judged |= {FindingKind.COUNTS_SUDDENLY_ZERO}
    if not problem and not zero:
        judged |= observing.COUNT_KINDS
        found += observing.observe_dead(facts)
        if not _in_motion(facts):
            judged |= observing.QUANTITY_KINDS
            found += observing.observe_quantities(facts)

    unclear = _unclear(facts, problem, zero)
    decision, row = _decide(facts, unclear=unclear)
    held_back = None
    if Standing.PAST_DUE in facts.standing and not unclear and not _in_motion(facts):
        held_back = _held_back(facts)
        found += [_past_due(held_back)] if held_back else []
    return Verdict(
        decision=decision,
        rule=row,
        observations=tuple(found),
        judged=judged,
        block_growth=any(observation.kind in _BLOCKING for observation in found),
        held_back=held_back,
        believes_counts=not problem and not zero,
    )


def reconcile_organization(facts: OrganizationFacts) -> Verdict:
    """Return what to say of an organization beside its subscriptions; it never writes.

    Hard caps and included pools (C1, C8), members without a seat of their own (A2), and the end of
    a contract (A6), which needs no counts.
    """
    problem = observing.unreadable(facts.counts_problem, facts.active)
    zero = () if problem else observing.suddenly_zero(facts.active, facts.active_before)
    own_problem = None if facts.roster_unreadable else problem
    found = list(observing.observe_counts(facts.rules, facts.active, own_problem, zero))
    found += observing.observe_contract_end(facts)
    judged = set(observing.CONTRACT_END_KINDS)
    if not facts.roster_unreadable:
        judged |= {FindingKind.COUNTS_UNREADABLE}
    if not problem:
        judged |= {FindingKind.COUNTS_SUDDENLY_ZERO}
    if not problem and not zero:
        # Of any plan: what was found of the one before is over with it.
        judged |= {
            FindingKind.OVER_HARD_CAP,
            FindingKind.ACTIVE_OVER_QUANTITY,
            FindingKind.MEMBER_WITHOUT_SEAT,
        }
        if facts.rules.policy == SeatPolicy.INCLUDED:
            found += observing.observe_included(facts)
        if facts.rules.policy == SeatPolicy.OWN_SEAT:
            found += observing.observe_own_seats(facts)

    decision: Keep | Review
    if problem or zero:
        decision, row = Keep(reason=problem or _zero_line(zero)), Row.UNCLEAR
    elif over := observing.over_hard_cap(facts.rules, facts.active):
        decision, row = _review(over), Row.OVER_HARD_CAP
    else:
        row, reason = _NOT_WRITTEN.get(facts.rules.policy, _BESIDE)
        decision = Keep(reason=reason)
    return Verdict(
        decision=decision,
        rule=row,
        observations=tuple(found),
        judged=frozenset(judged),
        block_growth=any(observation.kind in _BLOCKING for observation in found),
        believes_counts=not problem and not zero,
    )


def _unclear(facts: SubscriptionFacts, counts: str | None, zero: tuple[str, ...]) -> str | None:
    """Return why nothing may be concluded from the facts: the table's first row."""
    if counts:
        return counts
    if zero:
        return _zero_line(zero)
    if facts.live_subscriptions > 1:
        return f"{facts.live_subscriptions} live subscriptions"
    for seat in facts.seats:
        if problem := observing.item_problem(facts.rules, seat):
            return f"{seat.seat_type} item: {problem.value.replace('_', ' ')}"
        if observing.is_missing(facts, seat):
            return f"{seat.seat_type} item missing"
    return None


def _zero_line(zero: tuple[str, ...]) -> str:
    return f"active count suddenly 0: {', '.join(zero)}"


def _in_motion(facts: SubscriptionFacts) -> bool:
    return facts.adjustment_in_flight or facts.pending_update or facts.settling


def _review(seat_types: tuple[str, ...]) -> Review:
    return Review(
        seat_types=seat_types, reason=f"over the hard cap: {', '.join(seat_types)}; no growth"
    )


def _held_back(facts: SubscriptionFacts) -> Change | None:
    """Return what is wanted and waits for the unpaid invoice, or None."""
    wanted, _ = _by_policy(facts)
    return wanted if isinstance(wanted, Change) else None


def _past_due(held_back: Change) -> Observation:
    return Observation(
        kind=FindingKind.PAST_DUE,
        summary="An invoice is past due, so this waits until it is paid: " + held_back.reason,
        detail={"quantities": dict(held_back.quantities)},
    )


def _decide(
    facts: SubscriptionFacts, *, unclear: str | None
) -> tuple[Keep | Wait | Change | Review, Row]:
    if unclear:
        return Keep(reason=unclear), Row.UNCLEAR
    if _in_motion(facts):
        what = (
            "an adjustment is in flight"
            if facts.adjustment_in_flight
            else "Stripe holds a pending update"
            if facts.pending_update
            else "our last write is settling"
        )
        return Wait(reason=what), Row.IN_FLIGHT
    if over := observing.over_hard_cap(facts.rules, {s.seat_type: s.active for s in facts.seats}):
        return _review(over), Row.OVER_HARD_CAP
    for flag, reason, row in _HOLDS:
        if flag in facts.standing:
            return Keep(reason=reason), row
    decision, row = _by_policy(facts)
    if isinstance(decision, Change) and Standing.TRIALING in facts.standing:
        row = Row.TRIALING_DIFFERS
    return decision, row


_HOLDS = (
    (Standing.DEAD, "the subscription is canceled, unpaid, incomplete or paused", Row.DEAD),
    (Standing.PAST_DUE, "past due: no raise, decreases wait", Row.PAST_DUE),
    (Standing.PAUSED_COLLECTION, "collection is paused: held", Row.COLLECTION_PAUSED),
    (Standing.CANCELING, "canceling at period end: kept", Row.CANCELING),
)


_NOT_WRITTEN = {
    SeatPolicy.OWN_SEAT: (Row.OWN_SEAT, "every member pays for a seat of their own"),
    SeatPolicy.INCLUDED: (Row.INCLUDED, "the plan includes its seats"),
}
_BESIDE = (Row.ORGANIZATION, "nothing beside its subscriptions")


def _by_policy(facts: SubscriptionFacts) -> tuple[Keep | Change, Row]:
    """Rule on each seat type by the plan's policy and net the rulings into one decision."""
    if facts.rules.policy in _NOT_WRITTEN:
        row, reason = _NOT_WRITTEN[facts.rules.policy]
        return Keep(reason=reason), row
    rule_on = RULES_ON[facts.rules.policy]
    trialing = Standing.TRIALING in facts.standing
    rulings = {
        seat.seat_type: rule_on(facts.rules, seat, trialing)
        for seat in map(observing.compared, facts.seats)
        if seat.stripe_quantity is not None
    }
    return _netted(facts, rulings)


def _netted(facts: SubscriptionFacts, rulings: Mapping[str, Ruling]) -> tuple[Keep | Change, Row]:
    """Net the rulings on all seat types into one update, or none."""
    trialing = Standing.TRIALING in facts.standing
    adopt = {s: r.adopt for s, r in rulings.items() if r.adopt is not None}
    writes = {s: r for s, r in rulings.items() if r.write is not None}
    now = {s: r for s, r in writes.items() if not r.at_renewal}
    # What must happen now goes first; a reduction at renewal is still there when it has. A trial
    # has no paid period to keep until its renewal.
    if chosen := writes if trialing else now or writes:
        charges = {ruling.charge for ruling in chosen.values()}
        charge = min(charges, key=list(Proration).index)  # with a raise in it, charged now
        change = Change(
            quantities={s: r.write for s, r in chosen.items() if r.write is not None},
            proration=Proration.NONE if trialing else charge,
            reason="; ".join(ruling.reason for ruling in chosen.values()),
            adopt=adopt,
            at_renewal=not now and not trialing,
            through_schedule=facts.schedule_managed,
            automatic=frozenset(s for s, r in chosen.items() if r.row == Row.PURCHASED_AUTO_ADD),
        )
        return change, _first_row(chosen.values())
    telling = [r for r in rulings.values() if r.row not in AGREEING] or list(rulings.values())
    keep = Keep(
        reason="; ".join(r.reason for r in telling) or "no seats to reconcile",
        adopt=adopt,
        suggest={s: r.suggest for s, r in rulings.items() if r.suggest is not None},
    )
    return keep, _first_row(telling)


def _first_row(rulings: Iterable[Ruling]) -> Row:
    order = list(Row)
    return min((r.row for r in rulings), key=order.index, default=Row.NO_SEATS)
