"""The inbox's way through: rows hinted to the queue, claimed by a worker, finished with a line.

`due_at` is the one thing that starts work: the relay pushes it on when it hints a row, a worker
when it claims one. Whoever dies in between only lets it run out. The database's clock decides.
Locks on several rows are always taken in the order of their ids' bytes, as the inbox's way in does.

A batch is what `claim` returned: the newest event first. Whatever becomes of a batch is recorded on
the newest; the others were handled with it and say so in `superseded_by` (Law 5). A request of our
own holds what no other row says (who waits for a seat, what was approved): while the work is not
done, it goes through the same as the newest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from reconcile.errors import Classified, ErrorClass
from reconcile.store.inbox import dated
from reconcile.tables import events

# One claim reads at most this many rows; a key with more is claimed again.
CLAIM_LIMIT = 1000

# As Python sorts them for the inbox's way in; the database's own collation is another order.
_BY_BYTES = events.c.id.collate("C")

# How the last so many tries ended is kept on the row.
TRIES_KEPT = 20

# What is due later than any hint or lease lasts was dated ahead on purpose.
_SOON = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedEvent:
    """An inbox row in the hands of a worker.

    `attempts` counts this try; `waited` says whether one before it failed for want of others.
    """

    id: str
    kind: str
    type: str
    api_version: str | None
    stripe_created_at: datetime | None
    attempts: int
    waited: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A work key with something due. `rescued`: somebody was to do it and did not.

    `traceparent` is that of the oldest of its rows.
    """

    work_key: str
    rescued: bool
    traceparent: str | None


# A row whose lease ran out: hinted and taken by nobody, or taken by a worker that never said how it
# ended. New rows, requests dated ahead, retries and what was put off are not.
_LEASE_RAN_OUT = events.c.error_class.is_(None) & (
    events.c.wanted_at.is_not(None)
    | (events.c.started_at.is_not(None) & events.c.reason.is_(None) & (events.c.attempts > 0))
)


