"""Reconcile one subscription or organization by hand: explain without a trace, or do it.

Explaining runs the same functions as settling, in a transaction that is rolled back, and asks
Stripe what a change would cost. Doing it puts a request into the inbox and works it off right here,
so that it is on record like everything else.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from reconcile import facts, seeing
from reconcile.actor import Actor
from reconcile.adjustments import holding, preparing, renewals, spacing
from reconcile.errors import StripeGone, TrueupError
from reconcile.operating.repairing import LOOK_AGAIN
from reconcile.policy.activation import capacity
from reconcile.policy.reconciliation import reconcile, reconcile_organization
from reconcile.policy.values import Change, Observation, Refuse, SeatPolicy, Verdict
from reconcile.services import Services
from reconcile.settling.considered import considered, decision_values
from reconcile.settling.work import work_off
from reconcile.store import adjustments, audit, look, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.inbox import add_request
from reconcile.store.look import Event
from reconcile.stripe_shapes import StripeSubscription

# An organization of own seats has one for each member: so many are explained.
MOST_SUBSCRIPTIONS = 50
WAIT_S = 60.0
_LOOK_EVERY_S = 0.1
# It becomes a part of a path, and a key that locks: `sub_1?x` would read sub_1 under another lock.
_SUBSCRIPTION_ID = re.compile(r"sub_[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One decision with its inputs. `would` says what would be written, and what it costs.

    `inputs` are the facts and the decision as `considered` tells them; `findings` the lines of what
    would be open.
    """

    subject: str
    inputs: Mapping[str, Any]
    findings: tuple[Mapping[str, Any], ...] = ()
    would: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None  # why it could not be decided


def explain(services: Services, named: str) -> list[Explained] | Refuse:
    """Return the decision on a subscription, or on all of an organization, and write nothing."""
    with services.sessions() as session:
        organization = roster_store.organization(session, named)
        ids = [each.id for each in subscriptions.of_organization(session, named)]
        known = subscriptions.held(session, named) is not None
    if organization is None:
        if not known and not _SUBSCRIPTION_ID.fullmatch(named):
            return _unknown(named)
        return [_subscription(services, named)]
    if not ids and organization.stripe_customer_id is not None:
        page = services.stripe.subscriptions_page(customer=organization.stripe_customer_id)
        ids = [each.id for each in page.subscriptions()]
    found = [_subscription(services, each) for each in ids[:MOST_SUBSCRIPTIONS]]
    return [*found, _organization(services, named)]


def apply(
    services: Services, named: str, actor: Actor, *, wait_s: float = WAIT_S
) -> Event | Refuse:
    """Reconcile it now and return the request as it ended, or as it is after `wait_s`.

    The request is worked off here; when a worker was first, its end is waited for.
    """
    with services.sessions.begin() as session:
        organization = roster_store.organization(session, named)
        held = subscriptions.held(session, named)
        if organization is None and held is None and not _SUBSCRIPTION_ID.fullmatch(named):
            return _unknown(named)
        scope = "org" if organization else "sub"
        whose = organization.id if organization else held.organization_id if held else None
        request_id = add_request(
            session,
            type=LOOK_AGAIN,
            work_key=f"{scope}:{named}",
            payload={"actor": actor.who, "because": actor.because},
            due_at=services.clock(),
            organization_id=whose,
        )
        audit.record(
            session,
            actor,
            "reconcile.requested",
            named,
            organization_id=whose,
            after={"request": request_id},
        )
    until = time.monotonic() + wait_s
    while True:
        work_off(services, f"{scope}:{named}")
        with services.sessions() as session:
            event = look.event(session, request_id)
        assert event is not None
        tried = event.error_class is not None or event.held_by is not None
        if event.state != "pending" or tried or time.monotonic() >= until:
            return event
        time.sleep(_LOOK_EVERY_S)


def _unknown(named: str) -> Refuse:
    return Refuse(
        code="not_found",
        message=f"There is no organization and no subscription {named}",
        remedies=("trueup organizations list",),
    )


def _subscription(services: Services, subscription_id: str) -> Explained:
    try:
        seen = seeing.fetched(services, subscription_id)
    except StripeGone as error:
        return Explained(subject=subscription_id, inputs={}, trouble=str(error))
    with services.sessions() as session:
        # Rolled back when the session closes: nothing of what is recorded here stays.
        organization = facts.organization_of(session, services, seen.subscription)
        if organization is None or not facts.concerns_us(
            session, services, seen.subscription, organization
        ):
            why = f"no organization has {seen.subscription.customer_id}, or no seats are on it"
            return Explained(subject=subscription_id, inputs={}, trouble=why)
        recorded = facts.record(session, services, seen, organization)
        known, _ = facts.of_subscription(
            session, services, subscription_id, recorded.problems, fetched=True
        )
        verdict = reconcile(known)
        inputs = considered(known, verdict)
        pending = adjustments.pending(session, subscription_id)
        written = {c.seat_type: c.to_quantity for c in pending.changes} if pending else {}
        for seat in inputs["seats"]:
            seat["capacity"] = capacity(
                seat["bought"], seat["in_stripe"] or 0, written.get(seat["seat_type"])
            )
        inputs["in_flight"] = pending.id if pending else None
        inputs["paused"] = getattr(holding.refuse_paused(session, organization.id), "message", None)
        session.rollback()
    return Explained(
        subject=subscription_id,
        inputs=inputs,
        findings=tuple(_findings(verdict.observations)),
        would=_would(services, seen.subscription, verdict, inputs),
    )


