"""Findings: opened once per kind and subject, refreshed while they last, closed when gone.

Those that nothing makes go away are closed by their number, when a person has seen them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile import metrics
from reconcile.policy.notices import NOTICES, notice_of
from reconcile.policy.values import FindingKind, Observation
from reconcile.store import notices
from reconcile.tables import findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a set of observations was made of: a subscription, or an organization beside them.

    Of neither: the installation as a whole.
    """

    organization_id: str | None
    subscription_id: str | None = None

    def subject(self, observation: Observation) -> str:
        """Return what it is about: `sub_1/voice`, `sub_1/adj_1`, `org_1/member_1`, `org_1`, ...

        Two of one kind about the same are one finding.
        """
        whole = self.subscription_id or self.organization_id or "installation"
        part = observation.seat_type or observation.member_id or observation.adjustment_id
        return f"{whole}/{part}" if part else whole

    def _rows(self) -> ColumnElement[bool]:
        if self.subscription_id:
            return findings.c.subscription_id == self.subscription_id
        return findings.c.subscription_id.is_(None) & (
            findings.c.organization_id == self.organization_id
        )


INSTALLATION = Scope(organization_id=None)


@dataclass(frozen=True, slots=True)
class Synced:
    """How many findings were opened and closed."""

    opened: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An open or closed finding."""

    id: int
    kind: str
    subject: str
    organization_id: str | None
    subscription_id: str | None
    seat_type: str | None
    urgent: bool
    summary: str
    detail: Mapping[str, Any]
    opened_by: str | None
    opened_at: datetime
    closed_at: datetime | None


def sync(  # noqa: PLR0913 - one observation round, all by name
    session: Session,
    scope: Scope,
    observations: Iterable[Observation],
    judged: frozenset[FindingKind],
    *,
    at: datetime,
    opened_by: str,
) -> Synced:
    """Make the scope's open findings those observed: open new ones, refresh, close what is gone.

    Only kinds in `judged` are closed: of the others the facts said nothing.
    """
    standing = {(row.kind, row.subject): row for row in open_of(session, scope)}
    seen: set[tuple[str, str]] = set()
    opened = 0
    for observation in observations:
        key = (observation.kind.value, scope.subject(observation))
        if key in seen:
            continue
        seen.add(key)
        finding_id = _write(session, scope, observation, standing.get(key), at, opened_by)
        if key not in standing:
            opened += 1
            metrics.FINDINGS_OPENED.labels(kind=observation.kind.value).inc()
            _tell(session, scope, observation, finding_id, at)
    gone = [
        row.id
        for key, row in standing.items()
        if key not in seen and FindingKind(row.kind) in judged
    ]
    if gone:
        session.execute(
            update(findings).where(findings.c.id.in_(gone)).values(closed_at=at, last_seen_at=at)
        )
    return Synced(opened, len(gone))


def observe(
    session: Session, scope: Scope, observation: Observation, *, at: datetime, opened_by: str
) -> Synced:
    """Open or refresh one finding."""
    return sync(session, scope, [observation], frozenset(), at=at, opened_by=opened_by)


def close(session: Session, scope: Scope, *kinds: FindingKind, at: datetime) -> Synced:
    """Close the scope's open findings of these kinds."""
    return sync(session, scope, [], frozenset(kinds), at=at, opened_by="")


def close_one(session: Session, finding_id: int, *, at: datetime) -> Finding | None:
    """Close one finding and return it as it is then; None when none of this number is open."""
    closed = session.execute(
        update(findings)
        .where(findings.c.id == finding_id, findings.c.closed_at.is_(None))
        .values(closed_at=at)
        .returning(findings)
    )
    row = closed.mappings().one_or_none()
    return None if row is None else _finding(row)


def open_of(session: Session, scope: Scope) -> tuple[Finding, ...]:
    """Return the scope's open findings, oldest first."""
    rows = session.execute(
        select(findings)
        .where(scope._rows(), findings.c.closed_at.is_(None))  # noqa: SLF001 - of this module
        .order_by(findings.c.id)
    )
    return tuple(_finding(row) for row in rows.mappings())


def subscriptions_with(session: Session, organization_id: str, kind: FindingKind) -> frozenset[str]:
    """Return the organization's subscriptions that have an open finding of this kind."""
    found = session.scalars(
        select(findings.c.subscription_id).where(
            findings.c.organization_id == organization_id,
            findings.c.kind == kind.value,
            findings.c.closed_at.is_(None),
            findings.c.subscription_id.is_not(None),
        )
    )
    return frozenset(str(each) for each in found)


def newest_open(session: Session, organization_id: str, kind: FindingKind) -> datetime | None:
    """Return when the newest open finding of the kind was opened in the organization, or None."""
    newest: datetime | None = session.scalar(
        select(func.max(findings.c.opened_at)).where(
            findings.c.organization_id == organization_id,
            findings.c.kind == kind.value,
            findings.c.closed_at.is_(None),
        )
    )
    return newest


def _finding(row: RowMapping) -> Finding:
    return Finding(**{name: row[name] for name in Finding.__slots__})


def _write(  # noqa: PLR0913, PLR0917 - the parts of one row
    session: Session,
    scope: Scope,
    observation: Observation,
    standing: Finding | None,
    at: datetime,
    opened_by: str,
) -> int:
    values = {
        "urgent": observation.urgent,
        "summary": observation.summary,
        "detail": _detail(observation, standing),
        "last_seen_at": at,
    }
    written = session.execute(
        insert(findings)
        .values(
            kind=observation.kind.value,
            subject=scope.subject(observation),
            organization_id=scope.organization_id,
            subscription_id=scope.subscription_id,
            seat_type=observation.seat_type,
            opened_by=opened_by,
            opened_at=at,
            **values,
        )
        .on_conflict_do_update(
            index_elements=["kind", "subject"],
            index_where=findings.c.closed_at.is_(None),
            set_=values,
        )
        .returning(findings.c.id)
    )
    return int(written.scalar_one())


def _tell(
    session: Session, scope: Scope, observation: Observation, finding_id: int, at: datetime
) -> None:
    """Tell the host of a finding that was opened, where it is one to tell of."""
    notice = notice_of(observation)
    if notice is None:
        return
    about = dict(observation.detail) | {
        "finding_id": finding_id,
        "finding": observation.kind.value,
        "about": scope.subject(observation),
        "subscription_id": scope.subscription_id,
        "seat_type": observation.seat_type,
        "member_id": observation.member_id,
        "urgent": observation.urgent,
        "code": observation.detail.get("code"),
    }
    notices.add(
        session,
        notice,
        f"finding_{finding_id}",
        observation.summary,
        organization_id=scope.organization_id,
        due_at=at,
        audience=observation.notify,
        data={name: about[name] for name in NOTICES[notice].data if name in about},
    )


def _detail(observation: Observation, standing: Finding | None) -> dict[str, Any]:
    detail = dict(observation.detail)
    if observation.notify:
        detail["notify"] = observation.notify
    # A contract is trued up by the highest count there was, not by the latest (contract overage).
    if "peak" in detail and standing:
        detail["peak"] = max(detail["peak"], standing.detail.get("peak", 0))
    return detail
