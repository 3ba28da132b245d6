"""Everything one request for other seats is decided from, read just now (B1-B7, B10, A6, A7).

Reads Stripe and records what it said; writes nothing there.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from reconcile import facts, seeing
from reconcile.acting import refuse_unpermitted
from reconcile.actor import Actor
from reconcile.policy.observing import label_of
from reconcile.policy.permits import Deed
from reconcile.policy.seat_change import (
    ChangeFacts,
    Move,
    Requester,
    Wanted,
    decide_change,
    refuse_by_plan,
)
from reconcile.policy.values import (
    Change,
    ContractKind,
    Keep,
    PlanRules,
    Refuse,
    SubscriptionFacts,
)
from reconcile.roster import Counts
from reconcile.services import Services
from reconcile.store import contracts, reviews, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.roster import Organization
from reconcile.store.subscriptions import Held, Seat
from reconcile.stripe_shapes import StripeSubscription

NO_ORGANIZATION = Refuse(
    code="not_found",
    message="There is no such organization",
    remedies=("create it first, or check its id",),
)
IN_PROGRESS = Refuse(
    code="in_progress",
    message="Another change of this subscription is under way",
    remedies=("try again when it is done",),
)
_MOST_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One organization's one subscription, and what is decided from it."""

    subscription: StripeSubscription
    known: SubscriptionFacts
    plan: str
    facts: ChangeFacts


def read(services: Services, organization_id: str, wanted: Wanted, actor: Actor) -> Case | Refuse:
    """Return the case, fetched and recorded, or why the actor may not ask for it at all."""
    found = _subscription(services, organization_id, wanted, actor)
    if isinstance(found, Refuse):
        return found
    for _ in range(_MOST_LOOKS):
        if case := _looked(services, organization_id, found):
            return case
    return IN_PROGRESS


def _looked(services: Services, organization_id: str, found: str) -> Case | None:
    """Return the case as Stripe has it now; None when somebody recorded a later look meanwhile.

    Previews hold no lock: what was fetched before a change is not to be written over its outcome.
    """
    with services.sessions() as session:
        before = _recorded(session, found)
    seen = seeing.fetched(services, found)
    with services.sessions.begin() as session:
        roster_store.lock_organization(session, organization_id)
        if _recorded(session, found) != before:
            return None
        organization = roster_store.organization(session, organization_id)
        assert organization is not None
        recorded = facts.record(session, services, seen, organization)
        known, _ = facts.of_subscription(session, services, found, recorded.problems, fetched=True)
        rules = _agreed(session, organization, known.rules)
        restricted = reviews.is_restricted(session, organization_id)
    subscription = seen.subscription
    return Case(
        subscription=subscription,
        known=known,
        plan=organization.plan,
        facts=ChangeFacts(
            rules=rules,
            standing=known.standing,
            seats=known.seats,
            interval=next((item.interval for item in subscription.items), None),
            intervals=services.catalog.intervals(organization.plan, subscription.currency),
            in_flight=known.adjustment_in_flight or known.pending_update,
            counts_problem=known.counts_problem,
            schedule_managed=known.schedule_managed,
            restricted=restricted,
        ),
    )


def _recorded(session: Session, subscription_id: str) -> tuple[Held | None, dict[str, Seat]]:
    return (
        subscriptions.held(session, subscription_id),
        subscriptions.seats_of(session, subscription_id),
    )


def _agreed(session: Session, organization: Organization, rules: PlanRules) -> PlanRules:
    """Return the plan's rules with what this organization's own contract says otherwise (A7)."""
    contract = contracts.in_force(session, organization.id)
    if contract is None:
        return rules
    return replace(
        rules,
        contract_kind=ContractKind(contract.kind),
        contract_removals=contract.removals is not None and contract.removals.allowed,
    )


def _subscription(
    services: Services, organization_id: str, wanted: Wanted, actor: Actor
) -> str | Refuse:
    """Return the id of the one subscription that has seats, or why nothing may be asked of it."""
    # The plan is asked first: one of own seats has many subscriptions, one of included seats none
    # with seats, and neither is to be mended.
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        if organization is None:
            return NO_ORGANIZATION
        if refused := _unpermitted(session, services, organization, wanted, actor):
            return refused
        rules = services.catalog.plan(organization.plan).rules
        if refused := refuse_by_plan(rules, wanted):
            return refused
        return only_subscription(session, organization_id)


