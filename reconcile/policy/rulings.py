"""What each seat policy says of one seat type: the lower half of the reconciliation table."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconcile.policy import observing
from reconcile.policy.values import PlanRules, Proration, SeatFacts, SeatPolicy


class Row(StrEnum):
    """The rows of the reconciliation table, in its order."""

    UNCLEAR = "any.unclear"
    IN_FLIGHT = "any.in_flight"
    OVER_HARD_CAP = "any.over_hard_cap"
    DEAD = "any.dead"
    PAST_DUE = "any.past_due"
    COLLECTION_PAUSED = "any.collection_paused"
    CANCELING = "any.canceling"
    TRIALING_DIFFERS = "any.trialing_differs"
    CONTRACT_DIFFERS = "contract.differs"
    CONTRACT_OVERAGE = "contract.overage"
    PURCHASED_AGREES = "purchased.agrees"
    PURCHASED_AUTO_ADD = "purchased.auto_add"
    PURCHASED_OVER = "purchased.over"
    PURCHASED_CHANGED = "purchased.changed"
    PURCHASED_BELOW_FLOOR = "purchased.below_floor"
    FOLLOW_RAISES = "follow.raises"
    FOLLOW_LOWERS = "follow.lowers"
    FOLLOW_AGREES = "follow.agrees"
    CONTRACT_AGREES = "contract.agrees"
    OWN_SEAT = "own_seat"
    INCLUDED = "included"
    NO_SEATS = "no_seats"
    ORGANIZATION = "organization"  # nothing beside its subscriptions


AGREEING = frozenset({Row.PURCHASED_AGREES, Row.FOLLOW_AGREES, Row.CONTRACT_AGREES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What one seat type's row says."""

    row: Row
    reason: str
    write: int | None = None
    adopt: int | None = None
    suggest: int | None = None
    charge: Proration = Proration.CHARGE_NOW
    at_renewal: bool = False


def _purchased(rules: PlanRules, seat: SeatFacts, trialing: bool) -> Ruling:
    if seat.stripe_quantity == seat.quantity:
        return _purchased_agreeing(rules, seat)
    if (seat.stripe_quantity or 0) >= (seat.active or 0):
        return _purchased_changed(rules, seat, trialing)
    return _purchased_below_floor(rules, seat, trialing)


def _purchased_agreeing(rules: PlanRules, seat: SeatFacts) -> Ruling:
    known, active, bought = rules.seat_types[seat.seat_type], seat.active or 0, seat.quantity
    if active <= bought:
        lowest = max(active, known.minimum)
        unused = bought - lowest
        return Ruling(
            row=Row.PURCHASED_AGREES,
            reason=f"{bought} {known.label}, {active} active"
            + (f", {unused} unused" * (unused > 0)),
            suggest=lowest if unused > 0 else None,
        )
    if observing.auto_add_covers(rules, seat):
        reason = f"auto-add: {known.label} {bought} -> {active}"
        return Ruling(row=Row.PURCHASED_AUTO_ADD, reason=reason, write=active)
    reason = f"{active} active {known.label}, {bought} bought: growth blocked, nothing charged"
    return Ruling(row=Row.PURCHASED_OVER, reason=reason)


def _purchased_changed(rules: PlanRules, seat: SeatFacts, trialing: bool) -> Ruling:
    known, stripe = rules.seat_types[seat.seat_type], seat.stripe_quantity or 0
    # The buyer's own quantity, never less than is in use, is what a trial or the setting
    # brings back; otherwise Stripe's is taken over as the buyer's new wish.
    wanted = max(seat.quantity, seat.active or 0, known.minimum)
    if (trialing or rules.restores_quantity) and wanted != stripe:
        return Ruling(
            row=Row.PURCHASED_CHANGED,
            reason=f"restore {known.label} {stripe} -> {wanted}",
            write=wanted,
            charge=Proration.CHARGE_NOW if wanted > stripe else Proration.NEXT_INVOICE,
        )
    reason = f"adopt {known.label} {seat.quantity} -> {stripe}, changed in Stripe"
    return Ruling(row=Row.PURCHASED_CHANGED, reason=reason, adopt=stripe)


def _purchased_below_floor(rules: PlanRules, seat: SeatFacts, trialing: bool) -> Ruling:
    known, active, stripe = rules.seat_types[seat.seat_type], seat.active or 0, seat.stripe_quantity
    # A seat that was bought before may be bought back past a ceiling lowered since.
    allowed = known.ceiling is None or active <= max(seat.quantity, known.ceiling)
    if not rules.raises_below_floor or not allowed:
        reason = f"{known.label} {stripe}, {active} active: growth blocked, reported only"
        return Ruling(row=Row.PURCHASED_BELOW_FLOOR, reason=reason)
    wanted = max(seat.quantity, active) if trialing else active
    return Ruling(
        row=Row.PURCHASED_BELOW_FLOOR,
        reason=f"raise {known.label} back {stripe} -> {wanted}, {active} are active",
        write=wanted,
    )


def _follow(rules: PlanRules, seat: SeatFacts, trialing: bool) -> Ruling:
    del trialing  # the netted change already charges nothing in a trial
    label = observing.label_of(rules, seat.seat_type)
    stripe = seat.stripe_quantity or 0
    wanted = max(seat.active or 0, rules.seat_types[seat.seat_type].minimum)
    if wanted > stripe:
        return Ruling(
            row=Row.FOLLOW_RAISES,
            reason=f"follow: {label} {stripe} -> {wanted}",
            write=wanted,
            # The floor holds at once in both settings; "monthly" batches the charges.
            charge=Proration.NEXT_INVOICE
            if rules.follow_raises == "monthly"
            else Proration.CHARGE_NOW,
        )
    if wanted < stripe:
        later = rules.follow_lowers == "renewal"
        return Ruling(
            row=Row.FOLLOW_LOWERS,
            reason=f"follow: {label} {stripe} -> {wanted}" + (" at renewal" * later),
            write=wanted,
            adopt=stripe if seat.quantity != stripe else None,
            charge=Proration.NONE if later else Proration.NEXT_INVOICE,
            at_renewal=later,
        )
    adopt = stripe if seat.quantity != stripe else None
    return Ruling(row=Row.FOLLOW_AGREES, reason=f"{stripe} {label}, all active", adopt=adopt)


def _contract(rules: PlanRules, seat: SeatFacts, trialing: bool) -> Ruling:
    del trialing  # never written by a run, not in a trial either: an account manager decides
    label = observing.label_of(rules, seat.seat_type)
    if seat.stripe_quantity != seat.quantity:
        reason = f"{label}: Stripe {seat.stripe_quantity}, contract {seat.quantity}"
        return Ruling(row=Row.CONTRACT_DIFFERS, reason=reason)
    if (seat.active or 0) > seat.quantity:
        reason = f"{label}: {seat.active} active, contract {seat.quantity}, true up at renewal"
        return Ruling(row=Row.CONTRACT_OVERAGE, reason=reason)
    return Ruling(row=Row.CONTRACT_AGREES, reason=f"{label} as contracted")


RULES_ON: dict[SeatPolicy, Callable[[PlanRules, SeatFacts, bool], Ruling]] = {
    SeatPolicy.PURCHASED: _purchased,
    SeatPolicy.FOLLOW: _follow,
    SeatPolicy.CONTRACT: _contract,
}
