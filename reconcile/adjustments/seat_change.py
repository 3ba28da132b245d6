"""A person's change of seats: previewed, confirmed, applied as one update (B1-B7, B10, A6, A7).

What was shown is what is applied. A preview is a row: what was asked, the second it is prorated
from, and a fingerprint of everything its amounts depend on. Applying reads all of it again; if any
of it has changed, nothing is written and a fresh preview is handed back. An inbox row is written
with the intent, so that a crash in the middle leaves work that comes due, and the preview names its
adjustment: whoever applies it again, at once or after a crash, is answered with what became of it.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.adjustments import (
    adjusting,
    consequences,
    holding,
    preparing,
    renewals,
    spacing,
)
from reconcile.adjustments.case import IN_PROGRESS, Case, decide, read, refuse_full, refuse_moves
from reconcile.adjustments.quote import Quote, fingerprint_of, plain, quote, wanted_of
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive_within
from reconcile.errors import StripeRejected
from reconcile.policy.seat_change import Requester, Wanted
from reconcile.policy.values import Change, Keep, Proration, Refuse
from reconcile.services import Services
from reconcile.store import adjustments, audit, inbox, previews, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store import work as work_store
from reconcile.store.adjustments import Adjustment, Intent
from reconcile.store.previews import Shown
from reconcile.store.work import ClaimedEvent
from reconcile.stripe_api import FloorBroken

TYPE = "trueup.seats.change"
PREVIEW_LASTS = timedelta(minutes=30)
LOCK_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A quote that may be applied by its id until it expires."""

    id: str
    organization_id: str
    wanted: Wanted
    quote: Quote
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A change that was made, or is planned for the renewal; `line` says it to a person."""

    line: str
    adjustment: Adjustment | None = None
    at_renewal: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A preview that does not hold any more: nothing was changed. `fresh` is how things are now."""

    refusal: Refuse
    fresh: Preview | Keep | Refuse


def preview(
    services: Services, organization_id: str, wanted: Wanted, *, actor: Actor
) -> Preview | Keep | Refuse:
    """Return what the change would do to the minor unit, Keep when there is nothing to do, or why
    it may not happen. Writes nothing to Stripe."""
    case = read(services, organization_id, wanted, actor)
    if isinstance(case, Refuse):
        return case
    return _shown(services, case, wanted, actor)


def apply(
    services: Services,
    organization_id: str,
    preview_id: str,
    *,
    actor: Actor,
    by: Requester = Requester.CUSTOMER,
) -> Applied | Stale | Refuse:
    """Make the change as it was shown and return what was done, or why nothing was.

    What an account manager was shown only an account manager applies: `by` says who asks (A6).
    Raises RetryLater kinds when Stripe's answer is unknown: the change is then finished or given up
    by a worker, exactly once either way, and applying again tells how it ended.
    """
    with services.sessions() as session:
        shown = previews.by_id(session, organization_id, preview_id)
    if shown is None or shown.wanted["by"] != by:
        return Refuse(
            code="not_found",
            message="There is no such preview",
            remedies=("look at a new preview",),
        )
    with exclusive_within(services.engine, f"sub:{shown.subscription_id}", LOCK_WAIT_S) as mine:
        if not mine:
            return IN_PROGRESS
        with services.sessions() as session:
            pending = adjustments.pending(session, shown.subscription_id)
        if pending:
            adjusting.resume(services, pending)
        return _answered(services, shown) or _apply(services, shown, actor)


def _answered(services: Services, shown: Shown) -> Applied | None:
    """Return the answer to a preview that was applied before, read under the lock; else None."""
    with services.sessions() as session:
        now = previews.by_id(session, shown.organization_id, shown.id)
        assert now is not None
        made = adjustments.by_id(session, now.adjustment_id) if now.adjustment_id else None
    if made is not None and made.state == "applied":
        return Applied(line=made.outcome or made.reason, adjustment=made)
    if now.outcome is None:
        return None
    at_renewal = now.outcome["at_renewal"]
    return Applied(
        line=now.outcome["line"],
        at_renewal=datetime.fromisoformat(at_renewal) if at_renewal else None,
    )


