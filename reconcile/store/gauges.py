"""How things stand now, for whoever watches: counts and ages, each by a short closed list.

What is counted by its kind is counted whole, in one pass over a partial index: a page of all kinds
together would show the many and hide the few, and it is the few that page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, select

from reconcile.store import inbox
from reconcile.tables import adjustments, events, findings, pauses, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Ages in seconds, None where there is nothing; `unfinished` is counted up to 10,000."""

    unfinished: int
    oldest_unfinished: str | None  # the event that is wanted longest and that no worker has taken
    oldest_unfinished_s: float | None
    failing: Mapping[str, int]  # pending after a failed try, by class of error
    dead: Mapping[str, int]  # by class of error
    findings: Mapping[str, int]  # open ones, by kind
    adjustments_in_flight: int
    oldest_in_flight_s: float | None
    paused: Mapping[str, int]  # by scope
    last_done: Mapping[str, datetime]  # the end of the last good run, by task
    differing: Mapping[str, int]  # in the last good nightly run, by what differed
    differing_gained: int | None  # how many more that was than in the good run before it
    audited: Mapping[str, int]  # by the last good gap audit: known and missing


def read(connection: Connection, *, hint_lease_s: float) -> Gauges:
    """Return how things stand, in a few queries on indexes."""
    backlog = inbox.backlog(connection, hint_lease_s=hint_lease_s)
    in_flight, oldest = connection.execute(
        select(
            func.count(), func.extract("epoch", func.now() - func.min(adjustments.c.created_at))
        ).where(adjustments.c.state == "pending")
    ).one()
    done = select(runs.c.task, func.max(runs.c.finished_at)).where(runs.c.state == "done")
    differing, gained = _differing(connection)
    return Gauges(
        unfinished=backlog.unfinished,
        oldest_unfinished=backlog.oldest_id,
        oldest_unfinished_s=backlog.oldest_age_s,
        failing=_by(connection, events.c.error_class, events.c.state == "pending"),
        dead=_by(connection, events.c.error_class, events.c.state == "dead"),
        findings=_by(connection, findings.c.kind, findings.c.closed_at.is_(None)),
        adjustments_in_flight=in_flight,
        oldest_in_flight_s=None if oldest is None else float(oldest),
        paused=_by(connection, pauses.c.scope, pauses.c.resumed_at.is_(None)),
        last_done={row[0]: row[1] for row in connection.execute(done.group_by(runs.c.task))},
        differing=differing,
        differing_gained=gained,
        audited=_audited(connection),
    )


def _differing(connection: Connection) -> tuple[dict[str, int], int | None]:
    """What differs may stand for weeks: only what came on top of it is news."""
    last, before = _last_two_reports(connection, "nightly")
    differing = dict((last or {}).get("differing", {}))
    if before is None:
        return differing, None
    return differing, sum(differing.values()) - sum(before.get("differing", {}).values())


def _audited(connection: Connection) -> dict[str, int]:
    """Nothing of the first audit: all that Stripe sent before we were there is missing to it."""
    last, before = _last_two_reports(connection, "gap_audit")
    if last is None or before is None:
        return {}
    missing = int(last.get("missing", 0))
    return {"known": int(last.get("looked_at", 0)) - missing, "missing": missing}


def _last_two_reports(connection: Connection, task: str) -> list[Mapping[str, Any] | None]:
    """Return what the good runs that ended last reported, the newest first; None: there was none.

    Whoever made them, and whatever nights they are of: what a process counts is gone with it.
    """
    good = select(runs.c.report).where(runs.c.task == task, runs.c.state == "done")
    found = connection.scalars(good.order_by(runs.c.finished_at.desc()).limit(2)).all()
    return [*found, None, None][:2]


def _by(connection: Connection, column: Column[str], where: ColumnElement[bool]) -> dict[str, int]:
    counted = select(column, func.count()).where(where, column.is_not(None)).group_by(column)
    return {row[0]: row[1] for row in connection.execute(counted)}
