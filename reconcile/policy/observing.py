"""Which findings the facts of a subscription or an organization call for.

Separate from what is written: the decision is the first row that matches, but every matching
finding is opened. A finding's line says what is wrong, with the counts, and what to do.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from reconcile.policy.standing import is_paid
from reconcile.policy.values import (
    FindingKind,
    ItemProblem,
    Observation,
    OrganizationFacts,
    PlanRules,
    SeatFacts,
    SeatPolicy,
    Standing,
    SubscriptionFacts,
)

# What the facts always show, what needs believable counts, what needs settled quantities as well.
SHAPE_KINDS = frozenset(
    {
        FindingKind.COUNTS_UNREADABLE,
        FindingKind.ITEM_MISSING,
        FindingKind.ITEM_METERED,
        FindingKind.ITEM_WRONG_PRICE,
        FindingKind.ITEM_WRONG_CURRENCY,
        FindingKind.ITEM_DUPLICATE,
        FindingKind.SEVERAL_SUBSCRIPTIONS,
        FindingKind.COLLECTION_PAUSED,
    }
)
CONTRACT_END_KINDS = frozenset({FindingKind.CONTRACT_ENDING, FindingKind.CONTRACT_ENDED})
COUNT_KINDS = frozenset({FindingKind.OVER_HARD_CAP, FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION})
QUANTITY_KINDS = frozenset(
    {
        FindingKind.PAST_DUE,
        FindingKind.ACTIVE_OVER_QUANTITY,
        FindingKind.CANCELING_BELOW_ACTIVE,
        FindingKind.CONTRACT_DRIFT,
        FindingKind.CONTRACT_OVERAGE,
        FindingKind.STRIPE_QUANTITY_CHANGED,
        FindingKind.STRIPE_BELOW_FLOOR,
        FindingKind.SEAT_WITHOUT_MEMBER,
    }
)

_ITEM_FINDINGS = {
    ItemProblem.METERED: (FindingKind.ITEM_METERED, "has a metered price", "a licensed one"),
    ItemProblem.WRONG_PRICE: (
        FindingKind.ITEM_WRONG_PRICE,
        "has a price the catalog does not name",
        "the catalog's price",
    ),
    ItemProblem.WRONG_CURRENCY: (
        FindingKind.ITEM_WRONG_CURRENCY,
        "has another currency than the catalog",
        "the catalog's price",
    ),
    ItemProblem.DUPLICATE: (FindingKind.ITEM_DUPLICATE, "is on two items", "only one of them"),
}


def label_of(rules: PlanRules, seat_type: str) -> str:
    """Return what people call the seat type; its id where the plan does not know it."""
    known = rules.seat_types.get(seat_type)
    return known.label if known else seat_type


def unreadable(problem: str | None, active: Mapping[str, int | None]) -> str | None:
    """Return why the active counts cannot be relied on at all, or None."""
    if problem:
        return problem
    unknown = [seat_type for seat_type, count in active.items() if count is None]
    return f"no active count for {', '.join(unknown)}" if unknown else None


def suddenly_zero(active: Mapping[str, int | None], before: Mapping[str, int]) -> tuple[str, ...]:
    """Return the seat types whose count fell to zero in a way people rarely do it.

    A pool that lost several members between two looks, or the last active members of all pools:
    more often a broken roster than a deserted one. The last member of one pool leaving while
    others are active is ordinary life.
    """
    fallen = [s for s, count in active.items() if count == 0 and before.get(s, 0) > 0]
    deserted = not any(active.values())
    return tuple(s for s in fallen if deserted or before[s] > 1)


def over_hard_cap(rules: PlanRules, active: Mapping[str, int | None]) -> tuple[str, ...]:
    """Return the seat types with more active members than their hard cap (C8)."""
    caps = {s: rules.seat_types[s].hard_cap for s in active if s in rules.seat_types}
    return tuple(s for s, cap in caps.items() if cap is not None and (active[s] or 0) > cap)


def item_problem(rules: PlanRules, seat: SeatFacts) -> ItemProblem | None:
    """Return why the item is no seat of the plan; one of another plan has the wrong price."""
    if seat.seat_type not in rules.seat_types:
        return ItemProblem.WRONG_PRICE
    return seat.item_problem


def is_missing(facts: SubscriptionFacts, seat: SeatFacts) -> bool:
    """Return whether Stripe has no item for a seat type that is bought or used.

    A dead subscription is not asked: nothing is bought on it, and no item will come back. Nor is
    what a contract adds: it is not bought yet.
    """
    if Standing.DEAD in facts.standing:
        return False
    used = seat.active or (seat.quantity and not seat.awaited)
    return seat.stripe_quantity is None and bool(used)


def compared(seat: SeatFacts) -> SeatFacts:
    """Return the seats as they are held against a contract: S is 0 of those still to be added."""
    return replace(seat, stripe_quantity=0) if seat.awaited else seat


def observe_shape(facts: SubscriptionFacts) -> Iterator[Observation]:
    """Yield findings on the subscription itself, whatever the counts are."""
    rules = facts.rules
    for seat in facts.seats:
        label = label_of(rules, seat.seat_type)
        if problem := item_problem(rules, seat):
            kind, wrong, right = _ITEM_FINDINGS[problem]
            yield Observation(
                kind=kind,
                seat_type=seat.seat_type,
                summary=f"The {label} item {wrong}: nothing is written until it has {right}.",
            )
        elif is_missing(facts, seat):
            yield Observation(
                kind=FindingKind.ITEM_MISSING,
                seat_type=seat.seat_type,
                urgent=bool(seat.active),
                summary=f"Stripe has no {label} item, but {seat.quantity} are bought and "
                f"{_known(seat.active)} active: add the item again, with the catalog's price.",
            )
    if facts.live_subscriptions > 1:
        yield Observation(
            kind=FindingKind.SEVERAL_SUBSCRIPTIONS,
            urgent=True,
            summary=f"{facts.live_subscriptions} live subscriptions where there may be one: "
            "cancel the others in Stripe. Nothing is written until then.",
        )
    if Standing.PAUSED_COLLECTION in facts.standing:
        yield Observation(
            kind=FindingKind.COLLECTION_PAUSED,
            summary="Collection is paused in Stripe: quantities are held until it is resumed.",
        )


def observe_counts(
    rules: PlanRules, active: Mapping[str, int | None], problem: str | None, zero: Iterable[str]
) -> Iterator[Observation]:
    """Yield findings on the roster's counts and on the hard caps."""
    if problem:
        yield Observation(
            kind=FindingKind.COUNTS_UNREADABLE,
            urgent=True,
            summary=f"Active members cannot be counted ({problem}): nothing is written until the "
            "roster can be read.",
        )
    for seat_type in zero:
        yield Observation(
            kind=FindingKind.COUNTS_SUDDENLY_ZERO,
            seat_type=seat_type,
            urgent=True,
            summary=f"Active {label_of(rules, seat_type)} members suddenly 0: nothing is written "
            "until the roster is checked.",
        )
    for seat_type in over_hard_cap(rules, active):
        cap = rules.seat_types[seat_type].hard_cap
        label = label_of(rules, seat_type)
        yield Observation(
            kind=FindingKind.OVER_HARD_CAP,
            seat_type=seat_type,
            notify="owner",
            summary=f"{active[seat_type]} active {label} members, over the cap of {cap}: review "
            "an Enterprise plan with the owner; no seats are bought past the cap.",
            detail={"active": active[seat_type], "hard_cap": cap},
        )


