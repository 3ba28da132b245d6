"""Inbox rows for tests: made with valid defaults, read back as mappings."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from reconcile.tables import events

_numbers = count(1)


def an_event(session: Session, **values: Any) -> str:
    """Insert one pending event of `sub:sub_1`, due now, and return its id."""
    now = datetime.now(UTC)
    row = {
        "id": f"evt_{next(_numbers):06}",
        "source": "webhook",
        "kind": "snapshot",
        "type": "customer.subscription.updated",
        "stripe_created_at": now,
        "work_key": "sub:sub_1",
        "payload": b"{}",
        "received_at": now,
        "due_at": now - timedelta(seconds=1),
    } | values
    if row.get("state", "pending") != "pending":
        row.setdefault("finished_at", now)
    session.execute(insert(events).values(row))
    return str(row["id"])


def the_event(session: Session, event_id: str) -> Any:
    """The row of an event."""
    return session.execute(select(events).where(events.c.id == event_id)).one()


def change_event(session: Session, event_id: str, **values: Any) -> None:
    """Write columns of an event, as a passing of time or a person would."""
    session.execute(update(events).where(events.c.id == event_id).values(values))
