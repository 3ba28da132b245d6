"""Previews: what a person was shown before saving, and what became of it when they saved it.

A row is written once and gets its adjustment and its answer later: whoever applies it again is
answered the same.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.tables import previews


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A preview as it was shown. `outcome` is set once it was applied; amounts are in `shown`."""

    id: str
    organization_id: str
    subscription_id: str
    wanted: Mapping[str, Any]
    shown: Mapping[str, Any]
    fingerprint: str
    prorated_from: datetime | None
    actor: str
    created_at: datetime
    expires_at: datetime
    adjustment_id: str | None
    applied_at: datetime | None
    outcome: Mapping[str, Any] | None


def add(  # noqa: PLR0913 - the values of one row, all by name
    session: Session,
    *,
    organization_id: str,
    subscription_id: str,
    wanted: Mapping[str, Any],
    shown: Mapping[str, Any],
    fingerprint: str,
    prorated_from: datetime | None,
    actor: Actor,
    expires_at: datetime,
) -> str:
    """Write a preview and return its `prv_` id."""
    preview_id = f"prv_{uuid.uuid4().hex}"
    session.execute(
        insert(previews).values(
            id=preview_id,
            organization_id=organization_id,
            subscription_id=subscription_id,
            wanted=dict(wanted),
            shown=dict(shown),
            fingerprint=fingerprint,
            prorated_from=prorated_from,
            actor=actor.who,
            expires_at=expires_at,
        )
    )
    return preview_id


def by_id(session: Session, organization_id: str, preview_id: str) -> Shown | None:
    """Return the organization's preview, or None."""
    this = (previews.c.id == preview_id, previews.c.organization_id == organization_id)
    row = session.execute(select(previews).where(*this)).mappings().one_or_none()
    return None if row is None else Shown(**{name: row[name] for name in Shown.__slots__})


def sent(session: Session, preview_id: str, adjustment_id: str) -> None:
    """Note the adjustment that it became, in the transaction that records the intent."""
    _write(session, preview_id, adjustment_id=adjustment_id)


def applied(session: Session, preview_id: str, outcome: Mapping[str, Any], *, at: datetime) -> None:
    """Note that it was applied, and the answer."""
    _write(session, preview_id, applied_at=at, outcome=dict(outcome))


def prune(session: Session, *, before: datetime, limit: int) -> int:
    """Delete previews that expired before this and were never applied; returns how many."""
    old = (
        select(previews.c.id)
        .where(
            previews.c.expires_at < before,
            previews.c.adjustment_id.is_(None),
            previews.c.applied_at.is_(None),
        )
        .limit(limit)
    )
    gone = session.execute(delete(previews).where(previews.c.id.in_(old)).returning(previews.c.id))
    return len(gone.all())


def _write(session: Session, preview_id: str, **values: Any) -> None:
    session.execute(update(previews).where(previews.c.id == preview_id).values(**values))
