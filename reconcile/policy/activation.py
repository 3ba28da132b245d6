"""Whether a member may become active: the activation table, first match wins.

Asked for every way in: an accepted invite, an unblock, a role change, a first login, SSO. The
caller holds the organization's lock over the decision and the write of the member row.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reconcile.policy.observing import label_of
from reconcile.policy.values import (
    PlanRules,
    Proration,
    Refuse,
    SeatPolicy,
    SeatTypeRules,
    Standing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationFacts:
    """All that one activation is decided from. Counts are of the pool the member would join."""

    rules: PlanRules
    takes: str | None  # the seat type taken; None takes no seat (C2: the Owner)
    frees: str | None = None  # the seat type the same operation gives back
    active: int | None = None  # None when it could not be counted
    capacity: int | None = None  # see `capacity`; None: there is no subscription
    most: int | None = None  # the largest of those quantities: a raise never lowers one of them
    standing: Standing | None = None  # None: there is no subscription
    arriving: int = 0  # members who move here with a change that is in flight (B7)
    joining: int = 1  # members activating together: a burst becomes one update (B15)
    organization_in_trial: bool = False
    restricted: bool = False  # C8: the grace of an Enterprise review is over
    pool_tier: str | None = None  # A5: the tier the pool's members are on
    own_seat_paid: bool = False  # own_seat: whether this member's own seat is live and paid
    shortfall: bool = False  # an unresolved finding that blocks growth
    auto_add: bool = False
    auto_add_ceiling: int | None = None  # in seats; a ceiling in money is converted before
    invoice_limit_reached: bool = False  # Stripe's 20 invoices a day and subscription
    pending_update: bool = False  # Stripe's own, waiting for a payment
    schedule_managed: bool = False
    schedule_changeable: bool = False  # whether the schedule's phases can carry the raise
    may_raise: bool = True  # False for moves between pools: they need room, they buy nothing (B6)

    @property
    def wanted(self) -> int:
        """How many would be active; only asked once the count is known."""
        assert self.active is not None
        return self.active + self.arriving + self.joining

    @property
    def seat(self) -> SeatTypeRules:
        """The rules of the seat type taken; only asked once it is known to the plan."""
        assert self.takes is not None
        return self.rules.seat_types[self.takes]

    def stands(self, standing: Standing) -> bool:
        """Whether the subscription has this standing."""
        return self.standing is not None and standing in self.standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The member may become active; nothing is written to Stripe."""

    reason: str
    overage: int | None = None  # contract: the count to record as a peak and true up


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """The member may become active with a raise of the seat type to `quantity`."""

    seat_type: str
    quantity: int
    proration: Proration
    reason: str
    activates_first: bool = False  # activate, then charge within a minute
    through_schedule: bool = False


def capacity(*quantities: int | None) -> int | None:
    """Return what activations are checked against: the smallest quantity in force or being written.

    So a reduction in flight counts as done and a raise in flight as not yet done. None among the
    quantities (nothing in flight) is left out; None when nothing is known.
    """
    return min((quantity for quantity in quantities if quantity is not None), default=None)


Outcome = Allow | Raise | Refuse

PAYMENT_NEEDED = "payment_needed"
# Refused for lack of room, or by a limit of Auto-Add: those who can change it are told.
NO_ROOM = frozenset({"no_free_seat", "seat_limit", "hard_cap", "contract"})
AUTO_ADD_LIMIT = "auto_add_limit"


def decide_activation(facts: ActivationFacts) -> Outcome:
    """Return whether the member may become active, and what has to be bought for it."""
    for row in _ROWS:
        if outcome := row(facts):
            return outcome
    raise AssertionError("the last row matches everything")


def decide_invite(facts: ActivationFacts) -> Allow | Refuse:
    """Return whether an invite may be sent, and whether it may be accepted.

    It reserves and buys nothing (C3): what has to be bought is decided at the activation, and a
    seat of one's own is paid for in between (A2).
    """
    outcome = decide_activation(facts)
    if isinstance(outcome, Raise):
        return Allow(reason="a seat is added at the activation")
    if isinstance(outcome, Refuse) and outcome.code == PAYMENT_NEEDED:
        return Allow(reason="the seat joins when it is paid")
    return outcome


def _trial_blocks(facts: ActivationFacts) -> Outcome | None:
    if not (facts.takes and facts.organization_in_trial and facts.rules.blocks_invites_in_trial):
        return None
    return Refuse(
        code="trial_invites_blocked",
        message=f"{label_of(facts.rules, facts.takes)} members cannot be added during the trial",
        remedies=("choose a plan to end the trial",),
    )


