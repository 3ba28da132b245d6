"""What is let go after its time: personal data first, then the rows. Never of work not finished.

A dead letter is not finished until a person has dealt with it. Pruning is never before Stripe has
forgotten an event too, or a redelivery would be taken for a new one.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from reconcile.tables import events, notices

_OVER = ("done", "ignored", "superseded", "discarded")


def _over_since(older_than: timedelta) -> tuple[ColumnElement[bool], ...]:
    return events.c.finished_at < func.now() - older_than, events.c.state.in_(_OVER)


def to_redact(
    session: Session, *, older_than: timedelta, limit: int
) -> Sequence[tuple[str, bytes]]:
    """Return id and body of up to `limit` events finished before then and not redacted yet.

    They are locked until the transaction's end; what another process has is passed over.
    """
    found = session.execute(
        select(events.c.id, events.c.payload)
        .where(*_over_since(older_than), events.c.redacted_at.is_(None))
        .order_by(events.c.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [(row.id, bytes(row.payload)) for row in found]


def write_redacted(session: Session, bodies: Sequence[tuple[str, bytes]]) -> None:
    """Put these bodies in the place of what was received."""
    if bodies:
        session.execute(
            update(events)
            .where(events.c.id == bindparam("of"))
            .values(payload=bindparam("body"), redacted_at=func.now()),
            [{"of": event_id, "body": body} for event_id, body in bodies],
        )


def prune(session: Session, *, older_than: timedelta, limit: int) -> int:
    """Delete up to `limit` events finished before then and return how many.

    Our own requests stay for good: they are the record of who asked for what (A3, A7, B9). Only
    those that delivered a notice go with it.
    """
    old = (
        select(events.c.id)
        .where(*_over_since(older_than), events.c.kind != "request")
        .order_by(events.c.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    deleted = delete(events).where(events.c.id.in_(old)).returning(events.c.id)
    return len(session.execute(deleted).all())


def prune_notices(session: Session, *, older_than: timedelta, limit: int) -> int:
    """Delete up to `limit` notices delivered before then, with their requests; return how many.

    Never one that was not delivered, or that is being delivered again.
    """
    old = session.execute(
        select(notices.c.id, notices.c.request_id)
        .join(events, events.c.id == notices.c.request_id, isouter=True)
        .where(
            notices.c.delivered_at < func.now() - older_than,
            events.c.id.is_(None) | events.c.state.in_(_OVER),
        )
        .order_by(notices.c.delivered_at)
        .limit(limit)
        .with_for_update(of=notices, skip_locked=True)
    ).all()
    session.execute(delete(notices).where(notices.c.id.in_([row.id for row in old])))
    session.execute(delete(events).where(events.c.id.in_([row.request_id for row in old])))
    return len(old)
