"""Where every trigger ends: read the facts, ask the policy, make Stripe agree, say what was done.

The caller holds the lock of the work key it is working off; each subscription is settled under its
own lock besides, because it may be reached by three keys (its own, its organization's, its
customer's). No rule is in here: the policy decides, `adjusting` writes.
"""

from dataclasses import replace
from datetime import timedelta

from reconcile import facts, seeing, tracing
from reconcile.actor import TRUEUP
from reconcile.adjustments import (
    adjusting,
    contract,
    invoice_check,
    overage,
    preparing,
    renewals,
    spacing,
)
from reconcile.adjustments.renewals import Due
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.credits import grant_if_paid
from reconcile.errors import StripeGone
from reconcile.facts import Seen
from reconcile.outward.payments import tell_unpaid
from reconcile.policy.reconciliation import reconcile
from reconcile.policy.rulings import Row
from reconcile.policy.values import (
    Change,
    FindingKind,
    SeatPolicy,
    Verdict,
    Wait,
)
from reconcile.seeing import Snapshot
from reconcile.services import Services
from reconcile.settling import own_findings, own_seats
from reconcile.settling.beside import OrganizationMissing, note_organization
from reconcile.settling.considered import considered
from reconcile.settling.course import Course, Settled
from reconcile.store import adjustments, findings, roster, subscriptions
from reconcile.store.adjustments import Intent
from reconcile.store.findings import Scope
from reconcile.store.subscriptions import Held
from reconcile.stripe_api import FloorBroken
from reconcile.stripe_shapes import StripeSubscription

# A change is written, looked at again, and mostly agrees then; a person may be editing meanwhile.
MOST_ROUNDS = 4
LOOK_AGAIN = timedelta(seconds=10)
LOOK_SOME_TIME = timedelta(minutes=15)
LOOK_FOR_PLANNED = timedelta(hours=1)


@tracing.traced("settle")
def settle_subscription(  # noqa: PLR0913 - what a trigger may say, all by name
    services: Services,
    subscription_id: str,
    *,
    trigger: str,
    snapshot: Snapshot | None = None,
    writes: bool = True,
    retry_declined: bool = False,
    previews: bool = True,
    beside: bool = True,
) -> Settled:
    """Settle one subscription and return how it ended; the caller holds its lock.

    `trigger` is the event id, run or actor that the records will name. Without `writes` (a dry
    run) rows and findings are refreshed, nothing is written to Stripe and no Q is adopted. With
    `beside`, an organization of own seats is looked at as well: one of them may have lapsed.
    Raises the classes of `errors`; OrganizationMissing when nobody is known to pay for it,
    RosterUnreadable when nobody can be counted: what needs no counts is recorded all the same.
    """
    course = Course(services, subscription_id, trigger, writes, retry_declined, previews, beside)
    if writes:
        _finish_what_was_begun(course)
    with services.sessions() as session:
        held = subscriptions.held(session, subscription_id)
    try:
        seen = seeing.see(services, subscription_id, held, snapshot)
    except StripeGone:
        return _followed(course, _gone(course, held))
    settled = _followed(course, _in_rounds(course, seen))
    if writes and (granted := grant_if_paid(services, seen.subscription, trigger=trigger)):
        settled = replace(settled, line=f"{settled.line}; {granted}")
    course.need_roster()
    if writes and settled.again_at is None and _planned_waits(services, seen.subscription):
        # What holds it back passes: an unpaid invoice, a declined card. It stays planned.
        return replace(settled, again_at=services.clock() + LOOK_FOR_PLANNED)
    return settled