def _net_zero(facts: ActivationFacts) -> Outcome | None:
    if facts.takes is None:
        return Allow(reason="takes no seat")
    return Allow(reason="net zero for every pool") if facts.takes == facts.frees else None


def _restricted(facts: ActivationFacts) -> Outcome | None:
    # After "takes no seat": a restriction never touches the Owner (C8).
    if not facts.restricted:
        return None
    return Refuse(
        code="organization_restricted",
        message="Growth is restricted: the Enterprise review's grace is over",
        remedies=("remove members until the seats fit", "ask for an Enterprise plan"),
        notify="owner",
    )


def _tier_differs(facts: ActivationFacts) -> Outcome | None:
    if facts.pool_tier is None or facts.pool_tier == facts.rules.tier:
        return None
    return Refuse(
        code="tier_mixed",
        message="All members of a pool are on the same plan tier",
        remedies=("ask your account manager to change the tier of all of them",),
        notify="account_manager",
    )


def _unknown(facts: ActivationFacts) -> Outcome | None:
    if facts.takes not in facts.rules.seat_types:
        return Refuse(
            code="unknown_seat_type",
            message=f"The plan has no seats of the type {facts.takes}",
            remedies=("choose a seat type of the plan",),
        )
    if facts.active is None:
        return Refuse(
            code="counts_unreadable",
            message="Active members cannot be counted at the moment",
            remedies=("try again in a few minutes",),
        )
    return None


def _hard_cap(facts: ActivationFacts) -> Outcome | None:
    cap = facts.seat.hard_cap
    if cap is None or facts.wanted <= cap:
        return None
    return Refuse(
        code="hard_cap",
        message=f"{facts.seat.label} seats are limited to {cap} on every plan",
        remedies=("ask for an Enterprise plan",),
        notify="owner",
    )


def _inactive(facts: ActivationFacts) -> Outcome | None:
    if not facts.stands(Standing.DEAD):
        return None
    return Refuse(
        code="subscription_inactive",
        message="The subscription is canceled, unpaid, incomplete or paused",
        remedies=("renew the subscription",),
    )


def _own_seat(facts: ActivationFacts) -> Outcome | None:
    if facts.rules.policy != SeatPolicy.OWN_SEAT:
        return None
    if facts.own_seat_paid:
        return Allow(reason="the member's own seat is paid")
    return Refuse(
        code=PAYMENT_NEEDED,
        message="The seat joins when it is paid",
        remedies=("complete the payment of the seat",),
    )


def _included(facts: ActivationFacts) -> Outcome | None:
    if facts.rules.policy != SeatPolicy.INCLUDED:
        return None
    label, included = facts.seat.label, facts.seat.included or 0
    if facts.wanted <= included:
        return Allow(reason=f"{facts.wanted} of {included} included {label} seats")
    return Refuse(
        code="seat_limit",
        message=f"{label} seat limit reached",
        remedies=(f"remove {_a(label)} member", "upgrade the plan"),
    )


def _fits(facts: ActivationFacts) -> Outcome | None:
    label = facts.seat.label
    if facts.standing is None or facts.capacity is None:
        return Refuse(
            code="no_subscription",
            message=f"There is no subscription with {label} seats",
            remedies=(f"buy {label} seats first",),
        )
    if facts.wanted <= facts.capacity:
        return Allow(reason=f"{facts.wanted} of {facts.capacity} {label} seats")
    if not facts.may_raise:
        return Refuse(
            code="no_free_seat",
            message=f"No free {label} seat: {facts.active} active, {facts.capacity} bought",
            remedies=(f"remove {_a(label)} member", f"buy {_a(label)} seat first"),
        )
    return None


def _growth_blocked(facts: ActivationFacts) -> Outcome | None:
    label = facts.seat.label
    if facts.stands(Standing.PAST_DUE):
        return Refuse(
            code="past_due",
            message="An invoice is past due: no seats are added until it is paid",
            remedies=("pay the open invoice",),
        )
    if facts.stands(Standing.PAUSED_COLLECTION):
        return Refuse(
            code="collection_paused",
            message="Collection of payments is paused: no seats are added",
            remedies=("have the collection resumed",),
        )
    if facts.shortfall:
        return Refuse(
            code="shortfall",
            message=f"{label} seats do not agree with Stripe: no seats are added until they do",
            remedies=("resolve the open finding",),
            notify="owner",
        )
    return None


