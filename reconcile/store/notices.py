"""Notices: what the host application is told. A row first; its delivery is an inbox request.

Like everything else in the inbox, a delivery is retried, becomes a dead letter, and is requeued.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.policy.notices import NOTICES
from reconcile.store.inbox import add_request
from reconcile.tables import notices

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
    created_at: datetime
    delivered_at: datetime | None
    answer_status: int | None


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
    return None if found is None else Notice(**{name: found[name] for name in Notice.__slots__})


def mark_delivered(session: Session, notice_id: str, *, status: int) -> None:
    """Note that the host took it."""
    session.execute(
        update(notices)
        .where(notices.c.id == notice_id)
        .values(delivered_at=func.now(), answer_status=status)
    )