def _in_rounds(course: Course, seen: Seen) -> Settled:
    """Decide and write until Stripe agrees, or until there is a reason to stop."""
    services = course.services
    for _ in range(MOST_ROUNDS):
        noted = _note(course, seen)
        if isinstance(noted, Settled):
            return noted
        crash_point(CrashPoint.AFTER_FACTS)
        decision, due = noted.decision, None
        if own_findings.asks_approved(noted):
            due = renewals.approved(services, seen.subscription)
            if due and due.found and course.writes:
                seen = _put_in_force(course, seen, due)
                continue
            if due is None and course.writes:
                renewals.come_in_time(services, seen.subscription)
            owed = (due and due.change) or decision
            if noted.rule is not Row.UNCLEAR:
                _close(course, own_findings.nothing_left_of(owed))
            if noted.rule in own_findings.CONTRACT:
                decision = owed
        if isinstance(decision, Wait):
            # A pending update is told of when it ends, one way or the other, within a day.
            pending_update = seen.subscription.has_pending_update
            again_at = services.clock() + (LOOK_SOME_TIME if pending_update else LOOK_AGAIN)
            return course.ended(decision.reason, noted, again_at=again_at)
        if not isinstance(decision, Change):
            if noted.held_back and noted.held_back.at_renewal:
                # Whoever left while an invoice is unpaid is not billed for another period.
                renewals.plan(services, seen.subscription, noted.held_back, writes=course.writes)
            return course.ended(decision.reason, noted)
        if not seen.fetched:
            # Before a write nothing but Stripe's present answer will do (Law 4).
            seen = seeing.fetched(services, course.subscription_id)
            continue
        after = _change(course, seen, noted, decision, due)
        if isinstance(after, Settled):
            return after
        seen = after
    again_at = services.clock() + LOOK_AGAIN
    return course.ended("it keeps changing in Stripe", again_at=again_at)


def _followed(course: Course, settled: Settled) -> Settled:
    """Have what was approved go where the seats went: here it would be looked at for ever."""
    if not course.writes:
        return settled
    contract.call_to_seats(course.services, course.subscription_id)
    moved = contract.follow_seats(course.services, course.subscription_id)
    return replace(settled, line=f"{settled.line}; {moved}") if moved else settled


def _planned_waits(services: Services, subscription: StripeSubscription) -> bool:
    """Return whether an approved change (A6) or a planned lowering is due and not made."""
    return subscription.status not in subscriptions.ENDED and (
        renewals.approved(services, subscription) is not None
        or renewals.lowering_waits(services, subscription)
    )


def _finish_what_was_begun(course: Course) -> None:
    """Resume an adjustment in flight, and check the invoices nobody came to check."""
    with course.services.sessions() as session:
        pending = adjustments.pending(session, course.subscription_id)
        unchecked = adjustments.unchecked(session, course.subscription_id)
    for adjustment in unchecked:
        invoice_check.check_later(course.services, adjustment)
    if pending:
        resumed = adjusting.resume(course.services, pending).adjustment
        course.adjustment_id = resumed.id
        course.done.append(resumed.outcome or resumed.state)


def _gone(course: Course, held: Held | None) -> Settled:
    if held is not None and course.writes:
        at = course.services.clock()
        with course.services.sessions.begin() as session:
            subscriptions.mark_deleted(session, held.id, at)
            organization = roster.organization(session, held.organization_id)
            assert organization is not None
            own_seats.follow_payment(session, course, organization, held)
    return course.ended("Stripe knows no such subscription")


def _note(course: Course, seen: Seen) -> Verdict | Settled:
    """Record what was seen, decide, and record every finding, in one transaction."""
    services, at = course.services, course.services.clock()
    subscription = seen.subscription
    scope = Scope(organization_id=None, subscription_id=subscription.id)
    with services.sessions.begin() as session:
        organization = facts.organization_of(session, services, subscription)
        if not facts.concerns_us(session, services, subscription, organization):
            return course.ended("no seats of ours are on it")
        if organization is None:
            if subscription.status in subscriptions.ENDED:
                return course.ended("over before its organization was known")
            unknown = own_findings.unknown_customer(subscription)
            course.count(findings.observe(session, scope, unknown, at=at, opened_by=course.trigger))
        else:
            # Adopting fewer seats is a reduction: nobody may be let in on the ones there were.
            roster.lock_organization(session, organization.id)
            before = subscriptions.held(session, subscription.id)
            recorded = facts.record(session, services, seen, organization)
            own_seats.follow_payment(session, course, organization, before)
            tell_unpaid(session, services, subscription, organization)
            found, counts = facts.of_subscription(
                session, services, subscription.id, recorded.problems, fetched=seen.fetched
            )
            verdict = reconcile(found)
            course.note_roster(session, found)
            course.decided.append(considered(found, verdict))
            scope = replace(scope, organization_id=organization.id)
            judged = verdict.judged | own_findings.done_with(verdict)
            course.count(
                findings.sync(
                    session, scope, verdict.observations, judged, at=at, opened_by=course.trigger
                )
            )
            if verdict.believes_counts and counts.by_seat_type is not None:
                subscriptions.write_active_seen(session, subscription.id, counts.by_seat_type)
                overage.watch(session, services, found, subscription)
            if course.writes and not isinstance(verdict.decision, Wait):
                adopt = getattr(verdict.decision, "adopt", {})
                subscriptions.write_quantities(session, subscription.id, adopt)
    if organization is None:
        raise OrganizationMissing(f"{subscription.id} of {subscription.customer_id}")
    if course.beside and found.rules.policy == SeatPolicy.OWN_SEAT:
        note_organization(course, organization)
    return verdict


