"""What the end-checks read: everything that was recorded, with nothing left out."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reconcile.tables import adjustments, events, seats, subscriptions


def unfinished_events(session: Session) -> list[str]:
    """Return the ids of rows that are due and not finished; dated ahead is not unfinished."""
    found = session.scalars(
        select(events.c.id)
        .where(events.c.state == "pending", events.c.due_at <= func.now())
        .order_by(events.c.received_at)
    )
    return list(found)


def failed_events(session: Session) -> list[str]:
    """Return the ids of pending rows whose last try failed, and of dead letters."""
    failing = (events.c.state == "dead") | (
        (events.c.state == "pending") & events.c.error_class.is_not(None)
    )
    return list(session.scalars(select(events.c.id).where(failing).order_by(events.c.received_at)))


def unexplained_events(session: Session) -> list[str]:
    """Return the ids of finished rows that do not say what became of them."""
    silent = (
        ((events.c.state == "done") & events.c.outcome.is_(None))
        | ((events.c.state == "ignored") & events.c.reason.is_(None))
        | ((events.c.state == "superseded") & events.c.superseded_by.is_(None))
    )
    return list(session.scalars(select(events.c.id).where(silent).order_by(events.c.received_at)))


def events_by_state(session: Session) -> dict[str, int]:
    """Return how many inbox rows are in each state."""
    rows = session.execute(select(events.c.state, func.count()).group_by(events.c.state))
    return {row[0]: row[1] for row in rows}


def subscriptions_with_seats(session: Session) -> list[str]:
    """Return every subscription that seats or adjustments are recorded of, oldest first."""
    with_seats = select(seats.c.subscription_id)
    adjusted = select(adjustments.c.subscription_id)
    found = session.scalars(
        select(subscriptions.c.id)
        .where(subscriptions.c.id.in_(with_seats.union(adjusted)))
        .order_by(subscriptions.c.created_at, subscriptions.c.id)
    )
    return list(found)
