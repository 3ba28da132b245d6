"""Whether a person's change of seats may happen, and as which single update (B1-B7, B10, A6, A7).

However much is added and removed in one save, the answer is one update of the subscription, or a
refusal that says the way out. Members who move between pools in the same save are counted where
they end up, so that converting seats works when both pools are full (B7).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconcile.policy.observing import label_of, suddenly_zero, unreadable
from reconcile.policy.values import (
    Change,
    ContractKind,
    Keep,
    PlanRules,
    Proration,
    Refuse,
    SeatFacts,
    SeatPolicy,
    Standing,
)


class Requester(StrEnum):
    """Who asks: the customer's own people, or the seller's account manager (A6)."""

    CUSTOMER = "customer"
    ACCOUNT_MANAGER = "account_manager"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An active member who changes pools in the same save."""

    member_id: str
    from_seat_type: str
    to_seat_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for: absolute quantities of some seat types, an interval, moves."""

    quantities: Mapping[str, int] = field(default_factory=dict)
    interval: str | None = None
    moves: tuple[Move, ...] = ()
    by: Requester = Requester.CUSTOMER
    approval: str | None = None  # A6: who approved a contract's change, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFacts:
    """All that a change is decided from. Seats hold S as what the change starts from."""

    rules: PlanRules
    standing: Standing
    seats: tuple[SeatFacts, ...]
    interval: str | None
    intervals: frozenset[str] = frozenset()  # that the catalog has prices for
    in_flight: bool = False  # an adjustment of ours or a pending update of Stripe's
    counts_problem: str | None = None
    schedule_managed: bool = False
    schedule_changeable: bool = False
    restricted: bool = False  # C8: the grace of an Enterprise review is over

    def quantities(self) -> dict[str, int]:
        """What Stripe has, by seat type."""
        return {seat.seat_type: seat.stripe_quantity or 0 for seat in self.seats}

    def active_after(self, moves: tuple[Move, ...]) -> dict[str, int]:
        """Active members by seat type once the moves are done; only asked when counts are known."""
        active = Counter({seat.seat_type: seat.active or 0 for seat in self.seats})
        for move in moves:
            active[move.from_seat_type] -= 1
            active[move.to_seat_type] += 1
        return dict(active)


def decide_change(facts: ChangeFacts, wanted: Wanted) -> Change | Keep | Refuse:
    """Return the one update that does what is wanted, Keep when there is nothing to write, or why
    it may not happen."""
    for refuse in _REFUSALS:
        if refused := refuse(facts, wanted):
            return refused
    now = facts.quantities()
    switch = wanted.interval if wanted.interval != facts.interval else None
    after = now | dict(wanted.quantities) | (_following(facts, wanted) if switch else {})
    changed = {
        seat_type: count for seat_type, count in after.items() if count != now.get(seat_type)
    }
    if not changed and not switch:
        return Keep(reason="nothing to change in Stripe")
    raised = any(count > now.get(seat_type, 0) for seat_type, count in changed.items())
    return Change(
        # A new price resets the quantity of its item to 1 unless it is given: name them all, also
        # an item without seats, which would stay behind at the old interval.
        quantities=_on_items(facts, after) if switch else changed,
        proration=_charge(facts, at_once=raised or switch is not None),
        reason=_reason(facts.rules, now, after, switch, wanted),
        interval=switch,
        at_renewal=_at_renewal(facts),
        through_schedule=facts.schedule_managed,
    )


def _following(facts: ChangeFacts, wanted: Wanted) -> dict[str, int]:
    """Return what seats that follow the members begin another period with.

    What was to be lowered at the end of the old one would be billed for all of the new one.
    """
    if facts.rules.policy != SeatPolicy.FOLLOW:
        return {}
    active = facts.active_after(wanted.moves)
    return {
        seat_type: max(active[seat_type], facts.rules.seat_types[seat_type].minimum)
        for seat_type in _on_items(facts, facts.quantities())
    }


def _on_items(facts: ChangeFacts, after: Mapping[str, int]) -> dict[str, int]:
    there = {seat.seat_type for seat in facts.seats if seat.stripe_quantity is not None}
    return {seat_type: count for seat_type, count in after.items() if count or seat_type in there}


def describe_change(rules: PlanRules, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return the change in words (B1): `+2 Voice seats, -1 Base seat`; empty when there is none."""
    changes = {s: after.get(s, 0) - before.get(s, 0) for s in {**before, **after}}
    ordered = sorted(changes.items(), key=lambda change: (change[1] < 0, change[0]))
    return ", ".join(
        f"{delta:+d} {label_of(rules, seat_type)} seat{'s' * (abs(delta) != 1)}"
        for seat_type, delta in ordered
        if delta
    )


