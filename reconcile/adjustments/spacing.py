"""How often one subscription may be written to: within Stripe's limits, and not on a declined card.

A burst needs no queue here: a change sets absolute quantities, so what waits is made up for by the
next one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.policy.values import Change, Proration
from reconcile.store import adjustments
from reconcile.store.adjustments import Adjustment

# Stripe's limits for one subscription are 20 invoices a day and 200 quantity updates an hour
# (docs.stripe.com/rate-limits); the rest is left to renewals and to people.
CHARGES_A_DAY = 15
UPDATES_AN_HOUR = 100
# A declined raise is tried again by the next nightly run, or at once when the customer changes.
DECLINE_HOLDS = timedelta(hours=20)
# A customer changes for many reasons beside a new card, and every try is an attempt on the card.
TRIES_A_DAY = 4

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Why nothing is written now; `again_at` is None when no time by itself changes it."""

    line: str
    again_at: datetime | None = None


def held_back(  # noqa: PLR0913 - one question, all by name
    session: Session,
    subscription_id: str,
    change: Change,
    *,
    now: datetime,
    retry_declined: bool = False,
    tries_a_day: int | None = None,
) -> HeldBack | None:
    """Return why the change may not be written at this moment, or None.

    With `retry_declined` a declined one may be tried again, `tries_a_day` times in all; None is as
    often as a person asks.
    """
    recent = adjustments.recent(session, subscription_id, now - _DAY)
    refused = sum(each.state == "refused" for each in recent)
    enough = tries_a_day is not None and refused >= tries_a_day
    if (enough or not retry_declined) and (declined := _declined(recent, change, now)):
        at = declined.created_at.isoformat(timespec="minutes")
        return HeldBack(line=f"{change.reason}: declined at {at}, not tried again yet")
    sent = [each for each in recent if each.state in {"applied", "pending"}]
    charged = [each for each in sent if each.proration_behavior == Proration.CHARGE_NOW]
    if change.proration == Proration.CHARGE_NOW and len(charged) >= CHARGES_A_DAY:
        return HeldBack(
            line=f"{len(charged)} invoices in a day: {change.reason} waits",
            again_at=charged[-CHARGES_A_DAY].created_at + _DAY,
        )
    hourly = [each for each in sent if each.created_at > now - _HOUR]
    if len(hourly) >= UPDATES_AN_HOUR:
        return HeldBack(
            line=f"{len(hourly)} updates in an hour: {change.reason} waits",
            again_at=hourly[-UPDATES_AN_HOUR].created_at + _HOUR,
        )
    return None


def _declined(recent: tuple[Adjustment, ...], change: Change, now: datetime) -> Adjustment | None:
    """Return the refusal that still stands: the last word on the same quantities."""
    for each in reversed(recent):
        if each.state == "applied":
            return None
        if each.state == "refused" and each.created_at > now - DECLINE_HOLDS:
            wanted = {one.seat_type: one.to_quantity for one in each.changes}
            if wanted == dict(change.quantities):
                return each
    return None