def _apply(services: Services, shown: Shown, actor: Actor) -> Applied | Stale | Refuse:
    wanted = wanted_of(shown.wanted)
    case = read(services, shown.organization_id, wanted, actor)
    if isinstance(case, Refuse):
        return case
    if expired := _expired(services, case, shown):
        return _stale(services, case, wanted, actor, "preview_expired", expired)
    change = decide(services, case, wanted)
    if isinstance(change, Refuse):
        return change
    intent = _prepared(services, case, change, wanted, actor, shown.prorated_from)
    if fingerprint_of(case, wanted, intent) != shown.fingerprint:
        why = "Members, seats or prices have changed since the preview"
        return _stale(services, case, wanted, actor, "preview_stale", why)
    return _make(services, case, shown, change, intent, actor)


def _make(  # noqa: PLR0913, PLR0917 - one confirmed request
    services: Services,
    case: Case,
    shown: Shown,
    change: Change | Keep,
    intent: Intent | None,
    actor: Actor,
) -> Applied | Stale | Refuse:
    """Do what was shown, by the way it takes: in the roster, at the renewal, or in Stripe now."""
    wanted = wanted_of(shown.wanted)
    if isinstance(change, Keep) or intent is None:
        return _only_moves(services, shown, wanted, actor)
    if change.at_renewal:
        return _plan(services, case, shown, change, actor)
    with services.sessions() as session:
        if paused := holding.refuse_paused(session, shown.organization_id):
            return paused
        held = spacing.held_back(
            session, case.subscription.id, change, now=services.clock(), retry_declined=True
        )
    if held:
        return Refuse(code="limit", message=held.line, remedies=("try again later",))
    try:
        return _carry_out(services, shown, intent, actor)
    except FloorBroken as error:
        return _stale(services, case, wanted, actor, "preview_stale", error.detail)


def _expired(services: Services, case: Case, shown: Shown) -> str | None:
    """Return why the preview is too old, by our clock or by the subscription's own; or None."""
    since, start = shown.prorated_from, case.subscription.period_start
    if since is not None and start is not None and since < start:
        return "A new billing period has begun"
    now = preparing.now_of(services, case.subscription)
    if services.clock() >= shown.expires_at or (since and now - since >= PREVIEW_LASTS):
        return "The preview is too old"
    return None


def _stale(  # noqa: PLR0913, PLR0917 - one request that has to be looked at again
    services: Services, case: Case, wanted: Wanted, actor: Actor, code: str, why: str
) -> Stale:
    return Stale(
        refusal=Refuse(
            code=code,
            message=f"{why}: nothing was changed",
            remedies=("look at the new preview and confirm again",),
        ),
        fresh=_shown(services, case, wanted, actor),
    )


def _shown(services: Services, case: Case, wanted: Wanted, actor: Actor) -> Preview | Keep | Refuse:
    """Decide, price and write down one preview."""
    change = decide(services, case, wanted)
    if isinstance(change, Refuse) or (isinstance(change, Keep) and not wanted.moves):
        return change
    # Taken before Stripe is asked: the promise must not outlast the second it prorates from.
    expires_at = services.clock().replace(microsecond=0) + PREVIEW_LASTS
    intent = _prepared(services, case, change, wanted, actor, None)
    found = quote(services.catalog, case, wanted, change, intent)
    with services.sessions.begin() as session:
        preview_id = previews.add(
            session,
            organization_id=case.known.organization_id,
            subscription_id=case.subscription.id,
            wanted=plain(wanted),
            shown=orjson.loads(orjson.dumps(asdict(found))),
            fingerprint=fingerprint_of(case, wanted, intent),
            prorated_from=intent.proration_date if intent else None,
            actor=actor,
            expires_at=expires_at,
        )
    return Preview(
        id=preview_id,
        organization_id=case.known.organization_id,
        wanted=wanted,
        quote=found,
        expires_at=expires_at,
    )


def _prepared(  # noqa: PLR0913, PLR0917 - one request
    services: Services,
    case: Case,
    change: Change | Keep,
    wanted: Wanted,
    actor: Actor,
    since: datetime | None,
) -> Intent | None:
    """Return the update as Stripe would be sent it, pinned to `since`; None where none is."""
    if isinstance(change, Keep):
        return None
    return preparing.prepare(
        services,
        case.subscription,
        change,
        trigger=actor.who,
        actor=actor,
        active=case.facts.active_after(wanted.moves),
        at=since if change.proration != Proration.NONE else None,
        moves=wanted.moves,
    )