def _reason(
    rules: PlanRules,
    before: Mapping[str, int],
    after: Mapping[str, int],
    switch: str | None,
    wanted: Wanted,
) -> str:
    parts = [describe_change(rules, before, after), f"billed each {switch}" if switch else ""]
    if wanted.approval:
        parts.append(f"approved: {wanted.approval}")
    return "; ".join(part for part in parts if part)


def _at_renewal(facts: ChangeFacts) -> bool:
    """A monthly contract changes from the next billing cycle (A6); a trial has nothing to keep."""
    monthly = facts.rules.contract_kind == ContractKind.MONTHLY
    trialing = Standing.TRIALING in facts.standing
    return facts.rules.policy == SeatPolicy.CONTRACT and monthly and not trialing


def _charge(facts: ChangeFacts, *, at_once: bool) -> Proration:
    if Standing.TRIALING in facts.standing or _at_renewal(facts):
        return Proration.NONE
    # B2: what is added is billed now. B3: what is only removed is a credit on the next invoice.
    return Proration.CHARGE_NOW if at_once else Proration.NEXT_INVOICE


def refuse_by_plan(rules: PlanRules, wanted: Wanted) -> Refuse | None:
    """Return why the plan lets nobody make such a change, whatever is bought; or None."""
    policy = rules.policy
    if policy == SeatPolicy.INCLUDED:
        return Refuse(
            code="included",
            message="The plan includes its seats: there are none to add or remove",
            remedies=("upgrade the plan",),
        )
    if policy == SeatPolicy.CONTRACT and wanted.by != Requester.ACCOUNT_MANAGER:
        return Refuse(
            code="contract",
            message="Seat changes are processed through your account manager",
            remedies=("ask your account manager",),
            notify="account_manager",
        )
    if policy == SeatPolicy.CONTRACT and not wanted.approval:
        return Refuse(
            code="approval_needed",
            message="A change of a contract records who approved it and why",
            remedies=("give the approval",),
        )
    if policy == SeatPolicy.OWN_SEAT:
        return Refuse(
            code="own_seat",
            message="Every member pays for a seat of their own",
            remedies=("invite a member: the seat joins when it is paid",)
            if wanted.quantities
            else ("each member changes their own subscription in the billing portal",),
        )
    if policy == SeatPolicy.FOLLOW and wanted.quantities:
        return Refuse(
            code="follows_members",
            message="The number of seats follows the active members",
            remedies=("add or remove members",),
        )
    return None


