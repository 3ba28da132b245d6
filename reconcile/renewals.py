"""Lowering at renewal: the buyer keeps what the period was paid for, and the next one bills less.

Stripe offers no "from the next period on" for a quantity. Weighed:
- `none` at once: the seats are gone for the rest of a period that was paid for.
- A subscription schedule with a phase from the renewal on: it takes over the whole subscription,
  and every later change, ours or a person's, would have to rewrite its phases.
- After the renewal: the invoice has been drafted with the old quantity already.
- `none` in the last hour of the period: nothing is billed or credited, the renewal invoice has the
  new quantity, and the hour of unused seats is worth nothing to anyone. This is done.

The hour is kept by an inbox row that comes due then. When nobody was there in that hour, what was
planned is made good: lowered with the proration date at the start of the new period, which credits
the whole difference.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconcile.policy.values import Change, Proration
from reconcile.preparing import now_of
from reconcile.services import Services
from reconcile.store import renewals as store
from reconcile.store import subscriptions
from reconcile.stripe_shapes import StripeSubscription

LAST_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """What to write now (prorated from when), or None and the line that says when."""

    line: str
    change: Change | None = None
    prorated_from: datetime | None = None


def plan(
    services: Services, subscription: StripeSubscription, change: Change, *, writes: bool
) -> Lowering:
    """Return whether a lowering at renewal is due, and remember it for its hour if it is not."""
    assert change.at_renewal
    assert change.proration == Proration.NONE
    start, end = subscription.period_start, subscription.period_end
    now = now_of(services, subscription)
    if start is None or end is None or now >= end - LAST_HOUR:
        return Lowering(line=change.reason, change=change)
    with services.sessions() as session:
        missed = store.planned_before(session, subscription.id, start)
        seats = subscriptions.seats_of(session, subscription.id)
    late = {
        seat_type: max(wanted, missed[seat_type])
        for seat_type, wanted in change.quantities.items()
        if seat_type in missed
        and max(wanted, missed[seat_type]) < (seats[seat_type].stripe_quantity or 0)
    }
    if late:
        made_good = replace(
            change,
            quantities=late,
            proration=Proration.CHARGE_NOW,
            at_renewal=False,
            reason=f"{change.reason}; the renewal was missed, credited from its start",
        )
        return Lowering(line=made_good.reason, change=made_good, prorated_from=start)
    if writes:
        with services.sessions.begin() as session:
            store.plan_lowering(
                session,
                subscription.id,
                dict(change.quantities),
                period_end=end,
                due_at=services.clock() + (end - LAST_HOUR - now),
            )
    return Lowering(line=f"{change.reason}, on {end.isoformat(timespec='minutes')}")
