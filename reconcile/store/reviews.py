"""Reviews: rows that wait for a person, and the request that is their clock.

At most one of a kind is open per organization; the database holds that. No rule is in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.store.inbox import add_request, dated
from reconcile.tables import events, reviews

CLOCK = "trueup.review.clock"
ENTERPRISE, USAGE = "enterprise", "usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One review. `reminders` are behind us; a `usage` review has no grace and restricts nothing.

    `detail["over"]` lists what is over, each with its count and limit.
    """

    id: int
    organization_id: str
    kind: str
    reason: str
    detail: Mapping[str, Any]
    opened_at: datetime
    grace_ends_at: datetime | None
    reminders: int
    restricted_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    closed_because: str | None


def add(  # noqa: PLR0913 - one row, all by name
    session: Session,
    organization_id: str,
    kind: str,
    reason: str,
    *,
    detail: Mapping[str, object],
    at: datetime,
    grace_ends_at: datetime | None,
) -> Review | None:
    """Open a review and return it; None when one of the kind is open already.

    One with a grace gets its clock, an inbox request that is due at once and from step to step.
    """
    row = session.execute(
        insert(reviews)
        .values(
            organization_id=organization_id,
            kind=kind,
            reason=reason,
            detail=dict(detail),
            opened_at=at,
            grace_ends_at=grace_ends_at,
        )
        .on_conflict_do_nothing(
            index_elements=["organization_id", "kind"], index_where=reviews.c.closed_at.is_(None)
        )
        .returning(reviews)
    )
    found = row.mappings().one_or_none()
    if found is None:
        return None
    if grace_ends_at is not None:
        add_request(
            session,
            type=CLOCK,
            work_key=f"review:{found['id']}",
            payload={"review": found["id"]},
            organization_id=organization_id,
            due_at=at,
        )
    return _review(found)


def by_id(session: Session, review_id: int, *, lock: bool = False) -> Review | None:
    """Return the review, or None; with `lock` nobody else changes it until the transaction ends."""
    wanted = select(reviews).where(reviews.c.id == review_id)
    row = session.execute(wanted.with_for_update() if lock else wanted).mappings().one_or_none()
    return None if row is None else _review(row)


def open_of(session: Session, organization_id: str, kind: str = ENTERPRISE) -> Review | None:
    """Return the organization's open review of the kind, or None."""
    row = session.execute(
        select(reviews).where(
            reviews.c.organization_id == organization_id,
            reviews.c.kind == kind,
            reviews.c.closed_at.is_(None),
        )
    )
    found = row.mappings().one_or_none()
    return None if found is None else _review(found)


def last_closed(session: Session, organization_id: str, kind: str) -> Review | None:
    """Return the review of the kind that was closed last, or None."""
    row = session.execute(
        select(reviews)
        .where(
            reviews.c.organization_id == organization_id,
            reviews.c.kind == kind,
            reviews.c.closed_at.is_not(None),
        )
        .order_by(reviews.c.closed_at.desc())
        .limit(1)
    )
    found = row.mappings().one_or_none()
    return None if found is None else _review(found)


def is_restricted(session: Session, organization_id: str) -> bool:
    """Return whether growth is refused: a review's grace is over and it is not closed (C8)."""
    restricted = exists().where(
        reviews.c.organization_id == organization_id,
        reviews.c.closed_at.is_(None),
        reviews.c.restricted_at.is_not(None),
    )
    return session.scalar(select(restricted)) is True


def write(session: Session, review_id: int, **values: object) -> Review:
    """Write columns of a review that exists, and return it as it is then."""
    row = session.execute(
        update(reviews).where(reviews.c.id == review_id).values(values).returning(reviews)
    )
    return _review(row.mappings().one())


def wake(session: Session, review_id: int, *, at: datetime) -> None:
    """Let the review's clock look at once: something changed under it."""
    session.execute(
        update(events)
        .where(events.c.work_key == f"review:{review_id}", events.c.state == "pending")
        .values(dated(at))
    )


def page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    *,
    organization_id: str | None = None,
    kind: str | None = None,
    is_open: bool | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> tuple[Review, ...]:
    """Return reviews that match, the newest first, at most `limit` older than `before_id`."""
    wanted = select(reviews).order_by(reviews.c.id.desc()).limit(limit)
    if organization_id is not None:
        wanted = wanted.where(reviews.c.organization_id == organization_id)
    if kind is not None:
        wanted = wanted.where(reviews.c.kind == kind)
    if is_open is not None:
        closed = reviews.c.closed_at.is_not(None)
        wanted = wanted.where(~closed if is_open else closed)
    if before_id is not None:
        wanted = wanted.where(reviews.c.id < before_id)
    return tuple(_review(row) for row in session.execute(wanted).mappings())


def _review(row: RowMapping) -> Review:
    return Review(**{name: row[name] for name in Review.__slots__})