def observe_dead(facts: SubscriptionFacts) -> Iterator[Observation]:
    """Yield the finding of active members whose subscription is canceled, unpaid or paused.

    Not where another one has taken its place: the members are on that.
    """
    if facts.succeeded:
        return
    active = sum(seat.active or 0 for seat in facts.seats)
    if Standing.DEAD in facts.standing and active and facts.rules.policy != SeatPolicy.OWN_SEAT:
        yield Observation(
            kind=FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION,
            urgent=True,
            summary=f"{active} active members on a subscription that is canceled, unpaid or "
            "paused: have the customer renew it, or deactivate the members.",
            detail={"active": active},
        )


def observe_quantities(facts: SubscriptionFacts) -> Iterator[Observation]:
    """Yield findings that compare A, Q and S; only to be asked when none of them is in motion."""
    if facts.rules.policy == SeatPolicy.OWN_SEAT:
        yield from _observe_own_seat(facts)
        return
    if Standing.DEAD in facts.standing:
        return
    for seat in map(compared, facts.seats):
        if seat.stripe_quantity is None or item_problem(facts.rules, seat):
            continue
        label = label_of(facts.rules, seat.seat_type)
        if facts.rules.policy == SeatPolicy.CONTRACT:
            yield from _observe_contract(seat, label)
        elif facts.rules.policy == SeatPolicy.PURCHASED:
            yield from _observe_purchased(facts, seat, label)
        active = seat.active or 0
        if Standing.CANCELING in facts.standing and active > seat.quantity:
            yield _over(FindingKind.CANCELING_BELOW_ACTIVE, seat, label, "canceling at period end")


def _observe_contract(seat: SeatFacts, label: str) -> Iterator[Observation]:
    active = seat.active or 0
    if seat.stripe_quantity != seat.quantity:
        yield Observation(
            kind=FindingKind.CONTRACT_DRIFT,
            seat_type=seat.seat_type,
            notify="account_manager",
            summary=f"Stripe has {_seats(seat.stripe_quantity, label)}, the contract "
            f"{seat.quantity}: the account manager decides which is right.",
            detail={"quantity": seat.quantity, "stripe_quantity": seat.stripe_quantity},
        )
    if active > seat.quantity:
        yield Observation(
            kind=FindingKind.CONTRACT_OVERAGE,
            seat_type=seat.seat_type,
            notify="account_manager",
            summary=f"{active} active {label} members, {seat.quantity} in the contract: true up "
            "at renewal.",
            detail={"active": active, "quantity": seat.quantity, "peak": active},
        )


