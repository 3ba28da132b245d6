"""Runs of the schedule: one row per task and night, so that two schedulers do the work once.

The caller holds the task's lock (`exclusive`); the row says how far the run came, for whoever
takes over after a crash, and what it did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.tables import runs

# The id of a run without a row; identities of rows begin at 1.
UNKEPT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One night's run of one task."""

    id: int
    task: str
    night: date
    writes: bool
    state: str
    cursor: str | None
    report: Mapping[str, Any]
    started_at: datetime
    finished_at: datetime | None


def begin(session: Session, task: str, night: date, *, writes: bool) -> Run:
    """Return the night's run of the task: a new one, or the one that is there already."""
    session.execute(
        insert(runs).values(task=task, night=night, writes=writes).on_conflict_do_nothing()
    )
    found = session.execute(select(runs).where(runs.c.task == task, runs.c.night == night))
    return _run(found.mappings().one())


def of_night(session: Session, task: str, night: date) -> Run | None:
    """Return the night's run of the task, or None."""
    found = session.execute(select(runs).where(runs.c.task == task, runs.c.night == night))
    row = found.mappings().one_or_none()
    return None if row is None else _run(row)


def unkept(task: str, night: date, *, at: datetime) -> Run:
    """Return a run that has no row and writes nothing: somebody only looks."""
    return Run(
        id=UNKEPT, task=task, night=night, writes=False, state="running", cursor=None, report={},
        started_at=at, finished_at=None,
    )  # fmt: skip


def start_over(session: Session, run_id: int, *, writes: bool) -> Run:
    """Begin the run again from nothing."""
    values = {"state": "running", "writes": writes, "cursor": None, "report": {}}
    return _written(
        session, run_id, **values, started_at=func.now(), seen_at=func.now(), finished_at=None
    )


def advance(session: Session, run_id: int, *, cursor: str | None, report: Mapping[str, Any]) -> Run:
    """Record how far the run is; one that had failed is running again."""
    values = {"state": "running", "cursor": cursor, "report": report, "finished_at": None}
    return _written(session, run_id, **values, seen_at=func.now())


def finish(session: Session, run_id: int, *, state: str, report: Mapping[str, Any]) -> Run:
    """Close the run as `done` or `failed`."""
    return _written(
        session, run_id, state=state, report=report, seen_at=func.now(), finished_at=func.now()
    )


def latest(session: Session, task: str, *, until: date) -> Run | None:
    """Return the task's newest run of that night or an earlier one, or None.

    A row of a later night says nothing: the clock was wrong once, or a person named the date.
    """
    found = session.execute(
        select(runs)
        .where(runs.c.task == task, runs.c.night <= until)
        .order_by(runs.c.night.desc())
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else _run(row)


def latest_done(session: Session, task: str) -> Run | None:
    """Return the finished run of the task that was begun last, whatever night it is of, or None."""
    found = session.execute(
        select(runs)
        .where(runs.c.task == task, runs.c.state == "done")
        .order_by(runs.c.started_at.desc())
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else _run(row)


def latest_of_each(session: Session, *, until: date) -> tuple[Run, ...]:
    """Return every task's newest run of that night or an earlier one, as `latest` does."""
    nights = select(runs.c.task, func.max(runs.c.night)).where(runs.c.night <= until)
    newest = nights.group_by(runs.c.task)
    found = select(runs).where(tuple_(runs.c.task, runs.c.night).in_(newest))
    return tuple(_run(row) for row in session.execute(found).mappings())


def _written(session: Session, run_id: int, **values: object) -> Run:
    changed = update(runs).where(runs.c.id == run_id).values(**values).returning(runs)
    return _run(session.execute(changed).mappings().one())


def _run(row: RowMapping) -> Run:
    return Run(**{name: row[name] for name in Run.__slots__})