def take_due(
    session: Session, *, limit: int, lease: timedelta, notices: bool | None = None
) -> list[Due]:
    """Return the work keys of up to `limit` due rows, oldest first, and put them off by `lease`.

    `notices`: only those, or all but those. Rows that another relay, a receiver or a worker is
    writing at this moment are passed over.
    """
    of_notices = events.c.work_key.startswith("notice:")
    picked = (
        select(events.c.id, _LEASE_RAN_OUT.label("rescued"))
        .where(
            events.c.state == "pending",
            events.c.due_at <= func.now(),
            events.c.work_key.is_not(None),
            *([] if notices is None else [of_notices if notices else ~of_notices]),
        )
        .order_by(events.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    taken = session.execute(
        update(events)
        .where(events.c.id == picked.c.id)
        .values(
            due_at=func.now() + lease, wanted_at=func.coalesce(events.c.wanted_at, events.c.due_at)
        )
        .returning(events.c.work_key, events.c.received_at, events.c.traceparent, picked.c.rescued)
    ).all()
    found: dict[str, Due] = {}
    for row in sorted(taken, key=lambda row: row.received_at):
        first = found.get(row.work_key)
        found[row.work_key] = Due(
            work_key=row.work_key,
            rescued=row.rescued or (first is not None and first.rescued),
            traceparent=first.traceparent if first else row.traceparent,
        )
    return list(found.values())


def claim(session: Session, work_key: str, *, lease: timedelta) -> list[ClaimedEvent]:
    """Return the batch of the key, leased to the caller; empty when there is nothing to do now.

    Work starts when a row is due, hinted or left by a worker that died. With it goes every failed
    row that waits for its next try. A row that somebody dated ahead, or that a pause holds, stays
    where it is. The caller holds the key's lock.
    """
    soon = events.c.due_at <= func.now() + lease
    found = session.execute(
        select(events, soon.label("soon"))
        .where(
            events.c.work_key == work_key,
            events.c.state == "pending",
            soon | events.c.error_class.is_not(None),
            events.c.held_by.is_(None),
        )
        .order_by(_BY_BYTES)
        .limit(CLAIM_LIMIT)
        .with_for_update()
    ).all()
    if not any(row.soon for row in found):
        return []
    session.execute(
        update(events)
        .where(events.c.id.in_([row.id for row in found]))
        .values(started_at=func.now(), attempts=events.c.attempts + 1, **dated(func.now() + lease))
    )
    newest_first = sorted(
        found,
        key=lambda row: (row.stripe_created_at or row.received_at, row.received_at, row.id),
        reverse=True,
    )
    return [
        ClaimedEvent(
            id=row.id,
            kind=row.kind,
            type=row.type,
            api_version=row.api_version,
            stripe_created_at=row.stripe_created_at,
            attempts=row.attempts + 1,
            waited=_waited(row.tries),
            traceparent=row.traceparent,
        )
        for row in newest_first
    ]


def _waited(tries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether it waited for others since it came in, or since a person requeued it."""
    for each in reversed(tries):
        if each["ended"] == "requeued":
            return False
        if each["ended"] == ErrorClass.WAITING:
            return True
    return False


def payload_of(session: Session, event_id: str) -> bytes:
    """Return the raw body of an event, byte for byte."""
    return bytes(session.scalars(select(events.c.payload).where(events.c.id == event_id)).one())


def look_again(session: Session, work_key: str, *, within: timedelta) -> None:
    """Make the key's untouched rows due again soon: another worker holds the key right now.

    A row that somebody is writing at this moment is passed over: it is being made due anyway.
    """
    untouched = (
        select(events.c.id)
        .where(
            events.c.work_key == work_key,
            events.c.state == "pending",
            events.c.started_at.is_(None),
            events.c.due_at.between(func.now() + within, func.now() + _SOON),
        )
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(events).where(events.c.id.in_(untouched)).values(due_at=func.now() + within)
    )


def finish(
    session: Session,
    batch: Sequence[ClaimedEvent],
    *,
    outcome: str,
    decided: Sequence[Mapping[str, object]] = (),
) -> None:
    """Record what was done, and what was decided from which facts."""
    _record(
        session,
        batch,
        handled=True,
        state="done",
        outcome=outcome,
        decided=list(decided) or None,
        finished_at=func.now(),
        **_NO_ERROR,
    )


def ignore(session: Session, batch: Sequence[ClaimedEvent], *, reason: str) -> None:
    """Keep it with the reason why nothing was done; a person may replay it later."""
    ignored = {**_NO_ERROR, "state": "ignored", "reason": reason, "finished_at": func.now()}
    _record(session, batch, handled=True, **ignored)


def postpone(
    session: Session,
    batch: Sequence[ClaimedEvent],
    *,
    until: datetime,
    reason: str,
    held_by: int | None = None,
) -> None:
    """Leave it pending until then, or until the pause that holds it ends; no try is counted."""
    told = _said_once("postponed", reason, None)
    _record(
        session,
        batch,
        tries=told,
        attempts=_uncounted(),
        **dated(until),
        **{**_NO_ERROR, "reason": reason, "held_by": held_by},
    )


def retry(
    session: Session,
    batch: Sequence[ClaimedEvent],
    *,
    error: Classified,
    delay: timedelta,
    counted: bool = True,
) -> None:
    """Leave it pending, due again after `delay`, with what went wrong."""
    attempts = events.c.attempts if counted else _uncounted()
    told = _told(str(error.error_class), error)
    if not counted:
        told["tries"] = _said_once(str(error.error_class), error.line, error.fingerprint)
    _record(session, batch, attempts=attempts, **dated(func.now() + delay), **told)


def bury(session: Session, batch: Sequence[ClaimedEvent], *, error: Classified) -> None:
    """Make it a dead letter: a person looks, and requeues or discards it."""
    _record(session, batch, state="dead", finished_at=func.now(), **_told("dead", error))


def give_back(session: Session, batch: Sequence[ClaimedEvent]) -> None:
    """Make all of it due now, for another worker; the try is not counted."""
    ids = [event.id for event in batch]
    locked = select(events.c.id).where(events.c.id.in_(ids)).order_by(_BY_BYTES)
    session.execute(locked.with_for_update())
    session.execute(
        update(events)
        .where(events.c.id.in_(ids), events.c.state == "pending")
        .values(attempts=_uncounted(), **dated(func.now()))
    )


_NO_ERROR: dict[str, Any] = {
    "reason": None,
    "error_class": None,
    "error_fingerprint": None,
    "held_by": None,
}


def _told(ended: str, error: Classified) -> dict[str, Any]:
    return {
        "reason": error.line,
        "error_class": str(error.error_class),
        "error_fingerprint": error.fingerprint,
        "held_by": None,
        "tries": _tries_and(ended, error.line, error.fingerprint),
    }


def _tries_and(ended: str, line: str, fingerprint: str | None) -> ColumnElement[Any]:
    """Return the row's tries and this one, the last of them at most `TRIES_KEPT`."""
    entry = func.jsonb_build_object(
        "at",
        func.now(),
        "attempt",
        events.c.attempts,
        "ended",
        ended,
        "line",
        line,
        "fingerprint",
        cast(fingerprint, Text),
        type_=JSONB,
    )
    kept = case(
        (func.jsonb_array_length(events.c.tries) >= TRIES_KEPT, events.c.tries.op("-")(0)),
        else_=events.c.tries,
    )
    return kept.op("||")(func.jsonb_build_array(entry, type_=JSONB))


def _said_once(ended: str, line: str, fingerprint: str | None) -> ColumnElement[Any]:
    """Return the row's tries: what looks again, and again, has one line to tell of each reason."""
    said = events.c.tries.contains([{"ended": ended, "line": line}])
    return case((said, events.c.tries), else_=_tries_and(ended, line, fingerprint))


def _uncounted() -> ColumnElement[int]:
    return case((events.c.attempts > 0, events.c.attempts - 1), else_=0)


def _record(
    session: Session, batch: Sequence[ClaimedEvent], *, handled: bool = False, **values: object
) -> None:
    """Write what became of a batch, only on rows that are pending: a person may have been first."""
    newest = batch[0].id
    told = [
        each.id for each in batch if each.id == newest or (each.kind == "request" and not handled)
    ]
    others = [each.id for each in batch if each.id not in told]
    if len(batch) > 1:
        locked = select(events.c.id).where(events.c.id.in_([*told, *others]))
        session.execute(locked.order_by(_BY_BYTES).with_for_update())
    if others:
        session.execute(
            update(events)
            .where(events.c.id.in_(others), events.c.state == "pending")
            .values(state="superseded", superseded_by=newest, finished_at=func.now())
        )
    session.execute(
        update(events).where(events.c.id.in_(told), events.c.state == "pending").values(values)
    )


def missing(session: Session, event_ids: Sequence[str]) -> set[str]:
    """Return which of the events are not in the inbox."""
    known = session.scalars(select(events.c.id).where(events.c.id.in_(event_ids)))
    return set(event_ids) - set(known)