def _carry_out(services: Services, shown: Shown, intent: Intent, actor: Actor) -> Applied | Refuse:
    lease = timedelta(seconds=services.settings.job_timeout_s)
    with services.sessions.begin() as session:
        adjustment = adjusting.intend(session, services, intent)
        previews.sent(session, shown.id, adjustment.id)
        request_id = inbox.add_request(
            session,
            type=TYPE,
            work_key=f"sub:{shown.subscription_id}",
            organization_id=shown.organization_id,
            payload={"actor": actor.who, "adjustment": adjustment.id, "preview": shown.id},
            due_at=services.clock() + lease,
        )
    try:
        done = adjusting.carry_out(services, adjustment).adjustment
    except StripeRejected:
        # Recorded as failed before it was raised.
        with services.sessions() as session:
            found = adjustments.by_id(session, adjustment.id)
        assert found is not None
        done = found
    answer = _answer(done)
    crash_point(CrashPoint.BEFORE_FINISH)
    with services.sessions.begin() as session:
        work_store.finish(session, [_claimed(request_id)], outcome=done.outcome or done.state)
        if isinstance(answer, Applied):
            _note_applied(session, services, shown, answer)
    return answer


def _answer(done: Adjustment) -> Applied | Refuse:
    if done.state == "applied":
        return Applied(line=done.outcome or done.reason, adjustment=done)
    if done.state == "refused":
        return Refuse(
            code="payment_declined",
            message=done.outcome or "The payment was declined",
            remedies=("update the card in the billing portal, then try again",),
        )
    return Refuse(
        code="not_taken",
        message=f"{done.outcome or 'Stripe did not take the change'}: nothing was changed",
        remedies=("look at a new preview",),
    )


def _plan(services: Services, case: Case, shown: Shown, change: Change, actor: Actor) -> Applied:
    """Remember an approved change for the next cycle (A6)."""
    now = preparing.now_of(services, case.subscription)
    with services.sessions.begin() as session:
        at = renewals.approve(session, services, case.subscription, change, actor=actor, now=now)
        answer = Applied(line=f"{change.reason}; from {at.isoformat()}", at_renewal=at)
        audit.record(
            session,
            actor,
            "contract.change_approved",
            case.subscription.id,
            organization_id=shown.organization_id,
            before={"seats": {s: case.facts.quantities()[s] for s in change.quantities}},
            after={"seats": dict(change.quantities), "from": at.isoformat()},
        )
        _note_applied(session, services, shown, answer)
    return answer


def _only_moves(services: Services, shown: Shown, wanted: Wanted, actor: Actor) -> Applied | Refuse:
    """Move members between pools that have room; nothing is written to Stripe (B6)."""
    with services.sessions.begin() as session:
        roster_store.lock_organization(session, shown.organization_id)
        organization = roster_store.organization(session, shown.organization_id)
        assert organization is not None
        rules = services.catalog.plan(organization.plan).rules
        if refused := refuse_moves(session, rules, organization.id, wanted.moves):
            return refused
        counts = services.roster.counts(session, organization.id)
        seats = subscriptions.seats_of(session, shown.subscription_id)
        if refused := refuse_full(rules, counts, seats, wanted.moves):
            return refused
        consequences.move_members(session, services, organization.id, wanted.moves, actor, shown.id)
        # No event of Stripe's comes after it: what the counts open or close is seen by this look.
        inbox.add_request(
            session,
            type=roster_store.ROSTER_CHANGED,
            work_key=f"org:{organization.id}",
            payload={"what": "member.seat_type_changed", "actor": actor.who, "preview": shown.id},
            due_at=services.clock(),
        )
        answer = Applied(line=f"{len(wanted.moves)} moved, nothing to change in Stripe")
        _note_applied(session, services, shown, answer)
    return answer


def _note_applied(session: Session, services: Services, shown: Shown, answer: Applied) -> None:
    outcome: dict[str, Any] = {
        "line": answer.line,
        "at_renewal": answer.at_renewal.isoformat() if answer.at_renewal else None,
    }
    previews.applied(session, shown.id, outcome, at=services.clock())


def _claimed(request_id: str) -> ClaimedEvent:
    return ClaimedEvent(
        id=request_id,
        kind="request",
        type=TYPE,
        api_version=None,
        stripe_created_at=None,
        attempts=0,
    )
