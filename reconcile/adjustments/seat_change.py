"""A person's change of seats: previewed, confirmed, applied as one update (B1-B7, B10, A6, A7).

What was previewed is what is applied: the confirmation names the second it was prorated from and a
fingerprint of everything the amounts depend on. If any of it has changed, nothing is written and
the person is asked to look again. An inbox row is written with the intent, so that a crash in the
middle leaves work that comes due.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconcile import facts, seeing
from reconcile.adjustments import adjusting, preparing, renewals, spacing
from reconcile.adjustments.quote import Case, Confirmation, Preview, fingerprint_of, plain, quote
from reconcile.database import exclusive
from reconcile.errors import StripeRejected
from reconcile.policy.seat_change import ChangeFacts, Wanted, decide_change, refuse_by_plan
from reconcile.policy.values import Change, Keep, Refuse
from reconcile.services import Services
from reconcile.store import adjustments, inbox, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store import work as work_store
from reconcile.store.adjustments import Adjustment, Intent
from reconcile.store.work import ClaimedEvent
from reconcile.stripe_api import FloorBroken

TYPE = "trueup.seats.change"
PREVIEW_LASTS = timedelta(minutes=30)
_LOCK_WAIT_S = 10.0
_LOCK_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A change that was made, or is planned for the renewal; `line` says it to a person."""

    line: str
    adjustment: Adjustment | None = None
    at_renewal: datetime | None = None


def preview(
    services: Services, organization_id: str, wanted: Wanted, *, actor: str
) -> Preview | Keep | Refuse:
    """Return what the change would do to the minor unit, Keep when Stripe need not change, or why
    it may not happen. Writes nothing to Stripe."""
    case = _read(services, organization_id, wanted)
    if isinstance(case, Refuse):
        return case
    change = _decide(services, case, wanted)
    if not isinstance(change, Change):
        return change
    intent = _prepare(services, case, change, wanted, actor, None)
    return quote(services.catalog, case, wanted, change, intent)


def apply(
    services: Services,
    organization_id: str,
    wanted: Wanted,
    *,
    confirmed: Confirmation,
    actor: str,
) -> Applied | Refuse:
    """Make the confirmed change and return what was done, or why nothing was.

    Raises RetryLater kinds when Stripe's answer is unknown: the change is then finished or given up
    by a worker, exactly once either way.
    """
    found = _only_subscription(services, organization_id, wanted)
    if isinstance(found, Refuse):
        return found
    with _locked(services, found) as mine:
        if not mine:
            return _in_progress()
        with services.sessions() as session:
            pending = adjustments.pending(session, found)
        if pending:
            adjusting.resume(services, pending)
        case = _read(services, organization_id, wanted)
        if isinstance(case, Refuse):
            return case
        change = _decide(services, case, wanted)
        if isinstance(change, Refuse):
            return change
        if isinstance(change, Keep):
            return _only_moves(services, organization_id, wanted, change)
        return _apply(services, case, wanted, change, confirmed, actor)


def _apply(  # noqa: PLR0913, PLR0917 - one confirmed request
    services: Services,
    case: Case,
    wanted: Wanted,
    change: Change,
    confirmed: Confirmation,
    actor: str,
) -> Applied | Refuse:
    since = confirmed.prorated_from
    if stale := _stale(services, case, since):
        return _look_again(stale)
    intent = _prepare(services, case, change, wanted, actor, since)
    if fingerprint_of(case, wanted, intent) != confirmed.fingerprint:
        return _look_again("Members, seats or prices have changed since the preview")
    if change.at_renewal:
        at = renewals.approve(services, case.subscription, change)
        return Applied(line=f"{change.reason}; from {at.isoformat()}", at_renewal=at)
    with services.sessions() as session:
        held = spacing.held_back(
            session, case.subscription.id, change, now=services.clock(), retry_declined=True
        )
    if held:
        return Refuse(code="limit", message=held.line, remedies=("try again later",))
    return _carry_out(services, case, wanted, intent, actor)


def _stale(services: Services, case: Case, since: datetime | None) -> str | None:
    if since is None:
        return None
    if preparing.now_of(services, case.subscription) - since > PREVIEW_LASTS:
        return "The preview is too old"
    start = case.subscription.period_start
    return "A new billing period has begun" if start and since < start else None


def _carry_out(
    services: Services, case: Case, wanted: Wanted, intent: Intent, actor: str
) -> Applied | Refuse:
    lease = timedelta(seconds=services.settings.job_timeout_s)
    try:
        with services.sessions.begin() as session:
            adjustment = adjusting.intend(session, services, intent)
            request_id = inbox.add_request(
                session,
                type=TYPE,
                work_key=f"sub:{case.subscription.id}",
                organization_id=case.known.organization_id,
                payload={"actor": actor, "adjustment": adjustment.id, "wanted": plain(wanted)},
                due_at=services.clock() + lease,
            )
    except FloorBroken as error:
        return _look_again(error.detail)
    try:
        done = adjusting.carry_out(services, adjustment).adjustment
    except StripeRejected as error:
        done = replace(adjustment, state="failed", outcome=str(error))
    with services.sessions.begin() as session:
        work_store.finish(session, [_claimed(request_id)], outcome=done.outcome or done.state)
    if done.state == "applied":
        return Applied(line=done.outcome or "", adjustment=done)
    if done.state == "refused":
        return Refuse(
            code="payment_declined",
            message=done.outcome or "The payment was declined",
            remedies=("update the card in the billing portal, then try again",),
        )
    return _look_again(done.outcome or "Stripe did not take the change")