def _observe_purchased(
    facts: SubscriptionFacts, seat: SeatFacts, label: str
) -> Iterator[Observation]:
    active, stripe = seat.active or 0, seat.stripe_quantity or 0
    if stripe == seat.quantity:
        reported = auto_add_covers(facts.rules, seat) or Standing.CANCELING in facts.standing
        if active > seat.quantity and not reported:
            way_out = "buy seats or remove members" if not seat.auto_add else "raise the ceiling"
            yield _over(FindingKind.ACTIVE_OVER_QUANTITY, seat, label, way_out)
    elif stripe >= active:
        yield Observation(
            kind=FindingKind.STRIPE_QUANTITY_CHANGED,
            seat_type=seat.seat_type,
            summary=f"{label} seats were changed in Stripe from {seat.quantity} to {stripe}; "
            f"{active} are active. Check that it was meant.",
            detail={"quantity": seat.quantity, "stripe_quantity": stripe},
        )
    else:
        yield Observation(
            kind=FindingKind.STRIPE_BELOW_FLOOR,
            seat_type=seat.seat_type,
            urgent=True,
            summary=f"Stripe has {_seats(stripe, label)} for {active} active members: they are "
            "unpaid until the quantity is back.",
            detail={"active": active, "quantity": seat.quantity, "stripe_quantity": stripe},
        )


def _seats(count: int | None, label: str) -> str:
    return f"{count} {label} seat{'s' * (count != 1)}"


def auto_add_covers(rules: PlanRules, seat: SeatFacts) -> bool:
    """Return whether Auto-Add may buy up to the active count (B15: never past a ceiling)."""
    ceilings = (seat.auto_add_ceiling, rules.seat_types[seat.seat_type].ceiling)
    active = seat.active or 0
    return seat.auto_add and all(ceiling is None or active <= ceiling for ceiling in ceilings)


def _over(kind: FindingKind, seat: SeatFacts, label: str, way_out: str) -> Observation:
    return Observation(
        kind=kind,
        seat_type=seat.seat_type,
        urgent=kind == FindingKind.ACTIVE_OVER_QUANTITY,
        summary=f"{seat.active} active {label} members, {seat.quantity} seats bought: {way_out}.",
        detail={"active": seat.active, "quantity": seat.quantity},
    )


def _observe_own_seat(facts: SubscriptionFacts) -> Iterator[Observation]:
    # The other half, a member without a seat, is judged over the whole organization: only there
    # is it known that no other subscription of the member is live, and it is said once a member.
    if facts.member_active is False and is_paid(facts.standing):
        yield Observation(
            kind=FindingKind.SEAT_WITHOUT_MEMBER,
            notify="payer",
            summary="A paid seat without an active member: out of the credit pool; the payer "
            "may cancel it or the member be activated.",
        )


def observe_own_seats(facts: OrganizationFacts) -> Iterator[Observation]:
    """Yield a finding for each active member without a live paid seat of their own (A2)."""
    for member in sorted(facts.active_members - facts.paid_members):
        yield Observation(
            kind=FindingKind.MEMBER_WITHOUT_SEAT,
            member_id=member,
            notify="payer",
            summary=f"Member {member} is active without a live paid seat: out of the credit pool "
            "until the seat is paid or the member removed.",
        )


def observe_included(facts: OrganizationFacts) -> Iterator[Observation]:
    """Yield a finding for each pool used beyond what the plan includes (after a downgrade, say)."""
    over_cap = over_hard_cap(facts.rules, facts.active)
    for seat_type, count in facts.active.items():
        known = facts.rules.seat_types.get(seat_type)
        if known is None or known.included is None or seat_type in over_cap:
            continue
        if (count or 0) > known.included:
            yield Observation(
                kind=FindingKind.ACTIVE_OVER_QUANTITY,
                seat_type=seat_type,
                notify="owner",
                summary=f"{count} active {known.label} members, {known.included} included: "
                "upgrade the plan or remove members.",
                detail={"active": count, "quantity": known.included},
            )


def observe_contract_end(facts: OrganizationFacts) -> Iterator[Observation]:
    """Yield the finding of a contract that ends soon, or has ended while seats are billed (A6)."""
    end = facts.contract_end
    if end is None:
        return
    if end.days_left is None:
        kind, when = FindingKind.CONTRACT_ENDED, f"ended on {end.on} and its seats are billed on"
    else:
        days = "1 day" if end.days_left == 1 else f"{end.days_left} days"
        kind, when = FindingKind.CONTRACT_ENDING, f"ends on {end.on}, in {days}"
    yield Observation(
        kind=kind,
        notify="account_manager",
        summary=f"The contract {when}: record what is agreed from then on.",
        detail={"ends_on": end.on, "days_left": end.days_left or 0},
    )


def _known(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)
