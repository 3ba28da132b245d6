"""The audit trail: who did what, when, before and after. Rows are added and read, never changed.

The database refuses the rest by a trigger (migration 0003).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.tables import audit_trail


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done. `action` is `noun.verb`: member.activated, seats.changed."""

    id: int
    at: datetime
    organization_id: str | None
    actor: str
    token_id: str | None
    action: str
    subject: str
    because: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def record(  # noqa: PLR0913 - one row, all by name
    session: Session,
    actor: Actor,
    action: str,
    subject: str,
    *,
    organization_id: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry in the transaction of the change it tells of: one is never there alone."""
    session.execute(
        insert(audit_trail).values(
            actor=actor.who,
            token_id=actor.token_id,
            because=actor.because,
            action=action,
            subject=subject,
            organization_id=organization_id,
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
        )
    )


def page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    *,
    organization_id: str | None = None,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> tuple[AuditEntry, ...]:
    """Return entries that match, the newest first, at most `limit` older than `before_id`."""
    wanted = select(audit_trail).order_by(audit_trail.c.id.desc()).limit(limit)
    filters = {
        "organization_id": organization_id,
        "subject": subject,
        "actor": actor,
        "action": action,
    }
    for name, value in filters.items():
        if value is not None:
            wanted = wanted.where(audit_trail.c[name] == value)
    if before_id is not None:
        wanted = wanted.where(audit_trail.c.id < before_id)
    rows = session.execute(wanted).mappings()
    return tuple(AuditEntry(**{name: row[name] for name in AuditEntry.__slots__}) for row in rows)
