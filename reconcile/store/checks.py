"""What the end-checks read: everything that was recorded, in pages, with nothing left out."""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from reconcile.tables import adjustments, events, seats, subscriptions


def unfinished_events(session: Session, *, limit: int) -> list[str]:
    """Return ids of rows that are due and not finished; dated ahead is not unfinished."""
    due = (events.c.state == "pending") & (events.c.due_at <= func.now())
    return _oldest(session, due, limit)


def failed_events(session: Session, *, limit: int) -> list[str]:
    """Return ids of pending rows whose last try failed, and of dead letters."""
    failing = (events.c.state == "dead") | (
        (events.c.state == "pending") & events.c.error_class.is_not(None)
    )
    return _oldest(session, failing, limit)


def unexplained_events(session: Session, *, limit: int) -> list[str]:
    """Return ids of finished rows that do not say what became of them."""
    silent = (
        ((events.c.state == "done") & events.c.outcome.is_(None))
        | ((events.c.state == "ignored") & events.c.reason.is_(None))
        | ((events.c.state == "superseded") & events.c.superseded_by.is_(None))
    )
    return _oldest(session, silent, limit)


def _oldest(session: Session, which: ColumnElement[bool], limit: int) -> list[str]:
    wanted = select(events.c.id).where(which).order_by(events.c.received_at).limit(limit)
    return list(session.scalars(wanted))


def events_by_state(session: Session) -> dict[str, int]:
    """Return how many inbox rows are in each state."""
    rows = session.execute(select(events.c.state, func.count()).group_by(events.c.state))
    return {row[0]: row[1] for row in rows}


def subscriptions_with_seats(session: Session, *, after: str, limit: int) -> list[str]:
    """Return up to `limit` subscriptions that seats or adjustments are recorded of.

    In the order of their ids, those behind `after`.
    """
    with_seats = select(seats.c.subscription_id)
    adjusted = select(adjustments.c.subscription_id)
    found = session.scalars(
        select(subscriptions.c.id)
        .where(subscriptions.c.id.in_(with_seats.union(adjusted)), subscriptions.c.id > after)
        .order_by(subscriptions.c.id)
        .limit(limit)
    )
    return list(found)
