"""What on-call sees first: how far behind the work is, what is urgent, when what last ran.

Counts stop at a page, and every look is on an index. Figures for machines are in `gauges`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reconcile.store.look import Filters, events_where
from reconcile.store.runs import Run, latest_of_each
from reconcile.tables import events, findings

LAG_OVER = timedelta(hours=1)
_SAMPLE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkKey:
    """Everything pending for one work key, as one line of a list."""

    work_key: str
    events: int
    oldest_at: datetime
    due_at: datetime | None
    attempts: int
    failing: bool
    held: bool
    taken: bool  # by a worker, once
    line: str | None
    newest_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """From receipt to the end, in seconds, of events finished in the last hour."""

    events: int
    median_s: float
    most_s: float


def first_received(session: Session) -> datetime | None:
    """Return when the oldest event that is still kept came in."""
    column = events.c.received_at
    return session.scalar(select(column).order_by(column).limit(1))


def work_keys(session: Session, filters: Filters, *, limit: int) -> tuple[WorkKey, ...]:
    """Return the work keys with something pending that matches, the first due first."""
    column = events.c
    grouped = (
        select(
            column.work_key,
            func.count().label("events"),
            func.min(column.received_at).label("oldest_at"),
            func.min(column.due_at).label("due_at"),
            func.max(column.attempts).label("attempts"),
            func.bool_or(column.error_class.is_not(None)).label("failing"),
            func.bool_and(column.held_by.is_not(None)).label("held"),
            func.bool_or(column.started_at.is_not(None)).label("taken"),
            func.max(column.reason).label("line"),
            func.max(column.id).label("newest_id"),
        )
        .where(column.state == "pending", column.work_key.is_not(None), *events_where(filters))
        .group_by(column.work_key)
        .order_by(func.min(column.due_at), column.work_key)
        .limit(limit)
    )
    return tuple(WorkKey(**row) for row in session.execute(grouped).mappings())


def pending_of(session: Session, work_key: str, *, limit: int) -> tuple[str, ...]:
    """Return the ids of the key's pending events, the first received first."""
    wanted = select(events.c.id).where(events.c.work_key == work_key, events.c.state == "pending")
    return tuple(session.scalars(wanted.order_by(events.c.received_at).limit(limit)))


def due_since(session: Session) -> datetime | None:
    """Return since when the row that is due the longest waits for the relay, or None."""
    oldest: datetime | None = session.scalar(
        select(func.min(events.c.due_at)).where(events.c.state == "pending")
    )
    return oldest


def last_delivery(session: Session) -> datetime | None:
    """Return when Stripe last delivered something new, or None."""
    newest = select(events.c.received_at).where(events.c.source == "webhook")
    return session.scalar(newest.order_by(events.c.received_at.desc()).limit(1))


def lag(session: Session, *, now: datetime) -> Lag | None:
    """Return how long events take from receipt to the end; None when none has ended lately."""
    some = (
        select(
            func.extract(
                "epoch",
                events.c.finished_at - func.coalesce(events.c.requeued_at, events.c.received_at),
            ).label("took_s")
        )
        .where(events.c.finished_at > now - LAG_OVER, events.c.state.in_(["done", "superseded"]))
        .order_by(events.c.finished_at.desc())
        .limit(_SAMPLE)
        .subquery()
    )
    row = session.execute(
        select(
            func.count(),
            func.percentile_cont(0.5).within_group(some.c.took_s),
            func.max(some.c.took_s),
        )
    ).one()
    if not row[0]:
        return None
    return Lag(events=row[0], median_s=float(row[1]), most_s=float(row[2]))


def urgent_findings(session: Session) -> Mapping[str, int]:
    """Return how many urgent findings are open, by kind."""
    counted = (
        select(findings.c.kind, func.count())
        .where(findings.c.closed_at.is_(None), findings.c.urgent)
        .group_by(findings.c.kind)
    )
    return {row[0]: row[1] for row in session.execute(counted)}


def last_runs(session: Session, *, until: date) -> Mapping[str, Run]:
    """Return the newest run of every task that ever ran, of that night or an earlier one."""
    return {run.task: run for run in latest_of_each(session, until=until)}
