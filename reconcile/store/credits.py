"""The ledger of credits (A4): one row per seat and billing period; the pool is what is live."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.tables import credit_grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """One grant: of the seat `subscription_id`, live from the period's start until its end."""

    id: int
    organization_id: str
    subscription_id: str
    member_id: str | None
    seat_type: str
    credits: int
    period_start: datetime
    period_end: datetime
    granted_by: str
    granted_at: datetime


def has_grant(session: Session, subscription_id: str, period_end: datetime) -> bool:
    """Return whether the seat has its grant of the period that ends then.

    By its end: a switch of the interval leaves the start of a period and moves its end.
    """
    found = session.execute(
        select(credit_grants.c.id).where(
            credit_grants.c.subscription_id == subscription_id,
            credit_grants.c.period_end == period_end,
        )
    )
    return found.first() is not None


def grant(  # noqa: PLR0913 - one row, all by name
    session: Session,
    *,
    organization_id: str,
    subscription_id: str,
    member_id: str | None,
    seat_type: str,
    credits: int,  # noqa: A002 - the domain's word
    period_start: datetime,
    period_end: datetime,
    granted_by: str,
) -> bool:
    """Write the grant of a seat's period; False when it is there already.

    What was granted before ends where this begins: the interval was switched in the middle.
    """
    added = session.execute(
        insert(credit_grants)
        .values(
            organization_id=organization_id,
            subscription_id=subscription_id,
            member_id=member_id,
            seat_type=seat_type,
            credits=credits,
            period_start=period_start,
            period_end=period_end,
            granted_by=granted_by,
        )
        .on_conflict_do_nothing(index_elements=["subscription_id", "period_start"])
        .returning(credit_grants.c.id)
    ).first()
    if added is None:
        return False
    session.execute(
        update(credit_grants)
        .where(
            credit_grants.c.subscription_id == subscription_id,
            credit_grants.c.period_start < period_start,
            credit_grants.c.period_end > period_start,
        )
        .values(period_end=period_start)
    )
    return True


def pool(session: Session, organization_id: str, at: datetime) -> int:
    """Return the sum of the organization's live grants."""
    summed = select(func.coalesce(func.sum(credit_grants.c.credits), 0)).where(
        credit_grants.c.organization_id == organization_id, _live(at)
    )
    return int(session.execute(summed).scalar_one())


def pool_by_seat_type(session: Session, organization_id: str, at: datetime) -> dict[str, int]:
    """Return the live grants' sums by seat type."""
    summed = (
        select(credit_grants.c.seat_type, func.sum(credit_grants.c.credits))
        .where(credit_grants.c.organization_id == organization_id, _live(at))
        .group_by(credit_grants.c.seat_type)
        .order_by(credit_grants.c.seat_type)
    )
    return {row[0]: int(row[1]) for row in session.execute(summed)}


def page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    organization_id: str,
    *,
    live_at: datetime | None = None,
    subscription_id: str | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> tuple[Granted, ...]:
    """Return grants of the organization, the newest first, at most `limit` before `before_id`."""
    wanted = (
        select(credit_grants)
        .where(credit_grants.c.organization_id == organization_id)
        .order_by(credit_grants.c.id.desc())
        .limit(limit)
    )
    if live_at is not None:
        wanted = wanted.where(_live(live_at))
    if subscription_id is not None:
        wanted = wanted.where(credit_grants.c.subscription_id == subscription_id)
    if before_id is not None:
        wanted = wanted.where(credit_grants.c.id < before_id)
    rows = session.execute(wanted).mappings()
    return tuple(Granted(**{name: row[name] for name in Granted.__slots__}) for row in rows)


def _live(at: datetime) -> ColumnElement[bool]:
    return (credit_grants.c.period_start <= at) & (credit_grants.c.period_end > at)
