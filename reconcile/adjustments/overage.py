"""What was used beyond a contract: the peaks of each period, and what they would have cost (A6).

Nothing in here changes a contract or a quantity: a person trues up and agrees on more.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from reconcile.adjustments.case import only_subscription
from reconcile.catalog import NoSuchPrice
from reconcile.policy.observing import label_of
from reconcile.policy.values import Refuse, SeatPolicy, SubscriptionFacts
from reconcile.services import Services
from reconcile.store import contracts as store
from reconcile.store import notices, roster, subscriptions
from reconcile.store.contracts import Peak
from reconcile.stripe_shapes import StripeSubscription


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUp:
    """A period's peak beyond the contract, and what the seats would have cost for all of it.

    By the catalog's price model, before discounts and tax; None where it has no such price.
    """

    peak: Peak
    currency: str | None
    amount_minor: int | None


def true_ups(
    session: Session,
    services: Services,
    organization_id: str,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> tuple[TrueUp, ...]:
    """Return the peaks beyond the contract, newest period first, each with what it would cost.

    A page goes on after the period start and seat type in `after`.
    """
    organization = roster.organization(session, organization_id)
    assert organization is not None
    found = only_subscription(session, organization_id)
    held = None if isinstance(found, Refuse) else subscriptions.held(session, found)
    priced = (organization.plan, held.interval, held.currency) if held and held.interval else None
    peaks = store.peaks(session, organization_id, after=after, limit=limit)
    return tuple(_priced(services, peak, priced) for peak in peaks)


def _priced(services: Services, peak: Peak, priced: tuple[str, str, str] | None) -> TrueUp:
    if priced is None:
        return TrueUp(peak=peak, currency=None, amount_minor=None)
    plan, interval, currency = priced
    try:
        model = services.catalog.price_of(plan, peak.seat_type, interval, currency).model
    except NoSuchPrice:
        return TrueUp(peak=peak, currency=currency, amount_minor=None)
    amount = model.full_minor(peak.peak) - model.full_minor(peak.agreed)
    return TrueUp(peak=peak, currency=currency, amount_minor=amount)


def watch(
    session: Session,
    services: Services,
    facts: SubscriptionFacts,
    subscription: StripeSubscription,
) -> None:
    """Keep the period's peak above the contract, and propose a change once a period had one (A6).

    In the transaction that records the counts; only asked when they are believed.
    """
    if facts.rules.policy != SeatPolicy.CONTRACT or subscription.period_start is None:
        return
    for seat in facts.seats:
        if (seat.active or 0) > seat.quantity:
            peak = Peak(
                organization_id=facts.organization_id,
                seat_type=seat.seat_type,
                period_start=subscription.period_start,
                period_end=subscription.period_end,
                agreed=seat.quantity,
                peak=seat.active or 0,
                peak_at=services.clock(),
            )
            store.note_peak(session, peak)
    over = store.last_finished_peaks(
        session, facts.organization_id, period_start=subscription.period_start
    )
    active = {seat.seat_type: seat.active for seat in facts.seats}
    for peak in over:
        _propose(session, services, facts, peak, subscription, active.get(peak.seat_type))


def _propose(  # noqa: PLR0913, PLR0917 - one notice
    session: Session,
    services: Services,
    facts: SubscriptionFacts,
    peak: Peak,
    subscription: StripeSubscription,
    active: int | None,
) -> None:
    plan, interval = facts.rules.plan, next((i.interval for i in subscription.items), None)
    priced = (plan, interval, subscription.currency) if interval else None
    cost = _priced(services, peak, priced)
    label = label_of(facts.rules, peak.seat_type)
    notices.add(
        session,
        "contract.change_needed",
        f"{facts.subscription_id}/{peak.seat_type}/{peak.period_start:%Y-%m-%dT%H:%M:%SZ}",
        f"{peak.peak} {label} members were active, {peak.agreed} are in the contract: true up the "
        f"period and agree on {peak.peak}",
        organization_id=facts.organization_id,
        due_at=services.clock(),
        data={
            "seat_type": peak.seat_type,
            "active": active,
            "agreed": peak.agreed,
            "peak": peak.peak,
            "period_start": peak.period_start.isoformat(),
            "period_end": peak.period_end.isoformat() if peak.period_end else None,
            "proposed": peak.peak,
            "currency": cost.currency,
            "amount_minor": cost.amount_minor,
        },
    )