def _contract(facts: ActivationFacts) -> Outcome | None:
    if facts.rules.policy != SeatPolicy.CONTRACT:
        return None
    label = facts.seat.label
    if facts.rules.contract_allows_overage:
        return Allow(
            reason=f"overage of the contract: {facts.wanted} {label}", overage=facts.wanted
        )
    return Refuse(
        code="contract",
        message=f"All {label} seats of the contract are in use; "
        "seat changes are processed through your account manager",
        remedies=("ask your account manager", f"remove {_a(label)} member"),
        notify="account_manager",
    )


def _auto_add_off(facts: ActivationFacts) -> Outcome | None:
    if facts.rules.policy == SeatPolicy.FOLLOW or facts.auto_add:
        return None
    label = facts.seat.label
    return Refuse(
        code="no_free_seat",
        message=f"No free {label} seat: {facts.active} active, {facts.capacity} bought",
        remedies=(f"buy {_a(label)} seat", f"remove {_a(label)} member", "turn on Auto-Add Seats"),
    )


def _growth_limit(facts: ActivationFacts) -> Outcome | None:
    ceiling, own = facts.seat.ceiling, facts.auto_add_ceiling
    if ceiling is not None and facts.wanted > ceiling:
        why, remedy = f"the plan allows {ceiling}", "ask for a larger plan"
    elif own is not None and facts.wanted > own:
        why, remedy = f"the Auto-Add ceiling of {own} is reached", "raise the ceiling"
    elif facts.invoice_limit_reached:
        why, remedy = "Stripe's limit of invoices for today is reached", "try tomorrow"
    else:
        return None
    return Refuse(
        code=AUTO_ADD_LIMIT,
        message=f"No more {facts.seat.label} seats are added: {why}",
        remedies=(remedy, f"remove {_a(facts.seat.label)} member"),
        notify="owner",
    )


def _trialing(facts: ActivationFacts) -> Outcome | None:
    # Nothing to prorate, and the trial's end is not touched.
    return _raise(facts, Proration.NONE) if facts.stands(Standing.TRIALING) else None


def _canceling(facts: ActivationFacts) -> Outcome | None:
    if not facts.stands(Standing.CANCELING):
        return None
    return Refuse(
        code="canceling",
        message="The subscription ends with this period: no seats are added to it",
        remedies=("keep the subscription first", f"remove {_a(facts.seat.label)} member"),
    )


def _otherwise(facts: ActivationFacts) -> Outcome:
    monthly = facts.rules.policy == SeatPolicy.FOLLOW and facts.rules.follow_raises == "monthly"
    return _raise(facts, Proration.NEXT_INVOICE if monthly else Proration.CHARGE_NOW)


def _raise(facts: ActivationFacts, proration: Proration) -> Raise | Refuse:
    """Raise, through the schedule where one drives the subscription and its phases can carry it."""
    if facts.schedule_managed and not facts.schedule_changeable:
        return Refuse(
            code="schedule_managed",
            message="The subscription follows a schedule that this change does not fit into",
            remedies=("ask your account manager to change the schedule",),
            notify="account_manager",
        )
    if facts.pending_update and not facts.rules.activates_first:
        # Where the charge follows, it waits. Here somebody does, and it may take a day.
        return Refuse(
            code="in_progress",
            message="Another change of this subscription is under way",
            remedies=("try again when it is done",),
        )
    quantity = max(facts.wanted, facts.most or 0)
    return Raise(
        seat_type=facts.seat.seat_type,
        quantity=quantity,
        proration=proration,
        reason=f"{facts.seat.label} {facts.capacity} -> {quantity} for an activation",
        activates_first=facts.rules.activates_first,
        through_schedule=facts.schedule_managed,
    )


def _a(label: str) -> str:
    return f"an {label}" if label[:1] in "AEIOU" else f"a {label}"


# The table, in its order. An own seat and an included pool have their own way to "it fits".
_ROWS: tuple[Callable[[ActivationFacts], Outcome | None], ...] = (
    _trial_blocks,
    _net_zero,
    _restricted,
    _tier_differs,
    _unknown,
    _hard_cap,
    _inactive,
    _own_seat,
    _included,
    _fits,
    _growth_blocked,
    _contract,
    _auto_add_off,
    _growth_limit,
    _trialing,
    _canceling,
    _otherwise,
)
