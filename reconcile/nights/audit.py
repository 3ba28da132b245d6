"""The gap audit: what Stripe says it sent, against what the inbox holds; what is missing comes in.

Stripe keeps its events for 30 days. Also those it counts as delivered are looked at: an event that
was answered 2xx and then lost looks delivered. A missing one is stored as if it had just arrived,
by the same parsing, with the source `backfill`, and worked off like any other.
https://docs.stripe.com/api/events/list
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from reconcile import metrics
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
    group: int = 0
    after: str | None = None
    pages: int = 0
    looked_at: int = 0
    missing: int = 0
    brought_in: tuple[str, ...] = ()


def run(services: Services, night: date) -> TaskReport:
    """Bring in what is missing, once a night. Raises nothing that the report can tell."""
    return once(services, TASK, night, _audit)


def _audit(services: Services, run: Run) -> Mapping[str, Any]:
    groups = [
        WORKED_TYPES[at : at + TYPES_A_CALL] for at in range(0, len(WORKED_TYPES), TYPES_A_CALL)
    ]
    progress = _resumed(services, run)
    for group in range(progress.group, len(groups)):
        progress = _group(services, run, replace(progress, group=group), groups[group])
    return _told(progress)


def _resumed(services: Services, run: Run) -> _Progress:
    if run.cursor:
        kept = orjson.loads(run.cursor)
        return _Progress(**kept | {"brought_in": tuple(kept["brought_in"])})
    with services.sessions() as session:
        last = runs.latest_done(session, TASK)
    now = services.clock()
    since = max(now - KEPT, last.started_at - OVERLAP) if last else now - KEPT
    return _Progress(since=since.isoformat())


def _group(services: Services, run: Run, progress: _Progress, types: Sequence[str]) -> _Progress:
    since = datetime.fromisoformat(progress.since)
    for _ in range(MOST_PAGES):
        page, more = services.stripe.events_page(progress.after, types=types, since=since)
        brought_in = _bring_in(services, page)
        metrics.AUDITED.labels(found="missing").inc(len(brought_in))
        metrics.AUDITED.labels(found="known").inc(len(page) - len(brought_in))
        progress = replace(
            progress,
            after=page[-1]["id"] if more else None,
            group=progress.group if more else progress.group + 1,
            pages=progress.pages + 1,
            looked_at=progress.looked_at + len(page),
            missing=progress.missing + len(brought_in),
            brought_in=(*progress.brought_in, *brought_in)[:NAMED_IN_REPORT],
        )
        with services.sessions.begin() as session:
            cursor = orjson.dumps(asdict(progress)).decode()
            runs.advance(session, run.id, cursor=cursor, report=_told(progress))
        crash_point(CrashPoint.AFTER_PAGE)
        if not more:
            return progress
    raise RuntimeError(f"more than {MOST_PAGES} pages of events since {progress.since}")


def _bring_in(services: Services, page: Sequence[Json]) -> list[str]:
    """Store what the inbox does not have and return its ids, in one transaction."""
    ours = Ours.of(services.settings)
    with services.sessions.begin() as session:
        unknown = store.missing(session, [str(event["id"]) for event in page])
        rows = [
            read_event(orjson.dumps(event), ours, source="backfill")
            for event in page
            if event["id"] in unknown
        ]
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
