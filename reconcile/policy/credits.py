"""A4: what a paid seat grants to its organization's pool, and for how long.

A grant is of one seat and one billing period. `credits_per_seat` is of a month: the period of a
yearly subscription grants twelve of them at once, because it was paid for at once.
"""

from dataclasses import dataclass
from datetime import datetime

from reconcile.policy.standing import is_paid
from reconcile.policy.values import PlanRules, SeatPolicy, Standing

_MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatInPeriod:
    """An own seat as it stands: the member's subscription, and the period it is in."""

    rules: PlanRules
    seat_type: str
    standing: Standing
    member_active: bool | None  # None: the host keeps the members, and counts them without names
    interval: str | None
    interval_count: int
    period_start: datetime | None
    period_end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Credits for the pool, live from the start of the period until its end."""

    credits: int
    period_start: datetime
    period_end: datetime


def grant_of(seat: SeatInPeriod) -> Grant | None:
    """Return what the seat grants for its period once the period is paid; None: nothing.

    Nothing in a trial, nothing while it is not paid, and nothing without an active member: such a
    seat is out of the pool. Where nobody can say who is active, its payment speaks for its member.
    What was granted for a period before stays until that period's end.
    """
    known = seat.rules.seat_types.get(seat.seat_type)
    months = _MONTHS.get(seat.interval or "", 0) * seat.interval_count
    if seat.rules.policy != SeatPolicy.OWN_SEAT or known is None:
        return None
    unpaid = not is_paid(seat.standing) or Standing.TRIALING in seat.standing
    if unpaid or seat.member_active is False:
        return None
    credits_ = known.credits_per_seat * months
    if credits_ <= 0 or seat.period_start is None or seat.period_end is None:
        return None
    return Grant(credits=credits_, period_start=seat.period_start, period_end=seat.period_end)
