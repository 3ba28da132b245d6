"""A person's repairs of the inbox: rows requeued, discarded, hurried. Each leaves an audit entry.

What may be repaired, and in which order, is `operating`'s to say. Rows are locked in the order of
their ids' bytes, as everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.envelope import InboxRow
from reconcile.store import audit, inbox, notices
from reconcile.store.look import Event, Filters, events_by_ids, events_where
from reconcile.tables import events

REQUEUED, DISCARDED = "event.requeued", "event.discarded"

_READ_AGAIN = (
    "type",
    "work_key",
    "object_id",
    "subscription_id",
    "customer_id",
    "organization_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """One row to be requeued; `read_again` is what its payload says by today's settings."""

    event: Event
    due_in: timedelta
    read_again: InboxRow | None = None


def in_order(session: Session, filters: Filters, *, limit: int) -> tuple[str, ...]:
    """Return the ids of events that match, the first received first."""
    wanted = select(events.c.id).where(*events_where(filters))
    first = wanted.order_by(events.c.received_at, events.c.id).limit(limit)
    return tuple(session.scalars(first))


def locked(session: Session, event_ids: Sequence[str]) -> dict[str, Event]:
    """Return the events by id, locked until the transaction ends."""
    these = events.c.id.in_(event_ids)
    session.execute(
        select(events.c.id).where(these).order_by(events.c.id.collate("C")).with_for_update()
    )
    return events_by_ids(session, event_ids)


def requeue(session: Session, wanted: Requeue, actor: Actor) -> None:
    """Make the locked row pending again, as if it had just come in."""
    event = wanted.event
    values: dict[str, Any] = {
        "state": "pending",
        "reason": f"requeued by {_words(actor)}",
        "outcome": None,
        "decided": None,
        "error_class": None,
        "error_fingerprint": None,
        "superseded_by": None,
        "held_by": None,
        "attempts": 0,
        "requeued_at": func.now(),
        "started_at": None,
        "finished_at": None,
        **inbox.dated(func.now() + wanted.due_in),
        "tries": _tries_and("requeued", f"by {_words(actor)}; was {event.state}: {event.line}"),
    }
    if wanted.read_again is not None:
        values |= {name: getattr(wanted.read_again, name) for name in _READ_AGAIN}
    session.execute(update(events).where(events.c.id == event.id).values(values))
    _tell(session, actor, REQUEUED, event, {"state": "pending"})


def discard(session: Session, event: Event, actor: Actor) -> None:
    """Put the locked row aside; `requeue` is the way back."""
    session.execute(
        update(events)
        .where(events.c.id == event.id)
        .values(
            state="discarded",
            reason="discarded",
            outcome=f"discarded by {_words(actor)}",
            held_by=None,
            due_at=None,
            finished_at=func.now(),
            tries=_tries_and("discarded", f"by {_words(actor)}; was {event.state}: {event.line}"),
        )
    )
    _tell(session, actor, DISCARDED, event, {"state": "discarded"})


def hurry_retries(session: Session) -> int:
    """Make due now what waits for its next try after a failure; returns how many rows.

    Also the notices that wait for another one's failure, which are no failures themselves.
    """
    failed = events.c.error_class.is_not(None)
    waiting = (
        select(events.c.id)
        .where(
            events.c.state == "pending",
            failed | (events.c.type == notices.DELIVER),
            events.c.held_by.is_(None),
            events.c.due_at > func.now(),
        )
        .with_for_update(skip_locked=True)
    )
    notices.end_hold(session)
    hurried = update(events).where(events.c.id.in_(waiting)).values(due_at=func.now())
    return len(session.execute(hurried.returning(events.c.id)).all())


def busy(session: Session) -> int:
    """Return how many rows are due, being worked on, or due within a minute."""
    soon = func.now() + timedelta(minutes=1)
    these = events.c.held_by.is_(None) & (events.c.due_at <= soon)
    counted = select(func.count()).where(events.c.state == "pending", these)
    return session.scalar(counted) or 0


def untold(session: Session, *, limit: int) -> int:
    """Return how many notices wait to be delivered, counted up to `limit`; held ones are not."""
    some = (
        select(events.c.id)
        .where(
            events.c.state == "pending",
            events.c.type == notices.DELIVER,
            events.c.held_by.is_(None),
        )
        .limit(limit)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def _tries_and(ended: str, line: str) -> ColumnElement[Any]:
    entry = func.jsonb_build_object(
        "at", func.now(), "ended", ended, "line", cast(line[:1000], Text), type_=JSONB
    )
    return events.c.tries.op("||")(func.jsonb_build_array(entry, type_=JSONB))


def _words(actor: Actor) -> str:
    return f"{actor.who}: {actor.because}" if actor.because else actor.who


def _tell(
    session: Session, actor: Actor, action: str, event: Event, after: Mapping[str, Any]
) -> None:
    before = {"state": event.state, "attempts": event.attempts, "line": event.line}
    audit.record(
        session,
        actor,
        action,
        event.id,
        organization_id=event.organization_id,
        before=before,
        after=after,
    )
