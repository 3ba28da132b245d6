"""Notices: what the host application is told. A row first; its delivery is an inbox request.

Like everything else in the inbox, a delivery is retried, becomes a dead letter, and is requeued.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.policy.notices import NOTICES
from reconcile.store.inbox import add_request
from reconcile.tables import events, notices

DELIVER = "trueup.notice.deliver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the host application is told once. `audience` says who should hear of it."""

    id: str
    type: str
    organization_id: str | None
    audience: str | None
    subject: str
    summary: str
    data: Mapping[str, Any]
    request_id: str | None
    created_at: datetime
    delivered_at: datetime | None
    tried_at: datetime | None
    answer_status: int | None
    trouble: str | None


def add(  # noqa: PLR0913 - the values of one row, all by name
    session: Session,
    type: str,  # noqa: A002 - the word of the specification
    subject: str,
    summary: str,
    *,
    organization_id: str | None,
    due_at: datetime,
    audience: str | None = None,
    data: Mapping[str, object] | None = None,
) -> str | None:
    """Add a notice and the request that delivers it; None when its type and subject were told.

    In the transaction of what it tells of. `subject` names the occasion, not only the thing
    (`rev_7/reminder-2`), so that the same thing can be told of again. The type and the fields of
    `data` are those of `policy.notices`, as is the audience where none is given.
    """
    kind = NOTICES[type]
    assert not set(data or ()) - set(kind.data), f"{type} has no field {set(data or ())}"
    notice_id = f"ntc_{uuid.uuid4().hex}"
    added = session.execute(
        insert(notices)
        .values(
            id=notice_id,
            type=type,
            organization_id=organization_id,
            audience=audience or kind.audience,
            subject=subject,
            summary=summary,
            data=dict(data or {}),
        )
        .on_conflict_do_nothing(index_elements=["type", "subject"])
        .returning(notices.c.id)
    ).one_or_none()
    if added is None:
        return None
    request_id = add_request(
        session,
        type=DELIVER,
        work_key=f"notice:{notice_id}",
        payload={"notice": notice_id},
        organization_id=organization_id,
        due_at=due_at,
    )
    session.execute(update(notices).where(notices.c.id == notice_id).values(request_id=request_id))
    return notice_id


def by_id(session: Session, notice_id: str) -> Notice | None:
    """Return the notice, or None."""
    row = session.execute(select(notices).where(notices.c.id == notice_id)).mappings()
    found = row.one_or_none()
    return None if found is None else _notice(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try to deliver a notice. `holds_until`: no other notice is to be tried before."""

    at: datetime
    delivered: bool
    status: int | None
    trouble: str | None
    holds_until: datetime | None


def write_try(session: Session, notice_id: str, tried: Try) -> None:
    """Note how the last try ended. What was delivered once stays delivered."""
    values: dict[str, object] = {
        "tried_at": tried.at,
        "answer_status": tried.status,
        "trouble": tried.trouble,
        "holds_until": tried.holds_until,
    }
    if tried.delivered:
        values["delivered_at"] = tried.at
    session.execute(update(notices).where(notices.c.id == notice_id).values(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a failed try asks of the others: to wait until then, `length` from the try on."""

    notice_id: str
    until: datetime
    length: timedelta


def hold(session: Session) -> Hold | None:
    """Return what the last try asks of the others, which may be over; None: nothing."""
    last = session.execute(
        select(notices.c.id, notices.c.tried_at, notices.c.holds_until)
        .where(notices.c.tried_at.is_not(None))
        .order_by(notices.c.tried_at.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.holds_until is None:
        return None
    length = last.holds_until - last.tried_at
    return Hold(notice_id=last.id, until=last.holds_until, length=length)


def end_hold(session: Session) -> None:
    """Let the others go: whoever says that the host is back is believed until the next try."""
    session.execute(
        update(notices).where(notices.c.holds_until > func.now()).values(holds_until=None)
    )


def due_within(session: Session, at: datetime, length: timedelta, *, limit: int) -> int:
    """Return how many deliveries come due in that time from `at` on, counted up to `limit`."""
    some = (
        select(events.c.id)
        .where(
            # Not a parameter: by the index of those rows under any plan.
            events.c.state == literal_column("'pending'"),
            events.c.due_at >= at,
            events.c.due_at < at + length,
            events.c.type == DELIVER,
        )
        .limit(limit)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def last_try(session: Session) -> Notice | None:
    """Return the notice that was tried last, or None: none ever was."""
    newest = select(notices).where(notices.c.tried_at.is_not(None))
    row = session.execute(newest.order_by(notices.c.tried_at.desc()).limit(1)).mappings()
    found = row.one_or_none()
    return None if found is None else _notice(found)


def undelivered(session: Session, *, limit: int) -> int:
    """Return how many notices wait for the host or are dead letters, `limit` at most."""
    some = (
        select(notices.c.id)
        .join(events, events.c.id == notices.c.request_id)
        .where(notices.c.delivered_at.is_(None), events.c.state.in_(["pending", "dead"]))
        .limit(limit)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    *,
    organization_id: str | None = None,
    type: str | None = None,  # noqa: A002 - the word of the specification
    delivered: bool | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> tuple[Notice, ...]:
    """Return notices that match, the newest first, at most `limit` older than `before`.

    `before` is the time and the id of the last one seen.
    """
    # Two columns and not one pair, which no index is in the order of.
    newest = (notices.c.created_at.desc(), notices.c.id.desc())
    wanted = select(notices).order_by(*newest).limit(limit)
    if organization_id is not None:
        wanted = wanted.where(notices.c.organization_id == organization_id)
    if type is not None:
        wanted = wanted.where(notices.c.type == type)
    if delivered is not None:
        is_out = notices.c.delivered_at.is_not(None)
        wanted = wanted.where(is_out if delivered else ~is_out)
    if before is not None:
        wanted = wanted.where(tuple_(notices.c.created_at, notices.c.id) < before)
    return tuple(_notice(row) for row in session.execute(wanted).mappings())


def _notice(row: RowMapping) -> Notice:
    return Notice(**{name: row[name] for name in Notice.__slots__})
