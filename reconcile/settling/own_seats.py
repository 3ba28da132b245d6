"""An own seat follows its payment: paid, the member is in; lapsed, the payer is told (A2, A4).

Not the click but what Stripe says of the subscription lets a member in. A lapse changes nobody's
status: the seat leaves the pool of paid seats, a finding says so, and the member may pay again.
"""

from dataclasses import replace

from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP
from reconcile.members.joining import opened
from reconcile.policy.activation import Allow, decide_activation
from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import SeatPolicy
from reconcile.services import Services
from reconcile.settling.course import Course
from reconcile.store import notices, roster, subscriptions
from reconcile.store.roster import Organization
from reconcile.store.subscriptions import Held

_WAITS = frozenset({"invited", "pending"})


def follow_payment(
    session: Session, course: Course, organization: Organization, before: Held | None
) -> None:
    """Do what the payment of a member's own seat asks for, right after it was recorded.

    `before` is the row as it was held until now.
    """
    services = course.services
    if services.catalog.plan(organization.plan).rules.policy != SeatPolicy.OWN_SEAT:
        return
    now = subscriptions.held(session, course.subscription_id)
    if now is None or now.member_id is None:
        return
    if _paid(now):
        if course.writes and services.roster.view is None:
            _let_in(session, services, now, now.member_id)
    elif before is not None and _paid(before):
        _tell_lapse(session, services, now)


def _paid(held: Held) -> bool:
    return held.deleted_at is None and is_paid(
        standing_of(held.status, collection_paused=held.collection_paused)
    )


def _let_in(session: Session, services: Services, held: Held, member_id: str) -> None:
    """Activate the member who was invited and has paid; the tier is checked as always (A5)."""
    found = roster.member(session, held.organization_id, member_id)
    if found is None or found.status not in _WAITS:
        return
    actor = replace(TRUEUP, because=f"the seat is paid: {held.id}")
    case = opened(session, services, held.organization_id, actor)
    member = case.need(member_id)
    if case.unfit(member, unblocks=False):
        return
    decided = decide_activation(case.room_of(member))
    if isinstance(decided, Allow):
        case.join(member, decided.reason)


def _tell_lapse(session: Session, services: Services, held: Held) -> None:
    notices.add(
        session,
        "seat.lapsed",
        # Past due, then unpaid, then canceled is one lapse: it is of one unpaid invoice.
        f"{held.id}/{held.latest_invoice_id or held.status}",
        f"The seat of {held.member_id} is {held.status}: out of the credit pool until it is paid",
        organization_id=held.organization_id,
        due_at=services.clock(),
        data={
            "subscription_id": held.id,
            "member_id": held.member_id,
            "status": held.status,
        },
    )
