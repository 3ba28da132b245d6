"""How things stand now, for whoever watches: counts and ages, each by a short closed list.

What is counted by its kind is counted whole, or each kind by itself, over a partial index: a page
of all kinds together would show the many and hide the few, and it is the few that page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, literal_column, select

from reconcile.errors import ErrorClass
from reconcile.store import inbox
from reconcile.tables import adjustments, events, findings, pauses, runs

# What a night found is held against the quietest of so many before it. Against the last one alone,
# what comes anew every night would be news once.
_NIGHTS_BEFORE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Ages in seconds, None where there is nothing; `unfinished` is counted up to 10,000."""

    unfinished: int
    oldest_unfinished: str | None  # the event that is wanted longest and that no worker has taken
    oldest_unfinished_s: float | None
    failing: Mapping[str, int]  # pending after a failed try, by class of error, up to 10,000 each
    dead: Mapping[str, int]  # by class of error
    findings: Mapping[str, int]  # open ones, by kind
    adjustments_in_flight: int
    oldest_in_flight_s: float | None
    paused: Mapping[str, int]  # by scope
    last_done: Mapping[str, datetime]  # the end of the last good run, by task
    differing: Mapping[str, int]  # in the last good nightly run, by what differed
    differing_gained: int | None  # how many more that was than in the quietest of a week before it
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
        failing=_failing(connection),
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


def _failing(connection: Connection) -> dict[str, int]:
    found = {}
    for each in ErrorClass:
        some = (
            select(events.c.error_class)
            # Not a parameter: by the index of those rows under any plan.
            .where(events.c.state == literal_column("'pending'"), events.c.error_class == each)
            .limit(inbox.COUNTED)
        )
        found[each.value] = connection.scalar(select(func.count()).select_from(some.subquery()))
    return {name: number for name, number in found.items() if number}


def _differing(connection: Connection) -> tuple[dict[str, int], int | None]:
    """What differs may stand for weeks: what came on top of it is news, for a week of nights."""
    limit = 1 + _NIGHTS_BEFORE
    told = _reports(connection, "nightly", "differing", "roster_problem", limit=limit)
    if not told:
        return {}, None
    found = [each["differing"] or {} for each in told]
    # Compared without counts, a night finds less than there was.
    whole = [not each["roster_problem"] for each in told]
    usual = [sum(each.values()) for each in compress(found[1:], whole[1:])]
    return found[0], sum(found[0].values()) - min(usual) if usual else None


def _audited(connection: Connection) -> dict[str, int]:
    """Nothing of the first audit: all that Stripe sent before we were there is missing to it."""
    told = _reports(connection, "gap_audit", "missing", "looked_at", limit=2)
    if len(told) < 2:
        return {}
    missing, looked_at = (int(told[0][name] or 0) for name in ("missing", "looked_at"))
    return {"known": looked_at - missing, "missing": missing}


def _reports(connection: Connection, task: str, *names: str, limit: int) -> list[Mapping[str, Any]]:
    """Return so much of what the good runs that ended last reported, the newest first.

    Whoever made them, and whatever nights they are of: what a process counts is gone with it.
    """
    good = (
        select(*(runs.c.report[name].label(name) for name in names))
        .where(runs.c.task == task, runs.c.state == "done")
        .order_by(runs.c.finished_at.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(good).mappings()]


def _by(connection: Connection, column: Column[str], where: ColumnElement[bool]) -> dict[str, int]:
    counted = select(column, func.count()).where(where, column.is_not(None)).group_by(column)
    return {row[0]: row[1] for row in connection.execute(counted)}