def _would(
    services: Services,
    subscription: StripeSubscription,
    verdict: Verdict,
    inputs: Mapping[str, Any],
) -> dict[str, Any]:
    change, at = verdict.decision, None
    if not isinstance(change, Change):
        return {}
    if change.through_schedule:
        return {"nothing": "a subscription schedule drives it: change its phases in Stripe"}
    if change.at_renewal:
        plan = renewals.plan(services, subscription, change, writes=False)
        if plan.change is None:
            return {"later": plan.line}
        change, at = plan.change, plan.prorated_from
    with services.sessions() as session:
        known = subscriptions.held(session, subscription.id) is not None
        held = spacing.held_back(session, subscription.id, change, now=services.clock())
    would: dict[str, Any] = {"write": dict(change.quantities), "charged": change.proration.value}
    if held:
        would["held_back"] = held.line
    if not known:
        return would | {"cost": "not previewed: the subscription was never recorded"}
    active = {each["seat_type"]: each["active"] or 0 for each in inputs["seats"]}
    try:
        intent = preparing.prepare(
            services, subscription, change, trigger="explain", active=active, at=at
        )
    except TrueupError as error:
        return would | {"cost": f"not previewed: {error}"}
    preview = intent.preview or {}
    names = ("currency", "total_minor", "starting_balance_minor", "amount_due_minor")
    return would | {name: preview[name] for name in names if name in preview}


def _organization(services: Services, organization_id: str) -> Explained:
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        assert organization is not None
        known = facts.of_organization(session, services, organization)
    verdict = reconcile_organization(known)
    inputs = {
        "organization": organization_id,
        "plan": organization.plan,
        "policy": known.rules.policy.value,
        "active": dict(known.active),
        "counts_problem": known.counts_problem,
        "row": str(verdict.rule),
        **decision_values(verdict.decision),
    }
    found = tuple(_findings(verdict.observations))
    return Explained(subject=organization_id, inputs=inputs, findings=found)


def _findings(observations: tuple[Observation, ...]) -> Iterator[dict[str, Any]]:
    for each in observations:
        yield {
            "kind": each.kind.value,
            "about": each.seat_type or each.member_id,
            "urgent": each.urgent,
            "line": each.summary,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeroed:
    """A count that is 0 from now on. `was` is what was remembered before, `follows` a sentence."""

    organization_id: str
    was: int
    follows: str


# What a plan's policy does about seats that nobody uses.
_FOLLOWS = {
    SeatPolicy.PURCHASED: "what was bought stays bought; fewer seats are the buyer's to order",
    SeatPolicy.FOLLOW: "its seats follow the count: fewer are billed, as the plan says when",
    SeatPolicy.CONTRACT: "the contract's seats stay",
}


def confirm_zero(
    services: Services, subscription_id: str, seat_type: str, actor: Actor
) -> Refuse | Zeroed:
    """Say that a count that fell to zero is right; returns what was remembered, and what follows.

    The subscription is looked at again at once. Refused unless the roster says zero and more was
    remembered.
    """
    with services.sessions.begin() as session:
        held = subscriptions.held(session, subscription_id)
        seat = subscriptions.seats_of(session, subscription_id).get(seat_type)
        if held is None or seat is None:
            return Refuse(
                code="not_found", message=f"{subscription_id} has no {seat_type} seats on record"
            )
        roster_store.lock_organization(session, held.organization_id)
        active = _active(session, services, held.organization_id, seat_type)
        if active != 0:
            known = "cannot be read" if active is None else f"is {active}"
            return Refuse(code="not_zero", message=f"The count of {seat_type} {known}, not 0")
        before = seat.active_seen or 0
        if before == 0:
            return Refuse(code="zero_already", message=f"{seat_type} is known to be 0 already")
        subscriptions.write_active_seen(session, subscription_id, {seat_type: 0})
        audit.record(
            session,
            actor,
            "seats.zero_confirmed",
            f"{subscription_id}/{seat_type}",
            organization_id=held.organization_id,
            before={"active": before},
            after={"active": 0},
        )
        add_request(
            session,
            type=LOOK_AGAIN,
            work_key=f"sub:{subscription_id}",
            payload={"actor": actor.who, "because": actor.because},
            due_at=services.clock(),
            organization_id=held.organization_id,
        )
        organization = roster_store.organization(session, held.organization_id)
        assert organization is not None
        policy = services.catalog.plan(organization.plan).rules.policy
    return Zeroed(
        organization_id=held.organization_id,
        was=before,
        follows=_FOLLOWS.get(policy, "nothing is billed by this count"),
    )


def _active(
    session: Session, services: Services, organization_id: str, seat_type: str
) -> int | None:
    counts = services.roster.counts(session, organization_id)
    return None if counts.by_seat_type is None else counts.by_seat_type.get(seat_type, 0)