def _only_moves(
    services: Services, organization_id: str, wanted: Wanted, keep: Keep
) -> Applied | Refuse:
    """Move members between pools that have room; nothing is written to Stripe (B6)."""
    if not wanted.moves:
        return Applied(line=keep.reason)
    with services.sessions.begin() as session:
        roster_store.lock_organization(session, organization_id)
        if not _still_there(services, organization_id, wanted):
            return _look_again("A member who should move has changed")
        adjusting.move_members(session, organization_id, wanted.moves)
    return Applied(line=f"{len(wanted.moves)} moved, nothing to change in Stripe")


def _read(services: Services, organization_id: str, wanted: Wanted) -> Case | Refuse:
    """Fetch the organization's one subscription, record it, and gather the facts."""
    found = _only_subscription(services, organization_id, wanted)
    if isinstance(found, Refuse):
        return found
    seen = seeing.fetched(services, found)
    with services.sessions.begin() as session:
        organization = roster_store.organization(session, organization_id)
        assert organization is not None
        recorded = facts.record(session, services, seen, organization)
        known, _ = facts.of_subscription(session, services, found, recorded.problems, fetched=True)
    subscription = seen.subscription
    return Case(
        subscription=subscription,
        known=known,
        plan=organization.plan,
        facts=ChangeFacts(
            rules=known.rules,
            standing=known.standing,
            seats=known.seats,
            interval=next((item.interval for item in subscription.items), None),
            intervals=services.catalog.intervals(organization.plan, subscription.currency),
            in_flight=known.adjustment_in_flight or known.pending_update,
            counts_problem=known.counts_problem,
            schedule_managed=known.schedule_managed,
        ),
    )


def _only_subscription(services: Services, organization_id: str, wanted: Wanted) -> str | Refuse:
    # The plan is asked first: one of own seats has many subscriptions, one of included seats none
    # with seats, and neither is to be mended.
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        if organization:
            rules = services.catalog.plan(organization.plan).rules
            if refused := refuse_by_plan(rules, wanted):
                return refused
        held = subscriptions.of_organization(session, organization_id)
        with_seats = [each.id for each in held if subscriptions.seats_of(session, each.id)]
    if len(with_seats) == 1:
        return with_seats[0]
    if with_seats:
        return Refuse(
            code="several_subscriptions",
            message=f"{len(with_seats)} live subscriptions where there may be one",
            remedies=("have support cancel the others",),
        )
    return Refuse(
        code="no_subscription",
        message="There is no live subscription to change",
        remedies=("subscribe first",),
    )


def _decide(services: Services, case: Case, wanted: Wanted) -> Change | Keep | Refuse:
    if wanted.moves and services.roster.view is not None:
        return Refuse(
            code="members_elsewhere",
            message="Members are kept by the host application: move them there",
        )
    if not _still_there(services, case.known.organization_id, wanted):
        return _look_again("A member who should move is not active in that seat type")
    return decide_change(case.facts, wanted)


def _still_there(services: Services, organization_id: str, wanted: Wanted) -> bool:
    with services.sessions() as session:
        for move in wanted.moves:
            member = roster_store.member(session, organization_id, move.member_id)
            if member is None:
                return False
            if (member.status, member.seat_type) != ("active", move.from_seat_type):
                return False
    return True


def _prepare(  # noqa: PLR0913, PLR0917 - one request
    services: Services,
    case: Case,
    change: Change,
    wanted: Wanted,
    actor: str,
    since: datetime | None,
) -> Intent:
    return preparing.prepare(
        services,
        case.subscription,
        change,
        trigger=actor,
        active=case.facts.active_after(wanted.moves),
        at=since,
        moves=wanted.moves,
    )


@contextmanager
def _locked(services: Services, subscription_id: str) -> Iterator[bool]:
    """Hold the subscription's lock, waiting for a worker that has it; False after a while."""
    until = time.monotonic() + _LOCK_WAIT_S
    while True:
        with exclusive(services.engine, f"sub:{subscription_id}") as mine:
            if mine or time.monotonic() >= until:
                yield mine
                return
        time.sleep(_LOCK_POLL_S)


def _claimed(request_id: str) -> ClaimedEvent:
    return ClaimedEvent(
        id=request_id,
        kind="request",
        type=TYPE,
        api_version=None,
        stripe_created_at=None,
        error_class=None,
        attempts=0,
    )


def _in_progress() -> Refuse:
    return Refuse(
        code="in_progress",
        message="Another change of this subscription is under way",
        remedies=("try again when it is done",),
    )


def _look_again(why: str) -> Refuse:
    return Refuse(
        code="changed_meanwhile",
        message=f"{why}: nothing was changed",
        remedies=("look at the new preview and confirm again",),
    )
