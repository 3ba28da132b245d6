"""What we last believed of Stripe's subscriptions, and the seats bought on them (Q beside S)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.stripe_shapes import StripeSubscription
from reconcile.tables import seats, subscriptions

# Statuses of a subscription that still bills or may bill again; the rest are over.
ENDED = ("canceled", "incomplete_expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A subscription's row: what we believe, and since when by Stripe's clock (`as_of`)."""

    id: str
    organization_id: str
    member_id: str | None
    customer_id: str
    status: str
    currency: str
    interval: str | None
    latest_invoice_id: str | None
    test_clock_id: str | None
    cancel_at_period_end: bool
    collection_paused: bool
    schedule_id: str | None
    has_pending_update: bool
    current_period_start: datetime | None
    current_period_end: datetime | None
    as_of: datetime
    api_version: str | None
    written_at: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One seat type of a subscription: Q, S when last seen, A when last believed."""

    seat_type: str
    item_id: str
    price_id: str
    quantity: int
    stripe_quantity: int | None
    active_seen: int | None


def held(session: Session, subscription_id: str) -> Held | None:
    """Return the subscription's row, or None when it was never seen."""
    row = session.execute(select(subscriptions).where(subscriptions.c.id == subscription_id))
    return _held(row.mappings().one_or_none())


def of_organization(session: Session, organization_id: str) -> tuple[Held, ...]:
    """Return the organization's subscriptions that are not over, oldest first."""
    return _not_over(session, subscriptions.c.organization_id == organization_id)


def of_member(session: Session, organization_id: str, member_id: str) -> tuple[Held, ...]:
    """Return the member's own subscriptions that are not over, oldest first (own_seat)."""
    whose = subscriptions.c.organization_id == organization_id
    return _not_over(session, whose & (subscriptions.c.member_id == member_id))


def ever_had(session: Session, organization_id: str) -> bool:
    """Return whether the organization has a subscription recorded, over or not."""
    whose = subscriptions.c.organization_id == organization_id
    return session.scalar(select(exists().where(whose))) is True


def of_customer(session: Session, customer_id: str) -> tuple[Held, ...]:
    """Return the Stripe customer's subscriptions that are not over, oldest first."""
    return _not_over(session, subscriptions.c.customer_id == customer_id)


def _not_over(session: Session, whose: object) -> tuple[Held, ...]:
    rows = session.execute(
        select(subscriptions)
        .where(whose, subscriptions.c.deleted_at.is_(None), subscriptions.c.status.not_in(ENDED))  # type: ignore[arg-type]
        .order_by(subscriptions.c.created_at, subscriptions.c.id)
    )
    return tuple(found for row in rows.mappings() if (found := _held(row)) is not None)


def _held(row: RowMapping | None) -> Held | None:
    return None if row is None else Held(**{name: row[name] for name in Held.__slots__})


