"""Contracts: what an account manager recorded, and the approved change that waits (A6, A7).

A change of a contract is a change of seats like any other, asked by an account manager
(`seat_change`); here is what it is measured against, and how one that waits is taken back, or found
in Stripe already. Nothing in here writes to Stripe, but for finishing what was begun.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.adjustments import adjusting
from reconcile.adjustments.case import IN_PROGRESS, NO_ORGANIZATION, only_subscription
from reconcile.adjustments.renewals import Due
from reconcile.database import exclusive, exclusive_within
from reconcile.errors import StripeRejected
from reconcile.policy.values import PlanRules, Refuse, SeatPolicy
from reconcile.services import Services
from reconcile.store import (
    adjustments,
    audit,
    renewals,
    roster,
    subscriptions,
)
from reconcile.store import contracts as store
from reconcile.store.contracts import Contract, Removals
from reconcile.store.renewals import Approved

_LOCK_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is agreed: whole seats by seat type, from when to when, and what of removals (A7)."""

    kind: str
    quantities: Mapping[str, int]
    starts_at: datetime
    ends_at: datetime | None
    removals_allowed: bool | None
    removals_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The contract in force, and the approved change that waits for the next cycle, if any."""

    contract: Contract | None
    approved: Approved | None


def record(
    services: Services, organization_id: str, terms: Terms, *, actor: Actor
) -> Contract | Refuse:
    """Record what is agreed, from now on what Stripe is compared with; returns it.

    Where Stripe has other quantities a finding opens for the account manager: approve a change, or
    record what is right.
    """
    with services.sessions() as session:
        found = only_subscription(session, organization_id)
    if isinstance(found, Refuse):
        return _record(services, organization_id, terms, actor, None)
    with exclusive(services.engine, f"sub:{found}") as mine:
        if not mine:
            return IN_PROGRESS
        return _record(services, organization_id, terms, actor, found)


def _record(
    services: Services,
    organization_id: str,
    terms: Terms,
    actor: Actor,
    subscription_id: str | None,
) -> Contract | Refuse:
    with services.sessions.begin() as session:
        roster.lock_organization(session, organization_id)
        organization = roster.organization(session, organization_id)
        if organization is None:
            return NO_ORGANIZATION
        rules = services.catalog.plan(organization.plan).rules
        if refused := _unsound(rules, terms):
            return refused
        before = store.in_force(session, organization_id)
        removals = None
        if terms.removals_allowed is not None:
            removals = Removals(
                allowed=terms.removals_allowed, because=terms.removals_because or "", by=actor.who
            )
        contract = store.record(
            session,
            organization_id,
            actor,
            kind=terms.kind,
            quantities=terms.quantities,
            starts_at=terms.starts_at,
            ends_at=terms.ends_at,
            removals=removals,
            because=actor.because or "",
        )
        audit.record(
            session,
            actor,
            "contract.recorded",
            organization_id,
            organization_id=organization_id,
            before=_as_json(before),
            after=_as_json(contract),
        )
        if subscription_id:
            subscriptions.write_quantities(session, subscription_id, terms.quantities)
        store.look_at_end(session, organization_id, _looks(services, terms))
    return contract


def _looks(services: Services, terms: Terms) -> Iterator[datetime]:
    """Yield when the organization is to be looked at: now, ahead of the contract's end, at it."""
    now = services.clock()
    yield now
    if terms.ends_at is not None:
        ahead = terms.ends_at - timedelta(days=services.settings.contract_notice_days)
        # A worker takes what comes due within its lease as well, and must not come too early.
        late = timedelta(seconds=services.settings.hint_lease_s)
        yield from (moment + late for moment in (ahead, terms.ends_at) if moment > now)


def _unsound(rules: PlanRules, terms: Terms) -> Refuse | None:
    if rules.policy != SeatPolicy.CONTRACT:
        return Refuse(
            code="not_a_contract",
            message="The plan has no contract: its seats are changed by the customer",
            remedies=("put the organization on a plan with a contract",),
        )
    if strange := sorted(terms.quantities.keys() - rules.seat_types.keys()):
        return Refuse(
            code="unknown_seat_type",
            message=f"The plan has no seats of the type {strange[0]}",
            remedies=("choose a seat type of the plan",),
        )
    for seat_type, known in rules.seat_types.items():
        if terms.quantities.get(seat_type, 0) < known.minimum:
            return Refuse(
                code="below_minimum",
                message=f"At least {known.minimum} {known.label} seats are part of the plan",
                remedies=(f"agree on {known.minimum}",),
            )
    if terms.ends_at is not None and terms.ends_at <= terms.starts_at:
        return Refuse(code="invalid", message="ends_at: a contract ends after it starts")
    return None


