"""The status screen's last lines: whether the tasks of the night ran, and ran well."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy.orm import Session

from reconcile.nights import audit, nightly, prune
from reconcile.operating.screen import Part, ago, counted
from reconcile.services import Services
from reconcile.store import standing
from reconcile.store.runs import Run

# A night's task is begun at its hour; later than this it did not happen.
NIGHT_LATE = timedelta(hours=6)
# Stripe keeps its events for 30 days: long before, somebody has to know.
AUDIT_OLD = timedelta(days=3)


def night_parts(session: Session, services: Services, now: datetime) -> Iterator[Part]:
    """Yield each task of the night: when it last ran, and whether that is too long ago."""
    found = standing.last_runs(session, until=now.astimezone(UTC).date())
    settings = services.settings
    hours = {
        nightly.TASK: settings.nightly_at,
        audit.TASK: settings.gap_audit_at,
        prune.TASK: settings.gap_audit_at,
    }
    again = {
        nightly.TASK: "trueup nightly",
        audit.TASK: "trueup events backfill",
        prune.TASK: "trueup schedule",
    }
    since = standing.first_received(session)
    for task, hour in hours.items():
        run = found.get(task)
        trouble = _late(run, hour, now, since) or _failed(run) or _too_old(task, run, now)
        said = _ran(run, now)
        left = _left(run)
        yield Part(
            name=task.replace("_", " "),
            well=trouble is None,
            line="; ".join(each for each in (said, trouble, left) if each),
            do=(again[task],) if trouble else (),
            facts=_run_facts(run),
        )


def _late(run: Run | None, hour: time, now: datetime, since: datetime | None) -> str | None:
    """`since`: the first thing that came in. A fresh installation waits for its first night."""
    today = datetime.combine(now.astimezone(UTC).date(), hour, tzinfo=UTC)
    last = today if today <= now else today - timedelta(days=1)
    # The last night may still be on its way, the ones before it are not.
    over = last if now - last > NIGHT_LATE else last - timedelta(days=1)
    done = since is None or since >= over if run is None else run.night >= over.date()
    return None if done else f"the night of {over.date()} did not happen"


def _failed(run: Run | None) -> str | None:
    return str(run.report.get("error") or "it failed") if run and run.state == "failed" else None


def _too_old(task: str, run: Run | None, now: datetime) -> str | None:
    old = task == audit.TASK and run is not None and now - run.started_at > AUDIT_OLD
    return "Stripe forgets its events after 30 days" if old else None


def _left(run: Run | None) -> str | None:
    """A dry night is well, it was asked for; that it left something is said all the same."""
    count = int(run.report.get("would_change", 0)) if run and not run.writes else 0
    return f"{count} would change and did not: trueup nightly --write" if count else None


def _ran(run: Run | None, now: datetime) -> str:
    if run is None:
        return "has not run yet"
    ended = ago(now, run.finished_at or run.started_at)
    dry = "" if run.writes else ", dry run"
    told = {said: run.report[name] for name, said in _TOLD.items() if name in run.report}
    if not run.writes and "settled" in told:
        told["would be settled"] = told.pop("settled")
    return f"{run.state} {ended}, night {run.night}{dry}" + (f": {counted(told)}" if told else "")


_TOLD = {
    "subscriptions": "subscriptions",
    "settled": "settled",
    "failed": "failed",
    "looked_at": "looked at",
    "missing": "brought in",
    "deleted": "deleted",
    "redacted": "redacted",
}


def _run_facts(run: Run | None) -> dict[str, Any]:
    if run is None:
        return {}
    return {
        "state": run.state,
        "night": run.night,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "writes": run.writes,
    }
