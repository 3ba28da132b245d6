"""Contracts: what an account manager recorded, and the approved change that waits (A6, A7).

A change of a contract is a change of seats like any other, asked by an account manager
(`seat_change`); here is what it is measured against, and how one that waits is taken back, or found
in Stripe already. Nothing in here writes to Stripe, but for finishing what was begun.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP, Actor
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
    inbox,
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
    return Standing(
        contract=store.in_force(session, organization_id),
        approved=_as_one(session, renewals.approved_of(session, organization_id)),
    )


def _as_one(session: Session, waits: tuple[Approved, ...]) -> Approved | None:
    """Return what waits as one: of two that name a seat type the later one counts."""
    if not waits:
        return None
    last = waits[-1]
    quantities = {name: count for each in waits for name, count in each.quantities.items()}
    reasons = "; ".join(each.approved for each in waits)
    period_end = _takes_effect(session, last)
    return replace(last, quantities=quantities, approved=reasons, period_end=period_end)


def _takes_effect(session: Session, waits: Approved) -> datetime:
    """Return the end of the period that it waits for, which may be another one by now."""
    held = subscriptions.held(session, waits.subscription_id)
    if held is None or held.current_period_start is None or held.current_period_end is None:
        return waits.period_end
    missed = waits.period_end <= held.current_period_start
    return waits.period_end if missed else held.current_period_end


def withdraw(services: Services, organization_id: str, *, actor: Actor) -> Approved | Refuse:
    """Take back the approved change that waits for the next cycle, and return it (A6).

    Whoever applies it holds the same lock, so exactly one of the two happens. One that is half
    applied is finished first, and then is none to take back: raises as `adjusting.resume`.
    """
    with services.sessions() as session:
        if roster.organization(session, organization_id) is None:
            return NO_ORGANIZATION
        waits = renewals.approved_of(session, organization_id)
    # Wherever it waits: on a second subscription, or on one that is over, it is taken back as well.
    where = frozenset(each.subscription_id for each in waits)
    with ExitStack() as locks:
        for each in sorted(where):
            lock = exclusive_within(services.engine, f"sub:{each}", _LOCK_WAIT_S)
            if not locks.enter_context(lock):
                return IN_PROGRESS
        for each in sorted(where):
            with services.sessions() as session:
                pending = adjustments.pending(session, each)
            if pending:
                with suppress(StripeRejected):  # it was recorded as failed: the change still waits
                    adjusting.resume(services, pending)
        with services.sessions.begin() as session:
            return _withdraw(session, services, organization_id, where, actor)


def _withdraw(
    session: Session,
    services: Services,
    organization_id: str,
    where: frozenset[str],
    actor: Actor,
) -> Approved | Refuse:
    found = renewals.approved_of(session, organization_id)
    if not where.issuperset(each.subscription_id for each in found):
        return IN_PROGRESS  # the seats went to another subscription this moment
    waits = _as_one(session, found)
    if waits is None:
        return Refuse(
            code="nothing_waits",
            message="No approved change waits for the next cycle",
            remedies=("look at the contract: it may be in force", "approve another change"),
        )
    for each in where:
        because = f"withdrawn by {actor.who}: {actor.because}"
        renewals.withdraw(session, each, because, dead_letters=True)
    audit.record(
        session,
        actor,
        "contract.change_withdrawn",
        waits.subscription_id,
        organization_id=organization_id,
        before=_waited(waits),
    )
    # What was told of it (a declined card, a schedule in its way) is over.
    inbox.add_request(
        session,
        type=store.LOOK,
        work_key=f"org:{organization_id}",
        payload={},
        due_at=services.clock(),
    )
    return waits


def _waited(waits: Approved) -> dict[str, object]:
    return {"seats": dict(waits.quantities), "from": waits.period_end.isoformat()}


def follow_seats(services: Services, subscription_id: str) -> str | None:
    """Have what was approved wait where the seats are by now; returns a line that says so, or None.

    The caller holds the subscription's lock.
    """
    with services.sessions.begin() as session:
        waits = _as_one(session, renewals.approved(session, subscription_id))
        if waits is None:
            return None
        organization_id = _whose(session, subscription_id)
        roster.lock_organization(session, organization_id)
        to = only_subscription(session, organization_id)
        if isinstance(to, Refuse) or to == subscription_id:
            return None
        told = f"what was approved waits on {to}, where the seats are"
        renewals.move(session, subscription_id, to, outcome=told, due_at=services.clock())
        audit.record(
            session,
            replace(TRUEUP, because=told),
            "contract.change_moved",
            subscription_id,
            organization_id=organization_id,
            before=_waited(waits),
            after={"subscription": to},
        )
    return told


def call_to_seats(services: Services, subscription_id: str) -> None:
    """Have what was approved and waits elsewhere looked at, if the seats are on this one by now.

    Whoever works that off has it follow the seats, under that subscription's lock. Nothing else
    settles one that was over before this one was heard of.
    """
    with services.sessions.begin() as session:
        held = subscriptions.held(session, subscription_id)
        organization = roster.organization(session, held.organization_id) if held else None
        if organization is None:
            return
        if services.catalog.plan(organization.plan).rules.policy != SeatPolicy.CONTRACT:
            return  # one of own seats has thousands of subscriptions, and nothing is approved
        waits = renewals.approved_of(session, organization.id)
        elsewhere = [each for each in waits if each.subscription_id != subscription_id]
        if elsewhere and only_subscription(session, organization.id) == subscription_id:
            renewals.date(session, elsewhere, services.clock())


def end_unmade(services: Services, subscription_id: str, because: str) -> None:
    """Write down that what was approved and waits is not made: its hour was here, and why.

    The subscription is over, say, or the plan has no contract any more. The caller holds its lock.
    """
    with services.sessions.begin() as session:
        waits = _as_one(session, renewals.approved(session, subscription_id))
        if waits is None:
            return
        renewals.withdraw(session, subscription_id, because)
        audit.record(
            session,
            replace(TRUEUP, because=because),
            "contract.change_ended",
            subscription_id,
            organization_id=_whose(session, subscription_id),
            before=_waited(waits),
        )


def _whose(session: Session, subscription_id: str) -> str:
    held = subscriptions.held(session, subscription_id)
    assert held is not None, "what was approved is of a recorded subscription"
    return held.organization_id


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
        renewals.leave_out(
            session, held.organization_id, due.found, through=due.trigger, outcome=told
        )
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