def _as_json(contract: Contract | None) -> dict[str, object] | None:
    if contract is None:
        return None
    removals = contract.removals
    return {
        "kind": contract.kind,
        "quantities": dict(contract.quantities),
        "starts_at": contract.starts_at.isoformat(),
        "ends_at": contract.ends_at.isoformat() if contract.ends_at else None,
        "removals": {"allowed": removals.allowed, "because": removals.because}
        if removals
        else None,
    }


def standing(session: Session, organization_id: str) -> Standing:
    """Return the contract in force and what waits for the next cycle."""
    found = only_subscription(session, organization_id)
    waits = None if isinstance(found, Refuse) else _waits(session, found)
    return Standing(contract=store.in_force(session, organization_id), approved=waits)


def _waits(session: Session, subscription_id: str) -> Approved | None:
    """Return what waits as one: of two that name a seat type the later one counts."""
    found = renewals.approved(session, subscription_id)
    if not found:
        return None
    quantities = {name: count for each in found for name, count in each.quantities.items()}
    reasons = "; ".join(each.approved for each in found)
    return replace(found[-1], quantities=quantities, approved=reasons)


def withdraw(services: Services, organization_id: str, *, actor: Actor) -> Approved | Refuse:
    """Take back the approved change that waits for the next cycle, and return it (A6).

    Whoever applies it holds the same lock, so exactly one of the two happens. One that is half
    applied is finished first, and then is none to take back: raises as `adjusting.resume`.
    """
    with services.sessions() as session:
        if roster.organization(session, organization_id) is None:
            return NO_ORGANIZATION
        found = only_subscription(session, organization_id)
    if isinstance(found, Refuse):
        return found
    with exclusive_within(services.engine, f"sub:{found}", _LOCK_WAIT_S) as mine:
        if not mine:
            return IN_PROGRESS
        with services.sessions() as session:
            pending = adjustments.pending(session, found)
        if pending:
            with suppress(StripeRejected):  # it was recorded as failed: the change still waits
                adjusting.resume(services, pending)
        with services.sessions.begin() as session:
            return _withdraw(session, organization_id, found, actor)


def _withdraw(
    session: Session, organization_id: str, subscription_id: str, actor: Actor
) -> Approved | Refuse:
    waits = _waits(session, subscription_id)
    if waits is None:
        return Refuse(
            code="nothing_waits",
            message="No approved change waits for the next cycle",
            remedies=("look at the contract: it may be in force", "approve another change"),
        )
    renewals.withdraw(session, subscription_id, f"withdrawn by {actor.who}: {actor.because}")
    audit.record(
        session,
        actor,
        "contract.change_withdrawn",
        subscription_id,
        organization_id=organization_id,
        before={"seats": dict(waits.quantities), "from": waits.period_end.isoformat()},
    )
    return waits


def put_in_force(services: Services, subscription_id: str, due: Due) -> str:
    """Record as agreed what was approved and is in Stripe already; returns a line that says so.

    Somebody set it there before its hour. Compared with the old contract it would be a drift for
    ever. The caller holds the subscription's lock.
    """
    with services.sessions.begin() as session:
        held = subscriptions.held(session, subscription_id)
        assert held is not None
        roster.lock_organization(session, held.organization_id)
        before = store.in_force(session, held.organization_id)
        told = f"{due.line}; Stripe has it already"
        store.change(
            session, held.organization_id, due.actor, due.found, adjustment_id=None, because=told
        )
        subscriptions.write_quantities(session, subscription_id, due.found)
        renewals.leave_out(session, subscription_id, due.found, through=due.trigger, outcome=told)
        audit.record(
            session,
            due.actor,
            "contract.changed",
            subscription_id,
            organization_id=held.organization_id,
            before=_as_json(before),
            after={"quantities": dict(due.found)},
        )
    return told
