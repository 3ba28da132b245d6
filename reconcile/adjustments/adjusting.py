"""Making Stripe agree, exactly once: record the intent, call once, record the outcome.

Between the two records anything may die. What was sent leaves a trace in Stripe (the adjustment's
id in the subscription's metadata, written by the same call), and the call has an idempotency key of
its own, so whoever comes next can tell what happened:

- the trace is there: it was applied; find its invoice and record it;
- no trace, and it was overtaken (its period is over, a person set another quantity): its key is
  spent, so that a call still on its way comes to nothing; then it is given up, and decided anew
  from what there is now;
- no trace, the key is still kept: send the same call again under the same key;
- no trace and the key is forgotten (Stripe keeps them for 24 h): it never happened;
- the key is used up (by a stored server error, or by other parameters that an earlier release
  sent) and there is no trace: a definite failure, next attempt.

Raises are sent with `payment_behavior=error_if_incomplete`: a declined card answers 402 and leaves
the subscription as it was. `pending_if_incomplete` would let the buyer authenticate within 23
hours, but Stripe takes no metadata with it, so the call would leave no trace, and the quantity
would hang between two values meanwhile. A card that asks for authentication therefore counts as
declined; the outcome says so, and the buyer confirms in the customer portal.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from reconcile import facts, metrics, seeing, tracing
from reconcile.adjustments import consequences, holding, invoice_check
from reconcile.adjustments.case import refuse_moves
from reconcile.adjustments.outcome import applied_line
from reconcile.adjustments.preparing import update_of
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.errors import (
    CardDeclined,
    OutcomeUnknown,
    RetryLater,
    StripeGone,
    StripeRejected,
)
from reconcile.log import learned
from reconcile.policy.seat_change import Move
from reconcile.policy.values import FindingKind, Observation
from reconcile.roster import Counts
from reconcile.services import Services
from reconcile.store import adjustments as store
from reconcile.store import findings, roster, subscriptions
from reconcile.store.adjustments import Adjustment, Intent
from reconcile.store.findings import Scope
from reconcile.stripe_api import FloorBroken
from reconcile.stripe_errors import StoredFailure
from reconcile.stripe_shapes import TRACE, StripeInvoice, StripeSubscription

# Stripe keeps a key for at least 24 hours; an hour before that it is no longer relied on.
KEY_KEPT = timedelta(hours=23)
MOST_ATTEMPTS = 5

# Stripe's code for the subscription or an item of it that is not there: it was just previewed, so
# somebody took it out meanwhile, and it is decided again.
GONE = "resource_missing"

log = structlog.get_logger()


class AdjustmentInFlight(RetryLater):
    """Another adjustment of this subscription is in flight."""


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """An adjustment after a call, and the subscription as the call left it, if it was applied."""

    adjustment: Adjustment
    subscription: StripeSubscription | None = None


def intend(session: Session, services: Services, intent: Intent) -> Adjustment:
    """Record the intent under the organization's lock; the caller commits, then carries it out.

    From the commit on its quantities count as capacity. A reduction is checked against the counts
    read here, under the lock that activations take: nobody slips in between. So is whether who
    moves with it still can (B7). Raises FloorBroken, AdjustmentInFlight and Paused.
    """
    holding.guard(session, intent.organization_id)
    roster.lock_organization(session, intent.organization_id)
    organization = roster.organization(session, intent.organization_id)
    assert organization is not None
    rules = services.catalog.plan(organization.plan).rules
    if refused := refuse_moves(session, rules, organization.id, intent.moves):
        raise FloorBroken(refused.message)
    counts, active_after = _after_moves(session, services, organization.id, intent.moves)
    for change in intent.changes:
        active = active_after.get(change.seat_type)
        if change.lowers and (active is None or active > change.to_quantity):
            known = counts.problem or f"{active} active"
            raise FloorBroken(f"{change.seat_type}: {known}, {change.to_quantity} wanted")
    if store.pending(session, intent.subscription_id):
        raise AdjustmentInFlight(intent.subscription_id)
    return store.add(session, intent, called_at=services.clock())


@tracing.traced("adjust")
def carry_out(services: Services, adjustment: Adjustment) -> CarriedOut:
    """Call Stripe once and record what became of it: applied, refused (declined) or failed.

    Raises, leaving the adjustment pending to be resumed: OutcomeUnknown, StripeRateLimited,
    StripeKeyRefused, Paused. Raises StripeRejected after recording a failure that will repeat
    itself.
    """
    crash_point(CrashPoint.AFTER_INTENT)
    with services.sessions() as session:
        holding.guard(session, adjustment.organization_id)
    learned(adjustment=adjustment.id, organization=adjustment.organization_id)
    tracing.tell(adjustment=adjustment.id, organization=adjustment.organization_id)
    log.info("adjusting", adjustment=adjustment.id, attempt=adjustment.attempt)
    try:
        answer = services.stripe.update_subscription(
            adjustment.subscription_id,
            update_of(adjustment, _floors(services, adjustment)),
            adjustment_id=adjustment.id,
            idempotency_key=adjustment.idempotency_key,
        )
    except FloorBroken as error:
        return _failed(services, adjustment, str(error))
    except CardDeclined as error:
        return _declined(services, adjustment, error)
    except StripeRejected as error:
        done = _failed(services, adjustment, str(error), error)
        if error.code == GONE:
            return done
        raise
    except StoredFailure as error:
        return _after_stored_failure(services, adjustment, error)
    crash_point(CrashPoint.AFTER_CALL)
    if answer.replayed:
        # As old as its key; and it was an earlier request that made the change.
        subscription = services.stripe.subscription(adjustment.subscription_id)
        return _applied(services, adjustment, subscription, answer.invoice, None)
    return _applied(services, adjustment, answer.subscription, answer.invoice, answer.request_id)


def resume(services: Services, adjustment: Adjustment) -> CarriedOut:
    """Find out what became of a pending adjustment and finish it. Raises as `carry_out`."""
    try:
        subscription = services.stripe.subscription(adjustment.subscription_id)
    except StripeGone as error:
        return _failed(services, adjustment, str(error), error)
    if subscription.metadata.get(TRACE) == adjustment.id:
        return _found(services, adjustment, subscription)
    assert adjustment.called_at is not None
    outdated = _outdated(adjustment, subscription)
    key_kept = services.clock() - adjustment.called_at < KEY_KEPT
    if key_kept and not (outdated and _cut_off(services, adjustment)):
        return carry_out(services, adjustment)
    # Too late to send it again: what it was decided from is over, or the key is forgotten.
    # Somebody may have cleared the subscription's metadata; the invoice keeps its copy.
    if invoice := invoice_check.find_invoice(services.stripe, adjustment, subscription):
        return _applied(services, adjustment, subscription, invoice, None)
    return _failed(services, adjustment, outdated or "Stripe has no trace of it: it never happened")


def _cut_off(services: Services, adjustment: Adjustment) -> bool:
    """Keep a call that was never answered from taking effect after it is given up.

    Returns False when its key was used: Stripe has an answer to it, or is still at work on it.
    """
    with services.sessions() as session:
        holding.guard(session, adjustment.organization_id)
    spent = services.stripe.spend_key(
        adjustment.subscription_id,
        adjustment_id=adjustment.id,
        idempotency_key=adjustment.idempotency_key,
    )
    crash_point(CrashPoint.AFTER_CUT_OFF)
    return spent


def _outdated(adjustment: Adjustment, subscription: StripeSubscription) -> str | None:
    """Return why a change that left no trace must not be sent any more, or None.

    The subscription is over. Or its period is: what was to be free of charge, or prorated in it, is
    neither in the next one. Or a person set another quantity since: sent again, a raise could lower
    it below the members who are active by now.
    """
    if subscription.status in subscriptions.ENDED:
        return "Stripe has no trace of it, and the subscription is over"
    started, since = subscription.period_start, adjustment.proration_date
    if started is not None and since is not None and since < started:
        return "Stripe has no trace of it, and its billing period is over"
    for change in adjustment.changes:
        item = subscription.item(change.item_id) if change.item_id else None
        if item is not None and item.quantity not in {change.from_quantity, change.to_quantity}:
            return (
                f"Stripe has no trace of it, and its {change.seat_type} seats were set "
                f"to {item.quantity} meanwhile"
            )
    return None


def _found(
    services: Services, adjustment: Adjustment, subscription: StripeSubscription
) -> CarriedOut:
    invoice = invoice_check.find_invoice(services.stripe, adjustment, subscription)
    return _applied(services, adjustment, subscription, invoice, None)


def _after_stored_failure(
    services: Services, adjustment: Adjustment, error: StoredFailure
) -> CarriedOut:
    subscription = services.stripe.subscription(adjustment.subscription_id)
    if subscription.metadata.get(TRACE) == adjustment.id:
        return _found(services, adjustment, subscription)
    if outdated := _outdated(adjustment, subscription):
        return _failed(services, adjustment, outdated)
    if adjustment.attempt >= MOST_ATTEMPTS:
        return _failed(services, adjustment, f"{adjustment.attempt} attempts: {error}", error)
    with services.sessions.begin() as session:
        again = store.next_attempt(session, adjustment.id, called_at=services.clock())
    crash_point(CrashPoint.AFTER_ATTEMPT)
    return carry_out(services, again)


def _floors(services: Services, adjustment: Adjustment) -> dict[str, int]:
    """Return the least each item may be set to.

    A reduction must hold for whoever is active now. A raise must hold for those it was decided
    for: it never makes things worse, and the rest is raised by the next decision.
    """
    lowered = [change.seat_type for change in adjustment.changes if change.lowers]
    floors = {change.seat_type: change.active for change in adjustment.changes}
    if lowered:
        organization_id, moves = adjustment.organization_id, adjustment.moves
        with services.sessions() as session:
            counts, active_after = _after_moves(session, services, organization_id, moves)
        for seat_type in lowered:
            active = active_after.get(seat_type)
            if active is None:
                raise FloorBroken(f"{seat_type}: {counts.problem}")
            floors[seat_type] = active
    return floors


def _after_moves(
    session: Session, services: Services, organization_id: str, moves: tuple[Move, ...]
) -> tuple[Counts, dict[str, int]]:
    """Return the counts, and as they are once who moves has moved (B7); empty if unreadable."""
    counts = services.roster.counts(session, organization_id)
    active = Counter(counts.by_seat_type or {})
    if counts.by_seat_type is not None:
        for move, _ in consequences.in_place(session, organization_id, moves):
            active[move.from_seat_type] -= 1
            active[move.to_seat_type] += 1
    return counts, dict(active)


def _applied(
    services: Services,
    adjustment: Adjustment,
    subscription: StripeSubscription,
    invoice: StripeInvoice | None,
    request_id: str | None,
) -> CarriedOut:
    at = services.clock()
    charged = (
        {
            "invoice_id": invoice.id,
            "currency": invoice.currency,
            "total_minor": invoice.total_minor,
            "starting_balance_minor": invoice.starting_balance_minor,
            "amount_due_minor": invoice.amount_due_minor,
        }
        if invoice
        else {}
    )
    scope = Scope(
        organization_id=adjustment.organization_id, subscription_id=adjustment.subscription_id
    )
    with services.sessions.begin() as session:
        # Whoever counts the seats reads what is bought, then what is in flight: not across this.
        roster.lock_organization(session, adjustment.organization_id)
        done = store.finish(
            session,
            adjustment.id,
            state="applied",
            at=at,
            outcome=applied_line(adjustment, invoice),
            stripe_request_id=request_id,
            **charged,
        )
        organization = roster.organization(session, adjustment.organization_id)
        assert organization is not None
        facts.record(session, services, seeing.answered(services, subscription), organization)
        subscriptions.agree(
            session,
            subscription,
            {change.seat_type: change.to_quantity for change in adjustment.changes},
            at=at,
        )
        consequences.follow(session, services, done)
        findings.close(
            session, scope, FindingKind.PAYMENT_DECLINED, FindingKind.ADJUSTMENT_STUCK, at=at
        )
    metrics.ADJUSTMENTS.labels(kind=done.kind, state=done.state).inc()
    if invoice:
        direction = "credited" if invoice.total_minor < 0 else "charged"
        moved = metrics.MONEY_MOVED.labels(direction=direction, currency=invoice.currency)
        moved.inc(abs(invoice.total_minor))
    log.info("adjusted", adjustment=done.id, outcome=done.outcome, stripe_request_id=request_id)
    crash_point(CrashPoint.AFTER_OUTCOME)
    return CarriedOut(invoice_check.check(services, done, subscription, invoice), subscription)


def _declined(services: Services, adjustment: Adjustment, error: CardDeclined) -> CarriedOut:
    why = error.code or "declined"
    line = f"{adjustment.reason}: the payment was declined ({why}); nothing was changed"
    return _finished(
        services,
        adjustment,
        "refused",
        line,
        error,
        Observation(
            kind=FindingKind.PAYMENT_DECLINED,
            urgent=True,
            notify="payer",
            summary=f"{line}. Have the customer renew the card or confirm the payment, then retry.",
            detail={"code": why, "adjustment": adjustment.id},
        ),
    )


def _failed(
    services: Services,
    adjustment: Adjustment,
    line: str,
    error: StripeRejected | OutcomeUnknown | None = None,
) -> CarriedOut:
    stuck = error is not None and error.code != GONE
    return _finished(
        services,
        adjustment,
        "failed",
        line,
        error,
        Observation(
            kind=FindingKind.ADJUSTMENT_STUCK,
            urgent=True,
            summary=f"Stripe did not take an adjustment ({adjustment.reason}): {line}",
            detail={"adjustment": adjustment.id},
        )
        if stuck
        else None,
    )


def _finished(  # noqa: PLR0913, PLR0917 - how it ended, in one place
    services: Services,
    adjustment: Adjustment,
    state: str,
    line: str,
    error: StripeRejected | OutcomeUnknown | None,
    observation: Observation | None,
) -> CarriedOut:
    at = services.clock()
    scope = Scope(
        organization_id=adjustment.organization_id, subscription_id=adjustment.subscription_id
    )
    with services.sessions.begin() as session:
        done = store.finish(
            session,
            adjustment.id,
            state=state,
            at=at,
            outcome=line,
            checked_at=at,
            error_code=error.code if error else None,
            stripe_request_id=error.request_id if error else None,
        )
        if observation:
            findings.observe(session, scope, observation, at=at, opened_by=adjustment.trigger)
    metrics.ADJUSTMENTS.labels(kind=done.kind, state=done.state).inc()
    log.warning("adjustment not applied", adjustment=done.id, state=state, outcome=line)
    return CarriedOut(done)
