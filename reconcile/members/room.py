"""The facts of one activation, read in the caller's transaction under the organization's lock."""

from dataclasses import replace

from sqlalchemy.orm import Session

from reconcile import facts
from reconcile.adjustments import spacing
from reconcile.policy.activation import ActivationFacts, capacity
from reconcile.policy.reconciliation import reconcile
from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import (
    Change,
    FindingKind,
    PlanRules,
    Proration,
    SeatPolicy,
    Standing,
)
from reconcile.services import Services
from reconcile.store import adjustments, findings, reviews, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.findings import Scope
from reconcile.store.roster import Member, Organization
from reconcile.store.subscriptions import Held, Seat

# What only a look at Stripe's items can tell; the rest is judged afresh from the rows.
ITEM_PROBLEMS = frozenset(
    {
        FindingKind.ITEM_METERED,
        FindingKind.ITEM_WRONG_PRICE,
        FindingKind.ITEM_WRONG_CURRENCY,
        FindingKind.ITEM_DUPLICATE,
    }
)


def seat_taken(rules: PlanRules, member: Member) -> str | None:
    """Return the seat type an active member takes; None for a role that takes none (C2)."""
    role = rules.roles.get(member.role)
    return None if role is not None and not role.seat_types else member.seat_type


def room_for(  # noqa: PLR0913 - one question, all by name
    session: Session,
    services: Services,
    organization: Organization,
    *,
    takes: str | None,
    frees: str | None = None,
    member_id: str | None = None,
    may_raise: bool = True,
) -> ActivationFacts:
    """Return what an activation into the pool `takes` is decided from."""
    rules = services.catalog.plan(organization.plan).rules
    active = services.roster.counts(session, organization.id).by_seat_type
    known = ActivationFacts(
        rules=rules,
        takes=takes,
        frees=frees,
        active=active.get(takes) if active is not None and takes else None,
        organization_in_trial=organization.trial,
        restricted=reviews.is_restricted(session, organization.id),
        may_raise=may_raise,
    )
    if takes is None:
        return known
    if rules.policy == SeatPolicy.OWN_SEAT:
        return _own_seat(session, services, known, organization.id, member_id)
    held = subscriptions.of_organization(session, organization.id)
    if rules.policy == SeatPolicy.INCLUDED:
        ended = subscriptions.ever_had(session, organization.id) and not held
        return replace(known, standing=Standing.DEAD if ended else _best_standing(held))
    seats = subscriptions.seats_of_organization(session, organization.id)
    bought = facts.seated(held, seats)
    if not bought:
        return known
    return _bought(session, services, known, bought[0], seats[bought[0].id])


def pool_subscription(session: Session, organization_id: str) -> str | None:
    """Return the subscription that the organization's seats are bought on, or None."""
    held = subscriptions.of_organization(session, organization_id)
    bought = facts.seated(held, subscriptions.seats_of_organization(session, organization_id))
    return next((each.id for each in bought if Standing.DEAD not in _standing(each)), None)


def _standing(held: Held) -> Standing:
    return standing_of(
        held.status, collection_paused=held.collection_paused, canceling=held.cancel_at_period_end
    )


def _best_standing(held: tuple[Held, ...]) -> Standing | None:
    """Return a live subscription's standing where there is one; None: no subscription is known."""
    standings = [_standing(each) for each in held]
    live = [standing for standing in standings if Standing.DEAD not in standing]
    return next(iter(live or standings), None)


def _own_seat(
    session: Session,
    services: Services,
    known: ActivationFacts,
    organization_id: str,
    member_id: str | None,
) -> ActivationFacts:
    """A2: the member's own subscription, which may be of another tier than the pool (A5)."""
    own = subscriptions.of_member(session, organization_id, member_id) if member_id else ()
    paid = any(is_paid(_standing(each)) for each in own)
    tier = None
    for each in own:
        for seat in subscriptions.seats_of(session, each.id).values():
            price = services.catalog.seat_for_price(seat.price_id)
            tier = services.catalog.plan(price.plan).rules.tier if price else tier
    return replace(known, own_seat_paid=paid, pool_tier=tier)


def _bought(
    session: Session,
    services: Services,
    known: ActivationFacts,
    held: Held,
    seats: dict[str, Seat],
) -> ActivationFacts:
    takes = known.takes
    assert takes is not None
    seat = seats.get(takes)
    pending = adjustments.pending(session, held.id)
    written = [c.to_quantity for c in pending.changes if c.seat_type == takes] if pending else []
    moves = pending.moves if pending else ()
    # An item that Stripe no longer has is no seats at all.
    in_force = (seat.quantity, seat.stripe_quantity or 0) if seat else ()
    automatic = roster_store.auto_add_settings(session, held.organization_id).get(takes)
    found, _ = facts.of_subscription(session, services, held.id, {}, fetched=True)
    item_findings = findings.open_of(
        session, Scope(organization_id=held.organization_id, subscription_id=held.id)
    )
    quantities = [*in_force, *written]
    one_more = Change(
        quantities={takes: (known.active or 0) + 1}, proration=Proration.CHARGE_NOW, reason=""
    )
    return replace(
        known,
        capacity=capacity(*quantities),
        most=max(quantities, default=None),
        arriving=sum(move.to_seat_type == takes for move in moves),
        standing=_standing(held),
        shortfall=reconcile(found).block_growth
        or any(finding.kind in ITEM_PROBLEMS for finding in item_findings),
        auto_add=bool(automatic and automatic.enabled),
        auto_add_ceiling=facts.ceiling_of(services, seat, automatic),
        # A person asks: a card that was declined before may have been renewed.
        invoice_limit_reached=spacing.held_back(
            session, held.id, one_more, now=services.clock(), retry_declined=True
        )
        is not None,
        pending_update=held.has_pending_update,
        schedule_managed=held.schedule_id is not None,
    )