def _put_in_force(course: Course, seen: Seen, due: Due) -> Seen:
    """Record what somebody set in Stripe before its hour. Returns what to look at next.

    It is asked for first: by a snapshot on its way the quantity may be another one by now.
    """
    if not seen.fetched:
        return seeing.fetched(course.services, course.subscription_id)
    course.done.append(contract.put_in_force(course.services, course.subscription_id, due))
    return seen


def _change(
    course: Course, seen: Seen, verdict: Verdict, change: Change, due: Due | None
) -> Settled | Seen:
    """Carry out one change, or say why not now. Returns what to look at next, or how it ended."""
    services, subscription = course.services, seen.subscription
    at, actor = (due.prorated_from, due.actor) if due else (None, TRUEUP)
    if change.through_schedule:
        return _blocked_by_schedule(course, seen, verdict, change)
    if change.at_renewal:
        plan = renewals.plan(services, subscription, change, writes=course.writes)
        if plan.change is None:
            return course.ended(plan.line, verdict)
        change, at = plan.change, plan.prorated_from
    with services.sessions() as session:
        held = spacing.held_back(
            session,
            subscription.id,
            change,
            now=services.clock(),
            retry_declined=course.retry_declined,
            tries_a_day=spacing.TRIES_A_DAY,
        )
        seats = subscriptions.seats_of(session, subscription.id)
    if held:
        return course.ended(held.line, verdict, again_at=held.again_at)
    seen_active = {seat_type: seat.active_seen or 0 for seat_type, seat in seats.items()}
    active = {seat_type: seen_active.get(seat_type, 0) for seat_type in change.quantities}
    if not course.writes:
        return _dry(course, subscription, verdict, change, active)
    trigger = (due and due.trigger) or course.trigger
    intent = preparing.prepare(
        services, subscription, change, trigger=trigger, actor=actor, active=active, at=at
    )
    return _carry_out(course, verdict, intent)


def _carry_out(course: Course, verdict: Verdict, intent: Intent) -> Settled | Seen:
    services = course.services
    try:
        with services.sessions.begin() as session:
            adjustment = adjusting.intend(session, services, intent)
    except FloorBroken:
        # Somebody became active between the decision and its record: decide again.
        return seeing.fetched(services, course.subscription_id)
    outcome = adjusting.carry_out(services, adjustment)
    course.adjustment_id = adjustment.id
    course.done.append(outcome.adjustment.outcome or outcome.adjustment.state)
    if outcome.subscription is not None:
        return seeing.answered(services, outcome.subscription)
    if outcome.adjustment.state == "refused":
        course.opened += 1
        return course.ended("the payment was declined", verdict)
    return seeing.fetched(services, course.subscription_id)


def _dry(
    course: Course,
    subscription: StripeSubscription,
    verdict: Verdict,
    change: Change,
    active: dict[str, int],
) -> Settled:
    would = None
    if course.previews:
        intent = preparing.prepare(
            course.services, subscription, change, trigger=course.trigger, active=active
        )
        if intent.preview:
            would = (str(intent.preview["currency"]), int(intent.preview["total_minor"]))
    return course.ended(f"would: {change.reason}", verdict, would=would)


def _close(course: Course, kinds: frozenset[FindingKind]) -> None:
    scope = Scope(organization_id=None, subscription_id=course.subscription_id)
    at = course.services.clock()
    with course.services.sessions.begin() as session:
        course.count(findings.close(session, scope, *kinds, at=at))


def _blocked_by_schedule(course: Course, seen: Seen, verdict: Verdict, change: Change) -> Settled:
    blocked = own_findings.blocked_by_schedule(change)
    with course.services.sessions.begin() as session:
        held = subscriptions.held(session, seen.subscription.id)
        assert held is not None
        scope = Scope(organization_id=held.organization_id, subscription_id=held.id)
        at = course.services.clock()
        course.count(findings.observe(session, scope, blocked, at=at, opened_by=course.trigger))
    return course.ended(blocked.summary, verdict)
