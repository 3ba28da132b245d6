"""`trueup jobs`: what is being worked on and what waits, with the inbox rows behind it."""

from typing import Any

import click

from backoffice.commands.events import show as show_event
from backoffice.commands.operator import (
    USUAL_LIMIT,
    as_json_option,
    clock,
    filtering,
    filters_of,
    looking,
    page,
    say_json,
    wrapped,
)
from backoffice.screen import hinted
from reconcile.operating import jobs as operating
from reconcile.operating.jobs import Job, JobState

MOST = 200


@click.group()
def jobs() -> None:
    """Show what is queued, running, retrying or held. A job is one work key."""


@jobs.command("list")
@filtering(*(state.value for state in JobState))
@click.option("--limit", type=click.IntRange(1, MOST), default=USUAL_LIMIT, show_default=True)
@as_json_option
def list_jobs(limit: int, as_json: bool, **given: Any) -> None:
    """List work keys with something pending, the first due first."""
    state = given.pop("state")
    with looking() as services:
        keys = hinted(services.settings)
        # A state is found out row by row, so more are read than are shown.
        found = operating.jobs(
            services, keys, filters_of(given), limit=MOST if state else limit + 1
        )
    rows = [job for job in found if state in (None, job.state)]
    page(rows[:limit], limit, as_json, show, lambda job: job.work_key)
    if len(rows) > limit and not as_json:
        click.echo(f"more than {limit}: narrow it down, or raise --limit")


def show(job: Job) -> tuple[str, str]:
    """Return a job as two lines."""
    many = "event" if job.events == 1 else "events"
    # What is held is due when its pause ends, whatever its row says.
    due = "" if job.state is JobState.HELD else f"  due {clock(job.due_at)}"
    return (
        f"{job.work_key}  {job.state}{due}",
        f"{job.events} {many} since {clock(job.oldest_at)}, attempt {job.attempts}, newest "
        f"{job.newest_id}" + (f": {job.line}" if job.line else ""),
    )


@jobs.command("show")
@click.argument("work_key")
@as_json_option
def show_job(work_key: str, as_json: bool) -> None:
    """Show the inbox rows behind one work key: sub:sub_1, org:org_1, cus:cus_1."""
    with looking() as services:
        rows = operating.events_of(services, work_key)
    if as_json:
        say_json({"work_key": work_key, "events": rows})
        return
    if not rows:
        raise click.ClickException(f"nothing is pending for {work_key}")
    for row in rows:
        first, second = show_event(row)
        click.echo(first)
        click.echo(wrapped(second))
