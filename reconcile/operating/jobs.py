"""What is being worked on, what waits for a worker, and the inbox rows behind it.

The queue holds hints only; the rows are the truth. Whether a worker is at a key right now, the
key's lock tells.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconcile.database import taken
from reconcile.services import Services
from reconcile.store import look, standing
from reconcile.store.look import Event, Filters
from reconcile.store.standing import WorkKey

MOST_EVENTS = 100


class JobState(StrEnum):
    """Where a job is: `queued` was hinted, `due` waits for the relay, `later` was dated ahead."""

    RUNNING = "running"
    QUEUED = "queued"
    DUE = "due"
    RETRYING = "retrying"
    HELD = "held"
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One work key with something to do. Times are the rows'."""

    work_key: str
    state: JobState
    events: int
    attempts: int
    oldest_at: datetime
    due_at: datetime | None
    line: str | None
    newest_id: str


def jobs(services: Services, hinted: Collection[str], filters: Filters, *, limit: int) -> list[Job]:
    """Return the work keys with something pending that matches, the first due first.

    `hinted` are the keys in the queue, as far as it could be asked.
    """
    with services.sessions() as session:
        found = standing.work_keys(session, filters, limit=limit)
        running = taken(session, [each.work_key for each in found])
    now = services.clock()
    return [_job(each, running, hinted, now) for each in found]


def events_of(services: Services, work_key: str) -> list[Event]:
    """Return the key's pending rows, the first received first."""
    with services.sessions() as session:
        ids = standing.pending_of(session, work_key, limit=MOST_EVENTS)
        found = look.events_by_ids(session, ids)
    return [found[each] for each in ids if each in found]


def _job(key: WorkKey, running: Collection[str], hinted: Collection[str], now: datetime) -> Job:
    return Job(
        work_key=key.work_key,
        state=_state(key, running, hinted, now),
        events=key.events,
        attempts=key.attempts,
        oldest_at=key.oldest_at,
        due_at=key.due_at,
        line=key.line,
        newest_id=key.newest_id,
    )


def _state(
    key: WorkKey, running: Collection[str], hinted: Collection[str], now: datetime
) -> JobState:
    if key.held:
        return JobState.HELD
    if key.work_key in running:
        return JobState.RUNNING
    if key.work_key in hinted:
        return JobState.QUEUED
    if key.due_at is not None and key.due_at <= now:
        return JobState.DUE
    return JobState.RETRYING if key.failing else JobState.LATER
