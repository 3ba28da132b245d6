"""The gap audit: what Stripe says it sent, against what the inbox holds; what is missing comes in.

Stripe keeps its events for 30 days. Also those it counts as delivered are looked at: an event that
was answered 2xx and then lost looks delivered. A missing one is stored as if it had just arrived,
by the same parsing, with the source `backfill`, and worked off like any other.
https://docs.stripe.com/api/events/list
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from reconcile.crash_points import CrashPoint, crash_point
from reconcile.envelope import WORKED_TYPES, Ours, read_event
from reconcile.nights.tasks import TaskReport, once
from reconcile.services import Services
from reconcile.store import inbox, runs
from reconcile.store import work as store
from reconcile.store.runs import Run
from reconcile.stripe_shapes import Json

TASK = "gap_audit"

# The list call knows no wildcards, and takes this many types at most.
TYPES_A_CALL = 20

# What Stripe keeps, and how far an audit reaches back behind the last one: as long as Stripe itself
# goes on delivering an event.
KEPT = timedelta(days=30)
OVERLAP = timedelta(days=3)

# A million events of each group of types; more is an error, not an endless night.
MOST_PAGES = 10_000
NAMED_IN_REPORT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """How far an audit is; kept in the run's row after every page, to go on from."""

    since: str
    until: str | None = None
    group: int = 0
    after: str | None = None
    pages: int = 0
    looked_at: int = 0
    missing: int = 0
    brought_in: tuple[str, ...] = ()


Tell = Callable[[int, int], None]


def run(
    services: Services, night: date, *, again: bool = False, tell: Tell | None = None
) -> TaskReport:
    """Bring in what is missing, once a night. Raises nothing that the report can tell.

    `again` begins it from its start, done or not. `tell` hears how many events were looked at and
    how many of them were missing.
    """

    def audit(services: Services, run: Run) -> Mapping[str, Any]:
        def page_done(progress: _Progress) -> None:
            _remember(services, run, progress)
            _say(tell, progress)

        return _told(_groups(services, _resumed(services, run), page_done, stores=True))

    return once(services, TASK, night, audit, again=again)


def sweep(
    services: Services,
    *,
    since: datetime,
    until: datetime | None = None,
    stores: bool = True,
    tell: Tell | None = None,
) -> Mapping[str, Any]:
    """Bring in what is missing of a stretch of time, by hand, and return what was found.

    Without `stores` nothing is brought in. It is no complete audit, so no night counts as done.
    Raises the errors of a Stripe call.
    """
    start = _Progress(since=since.isoformat(), until=until.isoformat() if until else None)
    return _told(_groups(services, start, lambda progress: _say(tell, progress), stores=stores))


def _say(tell: Tell | None, progress: _Progress) -> None:
    if tell is not None:
        tell(progress.looked_at, progress.missing)


def _groups(
    services: Services,
    progress: _Progress,
    page_done: Callable[[_Progress], None],
    *,
    stores: bool,
) -> _Progress:
    groups = [
        WORKED_TYPES[at : at + TYPES_A_CALL] for at in range(0, len(WORKED_TYPES), TYPES_A_CALL)
    ]
    for group in range(progress.group, len(groups)):
        here = replace(progress, group=group)
        progress = _group(services, here, groups[group], page_done, stores=stores)
    return progress


def _resumed(services: Services, run: Run) -> _Progress:
    if run.cursor:
        kept = orjson.loads(run.cursor)
        return _Progress(**kept | {"brought_in": tuple(kept["brought_in"])})
    with services.sessions() as session:
        last = runs.latest_done(session, TASK)
    now = services.clock()
    since = max(now - KEPT, last.started_at - OVERLAP) if last else now - KEPT
    return _Progress(since=since.isoformat())


def _group(
    services: Services,
    progress: _Progress,
    types: Sequence[str],
    page_done: Callable[[_Progress], None],
    *,
    stores: bool,
) -> _Progress:
    since = datetime.fromisoformat(progress.since)
    until = datetime.fromisoformat(progress.until) if progress.until else None
    for _ in range(MOST_PAGES):
        page, more = services.stripe.events_page(
            progress.after, types=types, since=since, until=until
        )
        missing = _missing(services, page, stores=stores)
        progress = replace(
            progress,
            after=page[-1]["id"] if more else None,
            group=progress.group if more else progress.group + 1,
            pages=progress.pages + 1,
            looked_at=progress.looked_at + len(page),
            missing=progress.missing + len(missing),
            brought_in=(*progress.brought_in, *missing)[:NAMED_IN_REPORT],
        )
        page_done(progress)
        crash_point(CrashPoint.AFTER_PAGE)
        if not more:
            return progress
    raise RuntimeError(f"more than {MOST_PAGES} pages of events since {progress.since}")


def _remember(services: Services, run: Run, progress: _Progress) -> None:
    with services.sessions.begin() as session:
        cursor = orjson.dumps(asdict(progress)).decode()
        runs.advance(session, run.id, cursor=cursor, report=_told(progress))


def _missing(services: Services, page: Sequence[Json], *, stores: bool) -> list[str]:
    """Return the ids of what the inbox does not have, stored in one transaction if asked to."""
    ours = Ours.of(services.settings)
    with services.sessions.begin() as session:
        unknown = store.missing(session, [str(event["id"]) for event in page])
        rows = [
            read_event(orjson.dumps(event), ours, source="backfill")
            for event in page
            if event["id"] in unknown
        ]
        if stores:
            inbox.accept(session.connection(), rows)
    return [row.id for row in rows]


def _told(progress: _Progress) -> dict[str, Any]:
    return {
        "since": progress.since,
        "pages": progress.pages,
        "looked_at": progress.looked_at,
        "missing": progress.missing,
        "brought_in": list(progress.brought_in),
    }