def only_subscription(session: Session, organization_id: str) -> str | Refuse:
    """Return the id of the organization's one subscription with seats, or why there is none."""
    found = facts.seated(
        subscriptions.of_organization(session, organization_id),
        subscriptions.seats_of_organization(session, organization_id),
    )
    if len(found) == 1:
        return found[0].id
    if found:
        return Refuse(
            code="several_subscriptions",
            message=f"{len(found)} live subscriptions where there may be one",
            remedies=("have support cancel the others",),
        )
    return Refuse(
        code="no_subscription",
        message="There is no live subscription to change",
        remedies=("subscribe first",),
    )


def _unpermitted(
    session: Session, services: Services, organization: Organization, wanted: Wanted, actor: Actor
) -> Refuse | None:
    if wanted.by == Requester.ACCOUNT_MANAGER:
        return None  # the seller's own people: their door lets nobody else in
    deeds = [Deed.CHANGE_SEATS] if wanted.quantities or not wanted.interval else []
    deeds += [Deed.CHANGE_INTERVAL] if wanted.interval else []
    deeds += [Deed.CHANGE_SEAT_TYPE] if wanted.moves else []
    refused = (
        refuse_unpermitted(session, services.roster, organization, actor, deed) for deed in deeds
    )
    return next((each for each in refused if each), None)


def decide(services: Services, case: Case, wanted: Wanted) -> Change | Keep | Refuse:
    """Return the one update that does what is wanted, Keep where Stripe need not change, or why
    it may not happen."""
    if wanted.moves and services.roster.view is not None:
        return Refuse(
            code="members_elsewhere",
            message="Members are kept by the host application: move them there",
            remedies=("change the seats without moves, and move the members in your application",),
        )
    with services.sessions() as session:
        refused = refuse_moves(session, case.facts.rules, case.known.organization_id, wanted.moves)
    return refused or decide_change(case.facts, wanted)


def moves_of(
    services: Services, organization_id: str, to: Mapping[str, str]
) -> tuple[Move, ...] | Refuse:
    """Return the moves of these members to these seat types, from where each of them is now."""
    with services.sessions() as session:
        if roster_store.organization(session, organization_id) is None:
            return NO_ORGANIZATION
        found = {
            member_id: roster_store.member(session, organization_id, member_id) for member_id in to
        }
    for member_id, member in found.items():
        if member is None or member.status != "active" or member.seat_type is None:
            return Refuse(
                code="invalid_move",
                message=f"Member {member_id} is not active in a seat",
                remedies=("look at the members again",),
            )
    return tuple(
        Move(member_id=member.id, from_seat_type=member.seat_type, to_seat_type=to[member.id])
        for member in found.values()
        if member and member.seat_type
    )


def refuse_moves(
    session: Session, rules: PlanRules, organization_id: str, moves: tuple[Move, ...]
) -> Refuse | None:
    """Return why these members cannot move with the seats, or None; read where it is written."""
    if len({move.member_id for move in moves}) < len(moves):
        return Refuse(code="invalid_move", message="A member can move only once in a save")
    for move in moves:
        member = roster_store.member(session, organization_id, move.member_id)
        if member is None or (member.status, member.seat_type) != ("active", move.from_seat_type):
            return Refuse(
                code="invalid_move",
                message=f"Member {move.member_id} is not active in a {move.from_seat_type} seat",
                remedies=("look at the members again",),
            )
        role = rules.roles.get(member.role)
        if role is None or move.to_seat_type not in role.seat_types:
            return Refuse(
                code="seat_type_not_allowed",
                message=f"The role {member.role} takes no seat of the type {move.to_seat_type}",
                remedies=tuple(role.seat_types) if role else (),
            )
    return None


def refuse_full(
    rules: PlanRules, counts: Counts, seats: Mapping[str, Seat], moves: tuple[Move, ...]
) -> Refuse | None:
    """Return why a pool has no room for the members who move into it, or None.

    Asked under the lock that activations take, and with nothing of the subscription in flight.
    """
    active = Counter(counts.by_seat_type or {})
    for move in moves:
        active[move.from_seat_type] -= 1
        active[move.to_seat_type] += 1
    for seat_type in sorted({move.to_seat_type for move in moves}):
        seat = seats.get(seat_type)
        capacity = min(seat.quantity, seat.stripe_quantity or 0) if seat else 0
        if counts.by_seat_type is None or active[seat_type] > capacity:
            label = label_of(rules, seat_type)
            return Refuse(
                code="no_free_seat",
                message=f"No free {label} seat for the member who moves",
                remedies=(f"buy a {label} seat in the same save",),
            )
    return None
