"""An invoice that was not paid: the payer is told once, whatever events speak of it.

A card declined for more seats is a finding, told when that is opened; and a member's own seat that
lapses is told as that. This is the renewal that failed.
"""

from sqlalchemy.orm import Session

from reconcile.policy.values import SeatPolicy
from reconcile.services import Services
from reconcile.store import notices
from reconcile.store.roster import Organization
from reconcile.stripe_shapes import StripeSubscription

_UNPAID = ("past_due", "unpaid")


def tell_unpaid(
    session: Session,
    services: Services,
    subscription: StripeSubscription,
    organization: Organization,
) -> None:
    """Tell of the subscription's unpaid invoice, in the transaction that recorded its status."""
    policy = services.catalog.plan(organization.plan).rules.policy
    if subscription.status not in _UNPAID or policy == SeatPolicy.OWN_SEAT:
        return
    invoice = subscription.latest_invoice_id
    notices.add(
        session,
        "payment.failed",
        f"{subscription.id}/{invoice}",
        f"An invoice was not paid, the subscription is {subscription.status.replace('_', ' ')}: "
        "pay it, or no seats are added.",
        organization_id=organization.id,
        due_at=services.clock(),
        data={
            "subscription_id": subscription.id,
            "invoice_id": invoice,
            "status": subscription.status,
        },
    )