def believe(  # noqa: PLR0913 - one row, all by name
    session: Session,
    seen: StripeSubscription,
    *,
    organization_id: str,
    member_id: str | None,
    as_of: datetime,
    api_version: str | None,
) -> None:
    """Write what Stripe says of the subscription; `as_of` is Stripe's time of saying it.

    One that is not over has no tombstone: a snapshot is not believed beside one, so Stripe itself
    was asked, and it was not found with another account's key.
    """
    values: dict[str, object] = {
        "organization_id": organization_id,
        "member_id": member_id,
        "customer_id": seen.customer_id,
        "status": seen.status,
        "currency": seen.currency,
        "interval": seen.items[0].interval if seen.items else None,
        "billing_mode": seen.billing_mode,
        "cancel_at_period_end": seen.cancel_at_period_end,
        "collection_paused": seen.collection_paused,
        "schedule_id": seen.schedule_id,
        "has_pending_update": seen.has_pending_update,
        "latest_invoice_id": seen.latest_invoice_id,
        "test_clock_id": seen.test_clock_id,
        "trial_end": seen.trial_end,
        "current_period_start": seen.period_start,
        "current_period_end": seen.period_end,
        "as_of": as_of,
        "api_version": api_version,
    }
    if seen.status not in ENDED:
        values["deleted_at"] = None
    session.execute(
        insert(subscriptions)
        .values(id=seen.id, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )


def agree(
    session: Session, seen: StripeSubscription, quantities: Mapping[str, int], *, at: datetime
) -> None:
    """Write what an adjustment agreed on: Q, and when we last wrote (the settling window)."""
    write_quantities(session, seen.id, quantities)
    this = subscriptions.c.id == seen.id
    session.execute(update(subscriptions).where(this).values(written_at=at))


def mark_deleted(session: Session, subscription_id: str, at: datetime) -> None:
    """Leave a tombstone: Stripe says it is over or knows it no more."""
    this = subscriptions.c.id == subscription_id
    session.execute(
        update(subscriptions)
        .where(this)
        .values(deleted_at=func.coalesce(subscriptions.c.deleted_at, at), status="canceled")
    )


def seats_of(session: Session, subscription_id: str) -> dict[str, Seat]:
    """Return the subscription's seats by seat type."""
    rows = session.execute(
        select(seats).where(seats.c.subscription_id == subscription_id).order_by(seats.c.seat_type)
    )
    return {
        row["seat_type"]: Seat(**{name: row[name] for name in Seat.__slots__})
        for row in rows.mappings()
    }


def seats_of_organization(session: Session, organization_id: str) -> dict[str, dict[str, Seat]]:
    """Return the seats of its subscriptions that are not over, by subscription and seat type.

    In one query: where members pay for their own there are as many subscriptions as members.
    """
    live = (
        (subscriptions.c.organization_id == organization_id)
        & subscriptions.c.deleted_at.is_(None)
        & subscriptions.c.status.not_in(ENDED)
    )
    rows = session.execute(
        select(seats)
        .join(subscriptions, subscriptions.c.id == seats.c.subscription_id)
        .where(live)
        .order_by(seats.c.seat_type)
    )
    found: dict[str, dict[str, Seat]] = {}
    for row in rows.mappings():
        seat = Seat(**{name: row[name] for name in Seat.__slots__})
        found.setdefault(row["subscription_id"], {})[seat.seat_type] = seat
    return found


def see_seat(  # noqa: PLR0913 - one row, all by name
    session: Session,
    subscription_id: str,
    seat_type: str,
    *,
    item_id: str,
    price_id: str,
    stripe_quantity: int | None,
) -> None:
    """Write S. A seat type first seen on the subscription is taken as bought: Q = S."""
    seen = {
        "item_id": item_id,
        "price_id": price_id,
        "stripe_quantity": stripe_quantity,
        "updated_at": func.now(),
    }
    session.execute(
        insert(seats)
        .values(
            subscription_id=subscription_id,
            seat_type=seat_type,
            quantity=stripe_quantity or 0,
            **seen,
        )
        .on_conflict_do_update(index_elements=["subscription_id", "seat_type"], set_=seen)
    )


def miss_seat(session: Session, subscription_id: str, seat_type: str) -> None:
    """Write that Stripe has no item of this seat type any more; Q stays what was agreed."""
    _write_seat(session, subscription_id, seat_type, stripe_quantity=None)


def drop_seat(session: Session, subscription_id: str, seat_type: str) -> None:
    """Forget a seat type: Stripe has no item of it, and the plan asks for none."""
    this = (seats.c.subscription_id == subscription_id) & (seats.c.seat_type == seat_type)
    session.execute(delete(seats).where(this))


def write_quantities(session: Session, subscription_id: str, quantities: Mapping[str, int]) -> None:
    """Write Q: what was agreed, or adopted from Stripe."""
    for seat_type, quantity in quantities.items():
        _write_seat(session, subscription_id, seat_type, quantity=quantity)


def write_active_seen(session: Session, subscription_id: str, active: Mapping[str, int]) -> None:
    """Remember the counts that were believed, so that a sudden zero is noticed the next time."""
    for seat_type, count in active.items():
        _write_seat(session, subscription_id, seat_type, active_seen=count)


def note_moved(session: Session, organization_id: str, left: str | None, to: str | None) -> None:
    """Remember that an active member moved from one pool to another, on record.

    Or else a whole pool that moves would be a count that suddenly fell to zero.
    """
    if left == to:
        return
    its_own = select(subscriptions.c.id).where(subscriptions.c.organization_id == organization_id)
    for seat_type, more in ((left, -1), (to, 1)):
        session.execute(
            update(seats)
            .where(
                seats.c.subscription_id.in_(its_own),
                seats.c.seat_type == seat_type,
                seats.c.active_seen + more >= 0,
            )
            .values(active_seen=seats.c.active_seen + more)
        )


def _write_seat(
    session: Session, subscription_id: str, seat_type: str, **values: int | None
) -> None:
    session.execute(
        update(seats)
        .where(seats.c.subscription_id == subscription_id, seats.c.seat_type == seat_type)
        .values(updated_at=func.now(), **values)
    )
