"""One task, one night, once: the frame of what the schedule runs beside the nightly run.

Two schedulers, a scheduler and a cron, a crash and its successor: the lock lets one of them work
and the row says how far it came. A failed run goes on where it stopped when it is called again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import structlog

from reconcile import metrics
from reconcile.database import exclusive
from reconcile.errors import classify
from reconcile.services import Services
from reconcile.store import runs
from reconcile.store.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """How a task's night ended: `done`, `failed` (the report says why) or `elsewhere`."""

    task: str
    night: date
    state: str
    report: Mapping[str, Any] = field(default_factory=dict)


Work = Callable[[Services, Run], Mapping[str, Any]]


def once(
    services: Services, task: str, night: date, work: Work, *, again: bool = False
) -> TaskReport:
    """Do the night's work of the task unless it is done already or somebody is at it.

    With `again` it is done from its start, whatever was done of it: who asks for it by hand wants
    to know what is true now, and what a failed run went past may be another by now.

    `work` gets the run with its cursor and returns the report. Its errors end the run as failed;
    an interruption leaves it as it is.
    """
    with exclusive(services.engine, task) as mine:
        if not mine:
            return TaskReport(task=task, night=night, state="elsewhere")
        with services.sessions.begin() as session:
            run = runs.begin(session, task, night, writes=True)
            if again:
                run = runs.start_over(session, run.id, writes=True)
        if run.state == "done":
            return TaskReport(task=task, night=night, state="done", report=run.report)
        state, report = "done", dict[str, Any]()
        began = time.monotonic()
        try:
            report.update(work(services, run))
        except Exception as error:  # noqa: BLE001 - whatever it was, the run's row tells it
            structlog.get_logger().exception("the task failed", task=task, night=str(night))
            state, report = "failed", {"error": classify(error).line}
        with services.sessions.begin() as session:
            runs.finish(session, run.id, state=state, report=report)
    metrics.RUNS.labels(task=task, state=state).inc()
    metrics.RUN_SECONDS.labels(task=task).observe(time.monotonic() - began)
    structlog.get_logger().info(f"{task} {state}", night=str(night), **report)
    return TaskReport(task=task, night=night, state=state, report=report)