def _not_theirs(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    return refuse_by_plan(facts.rules, wanted)


def _not_now(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    del wanted
    if _uncounted(facts):
        return Refuse(
            code="counts_unreadable",
            message="Active members cannot be counted at the moment",
            remedies=("try again in a few minutes",),
        )
    if facts.in_flight:
        return Refuse(
            code="in_progress",
            message="Another change of this subscription is under way",
            remedies=("try again when it is done",),
        )
    for flag, code, message, remedy in _HOLDS:
        if flag in facts.standing:
            return Refuse(code=code, message=message, remedies=(remedy,))
    if facts.schedule_managed and not facts.schedule_changeable:
        return Refuse(
            code="schedule_managed",
            message="The subscription follows a schedule that this change does not fit into",
            remedies=("ask your account manager to change the schedule",),
            notify="account_manager",
        )
    return None


def _uncounted(facts: ChangeFacts) -> bool:
    """Return whether the counts cannot be read, or are not believed where they set the seats."""
    active = {seat.seat_type: seat.active for seat in facts.seats}
    before = {seat.seat_type: seat.active_before or 0 for seat in facts.seats}
    doubted = facts.rules.policy == SeatPolicy.FOLLOW and suddenly_zero(active, before)
    return bool(unreadable(facts.counts_problem, active) or doubted)


_HOLDS = (
    (
        Standing.DEAD,
        "subscription_inactive",
        "The subscription is canceled, unpaid, incomplete or paused",
        "renew the subscription",
    ),
    (
        Standing.PAST_DUE,
        "past_due",
        "An invoice is past due: seats change when it is paid",
        "pay the open invoice",
    ),
    (
        Standing.PAUSED_COLLECTION,
        "collection_paused",
        "Collection of payments is paused: seats change when it is resumed",
        "have the collection resumed",
    ),
    (
        Standing.CANCELING,
        "canceling",
        "The subscription ends with this period: its seats are kept until then",
        "keep the subscription first",
    ),
)


def _not_sound(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    named = {*wanted.quantities, *(move.to_seat_type for move in wanted.moves)}
    if strange := sorted(named - facts.rules.seat_types.keys()):
        return Refuse(
            code="unknown_seat_type",
            message=f"The plan has no seats of the type {strange[0]}",
            remedies=("choose a seat type of the plan",),
        )
    if any(count < 0 for count in wanted.quantities.values()):
        return Refuse(
            code="invalid_quantity",
            message="A number of seats cannot be negative",
            remedies=("give the new number of seats",),
        )
    if wanted.interval and wanted.interval not in {facts.interval, *facts.intervals}:
        return Refuse(
            code="unknown_interval",
            message=f"The plan cannot be billed each {wanted.interval}",
            remedies=tuple(f"bill it each {interval}" for interval in sorted(facts.intervals)),
        )
    odd = [seat.seat_type for seat in facts.seats if seat.item_problem]
    if odd and (wanted.interval or named & set(odd)):
        return Refuse(
            code="item_problem",
            message=f"The {label_of(facts.rules, odd[0])} item in Stripe is not one of the plan's",
            remedies=("resolve the open finding first",),
        )
    return None


def _out_of_bounds(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    """Refuse what passes a limit: the floor first, it is the law nothing overrides (B5)."""
    now, active = facts.quantities(), facts.active_after(wanted.moves)
    touched = {*wanted.quantities, *(move.to_seat_type for move in wanted.moves)}
    for seat_type in sorted(touched):
        known = facts.rules.seat_types[seat_type]
        count, label = wanted.quantities.get(seat_type, now.get(seat_type, 0)), known.label
        if count < active.get(seat_type, 0):
            return _below_active(seat_type, label, active[seat_type], wanted)
        if count < known.minimum:
            return Refuse(
                code="below_minimum",
                message=f"At least {known.minimum} {label} seats are part of the plan",
                remedies=(f"keep {known.minimum}",),
            )
        if count <= now.get(seat_type, 0):
            continue
        if known.hard_cap is not None and count > known.hard_cap:
            return Refuse(
                code="hard_cap",
                message=f"{label} seats are limited to {known.hard_cap}",
                remedies=("ask for an Enterprise plan",),
                notify="owner",
            )
        if known.ceiling is not None and count > known.ceiling:
            return Refuse(
                code="ceiling",
                message=f"At most {known.ceiling} {label} seats can be bought",
                remedies=("ask for a larger plan",),
            )
    return _switched_below_active(facts, wanted) or _contract_removal(facts, wanted)


def _switched_below_active(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    """Refuse a switch of the interval while seats are short: it writes every item again."""
    if wanted.interval in {None, facts.interval}:
        return None
    active = facts.active_after(wanted.moves)
    for seat_type, count in sorted(_on_items(facts, facts.quantities()).items()):
        if seat_type not in wanted.quantities and count < active[seat_type]:
            label = label_of(facts.rules, seat_type)
            return Refuse(
                code="below_active",
                message=f"{active[seat_type]} active {label} members, {count} seats bought: "
                "buy seats or remove members first",
                remedies=(f"buy {label} seats", f"remove {label} members first"),
            )
    return None


def _below_active(seat_type: str, label: str, active: int, wanted: Wanted) -> Refuse:
    if seat_type not in wanted.quantities:
        return Refuse(
            code="no_free_seat",
            message=f"No free {label} seat for the member who moves",
            remedies=(f"buy a {label} seat in the same save",),
        )
    members = f"{active} active {label} member{'s' * (active != 1)}"
    return Refuse(
        code="below_active",
        message=f"{members}: remove members first, then reduce",
        remedies=(f"keep {active} {label} seats", f"remove {label} members first"),
    )


def _contract_removal(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    if facts.rules.policy != SeatPolicy.CONTRACT or facts.rules.contract_removals:
        return None
    now = facts.quantities()
    if all(count >= now.get(seat_type, 0) for seat_type, count in wanted.quantities.items()):
        return None
    return Refuse(
        code="contract_removal",
        message="This contract does not allow seats to be removed before it ends",
        remedies=("reduce at the end of the contract",),
    )


def _restricted(facts: ChangeFacts, wanted: Wanted) -> Refuse | None:
    now = facts.quantities()
    raises = any(count > now.get(seat_type, 0) for seat_type, count in wanted.quantities.items())
    if not (facts.restricted and raises):
        return None
    return Refuse(
        code="organization_restricted",
        message="Growth is restricted: the Enterprise review's grace is over",
        remedies=("remove members until the seats fit", "ask for an Enterprise plan"),
        notify="owner",
    )


_REFUSALS: tuple[Callable[[ChangeFacts, Wanted], Refuse | None], ...] = (
    _not_theirs,
    _not_now,
    _not_sound,
    _restricted,
    _out_of_bounds,
)
