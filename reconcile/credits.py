"""Credits (A4): a paid own seat grants its organization's pool something for its billing period.

Asked at the end of every settling. Stripe moves a subscription into its next period up to an hour
before the invoice is charged, so the invoice itself is asked for, once a seat and period: what is
granted is paid. However often that is seen, by whatever event, the ledger has one row for it.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.policy.credits import Grant, SeatInPeriod, grant_of
from reconcile.policy.standing import standing_of
from reconcile.policy.values import SeatPolicy
from reconcile.services import Services
from reconcile.store import credits as store
from reconcile.store import own_seats, roster, subscriptions
from reconcile.store.subscriptions import Held
from reconcile.stripe_shapes import StripeInvoice, StripeSubscription

PAID, VOID = "paid", "void"
_A_DAY = timedelta(days=1)


def grant_if_paid(
    services: Services, subscription: StripeSubscription, *, trigger: str
) -> str | None:
    """Grant the seat's period if it is paid and not granted yet; return a line for a person.

    `subscription` is as it was just recorded; `trigger` is named in the ledger. Raises the errors
    of a Stripe call: then the settling is tried again.
    """
    with services.sessions() as session:
        owed = _owed(session, services, subscription)
    if owed is None:
        return None
    held, seat_type, grant = owed
    paid_from = _paid_from(services, subscription, grant)
    if paid_from is None:
        return None
    with services.sessions.begin() as session:
        granted = store.grant(
            session,
            organization_id=held.organization_id,
            subscription_id=held.id,
            member_id=held.member_id,
            seat_type=seat_type,
            credits=grant.credits,
            period_start=paid_from,
            period_end=grant.period_end,
            granted_by=trigger,
        )
    return f"{grant.credits} credits until {grant.period_end.date()}" if granted else None


def _paid_from(
    services: Services, subscription: StripeSubscription, grant: Grant
) -> datetime | None:
    """Return from when on the seat is paid until the period's end; None: it is not.

    That is the period's start; where the interval was switched in the middle, the time of that.
    """
    if subscription.latest_invoice_id is None:
        return None
    latest = services.stripe.invoice(subscription.latest_invoice_id)
    if grant.period_start in _starts(latest, grant):
        return grant.period_start if latest.status == PAID else None
    # The latest is of a change in the middle of the period, or of something else altogether.
    since = grant.period_start - _A_DAY
    invoices = services.stripe.invoices_of(subscription.id, since=since)
    billing = [each for each in invoices if each.status != VOID and _starts(each, grant)]
    if not billing or any(each.status != PAID for each in billing):
        return None
    return min(start for each in billing for start in _starts(each, grant))


def _starts(invoice: StripeInvoice, grant: Grant) -> list[datetime]:
    """Return when the invoice's lines that last until the period's end begin; credits are none."""
    return [
        line.period_start
        for line in invoice.lines
        if line.period_end == grant.period_end and line.amount_minor >= 0
    ]


def _owed(
    session: Session, services: Services, subscription: StripeSubscription
) -> tuple[Held, str, Grant] | None:
    """Return what the seat's period grants, unless it has been granted."""
    held = subscriptions.held(session, subscription.id)
    if held is None or held.deleted_at is not None or held.member_id is None:
        return None
    organization = roster.organization(session, held.organization_id)
    if organization is None:
        return None
    rules = services.catalog.plan(organization.plan).rules
    if rules.policy != SeatPolicy.OWN_SEAT:
        return None
    for item in subscription.items:
        price = services.catalog.seat_for_price(item.price_id)
        if price is None or price.plan != organization.plan or price.seat_type is None:
            continue
        grant = grant_of(
            SeatInPeriod(
                rules=rules,
                seat_type=price.seat_type,
                standing=standing_of(held.status, collection_paused=held.collection_paused),
                member_active=own_seats.is_active(session, organization.id, held.member_id)
                if services.roster.view is None
                else None,
                interval=item.interval,
                interval_count=item.interval_count,
                period_start=item.period_start,
                period_end=item.period_end,
            )
        )
        if grant and not store.has_grant(session, held.id, grant.period_end):
            return held, price.seat_type, grant
    return None
