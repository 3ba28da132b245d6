"""`trueup events`: find what came in, read its story, requeue it, put it aside, fill gaps."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from backoffice.commands.operator import (
    Moment,
    acting,
    actor_of,
    as_json_option,
    asking_stripe,
    clock,
    cursor_to,
    filtering,
    filters_of,
    looking,
    page,
    paging,
    place_of,
    say_json,
    tell_of,
    wrapped,
)
from backoffice.commands.progress import bar
from reconcile.nights import audit
from reconcile.operating import repairing, story
from reconcile.operating.repairing import Ended, Plan
from reconcile.services import Services
from reconcile.store import look
from reconcile.store.look import EVENT_STATES, Event, Filters


@click.group()
def events() -> None:
    """Find, read and repair what came in: Stripe's events and our own requests."""


@events.command("list")
@filtering(*EVENT_STATES)
@click.option(
    "--not", "not_states", multiple=True, type=click.Choice(EVENT_STATES),
    help="Not in this state; repeat it for several.",
)  # fmt: skip
@paging
def list_events(limit: int, cursor: str | None, as_json: bool, **given: Any) -> None:
    """List events that match, the newest first. `--not ignored` leaves out what needs no work."""
    with looking() as services, services.sessions() as session:
        rows = look.events_page(
            session, filters_of(given), limit=limit + 1, before=place_of(cursor)
        )
    page(rows, limit, as_json, show, lambda row: cursor_to(row.received_at, row.id))


def show(event: Event) -> tuple[str, str]:
    """Return an event as two lines."""
    about = event.subscription_id or event.customer_id or event.organization_id or event.object_id
    return (
        f"{event.id}  {event.state}  {clock(event.received_at)}",
        f"{event.type}, {about or 'about nothing'}: {event.line}",
    )


@events.command("show")
@click.argument("event_id")
@as_json_option
def show_event(event_id: str, as_json: bool) -> None:
    """Tell the story of one event: received, tried, decided, called, charged, told."""
    tell_of("event", event_id, story.of_event, as_json)


@events.command()
@click.argument("event_ids", nargs=-1)
@filtering(*EVENT_STATES)
@acting
@click.option("--yes", is_flag=True, help="Do it; without it only say what would be done.")
@click.option("--force", is_flag=True, help="Run finished ones again, too; harmless.")
@click.option(
    "--per-second", type=click.FloatRange(0.1, 1000), default=repairing.PER_SECOND,
    show_default=True, help="Most that come due in a second.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, 3600), default=60.0, show_default=True,
    help="How long to wait for how each ends, in seconds.",
)  # fmt: skip
@as_json_option
def requeue(  # noqa: PLR0913, PLR0917 - the options of a command
    event_ids: tuple[str, ...],
    by: str,
    because: str,
    yes: bool,
    force: bool,
    per_second: float,
    timeout_s: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Work events off again: by id, or all that match.

    Without --yes it counts and shows examples. With it they are due again in the order they came,
    and how each ended is waited for. Exit code 1 when one did not end well.
    """
    wanted = _wanted(event_ids, given)
    with looking() as services:
        plan = repairing.plan_requeue(services, wanted, force=force)
        if not yes:
            _say_plan("requeue", plan, as_json)
            return
        actor = actor_of(by, because)
        done = repairing.requeue(services, plan.ids, actor, force=force, per_second=per_second)
        ended = _follow(services, done.ids, timeout_s + len(done.ids) / per_second)
    _say_ended("requeued", _both(plan, done), ended, as_json)
    sys.exit(not all(each.well for each in ended) or len(ended) != len(done.ids))


@events.command()
@click.argument("event_ids", nargs=-1)
@filtering(*EVENT_STATES)
@acting
@click.option("--yes", is_flag=True, help="Do it; without it only say what would be done.")
@as_json_option
def discard(
    event_ids: tuple[str, ...], by: str, because: str, yes: bool, as_json: bool, **given: Any
) -> None:
    """Put dead or pending events aside. They are kept, and a requeue brings them back."""
    wanted = _wanted(event_ids, given)
    with looking() as services:
        plan = repairing.plan_discard(services, wanted)
        if not yes:
            _say_plan("discard", plan, as_json)
            return
        done = repairing.discard(services, plan.ids, actor_of(by, because))
    _say_ended("discarded", _both(plan, done), [], as_json)


def _wanted(event_ids: Sequence[str], given: dict[str, Any]) -> Sequence[str] | Filters:
    filters = filters_of(given)
    if event_ids and filters.given:
        raise click.UsageError("name events or give filters, not both")
    if not event_ids and not filters.given:
        raise click.UsageError("name events, or give a filter such as --state dead")
    return event_ids or filters


def _say_plan(what: str, plan: Plan, as_json: bool) -> None:
    if as_json:
        say_json({"would": what, "count": len(plan.ids), "capped": plan.capped,
                  "examples": plan.examples, "refused": plan.refused})  # fmt: skip
        return
    more = f" (the first {repairing.MOST}; run it again for the rest)" * plan.capped
    if not plan.ids and not plan.refused:
        click.echo(f"no event matches: there is nothing to {what}")
        return
    click.echo(f"would {what} {len(plan.ids)}{more}, the first received first")
    for event in plan.examples:
        first, second = show(event)
        click.echo(f"  {first}\n{wrapped(second, '      ')}")
    _say_refused(plan)
    if plan.ids:
        click.echo("nothing was done: add --yes to do it")


def _say_refused(plan: Plan) -> None:
    if plan.refused:
        click.echo(f"{len(plan.refused)} left as they are:")
        for event_id, why in list(plan.refused.items())[: repairing.EXAMPLES]:
            click.echo(wrapped(f"{event_id}: {why}", "  "))


def _both(plan: Plan, done: Plan) -> Plan:
    return Plan(ids=done.ids, refused={**plan.refused, **done.refused})


def _follow(services: Services, event_ids: Sequence[str], timeout_s: float) -> list[Ended]:
    with bar() as shown:
        task = shown.add_task("working", total=len(event_ids))
        return repairing.follow(
            services,
            event_ids,
            timeout_s=timeout_s,
            tell=lambda done, total: shown.update(task, completed=done, total=total),
        )


def _say_ended(what: str, done: Plan, ended: Sequence[Ended], as_json: bool) -> None:
    if as_json:
        say_json({what: done.ids, "refused": done.refused, "ended": ended,
                  "tally": repairing.tally(ended)})  # fmt: skip
        return
    known = done.ids or done.refused
    click.echo(f"{len(done.ids)} {what}" if known else f"no event matches: nothing is {what}")
    _say_refused(done)
    for state, count in repairing.tally(ended).items():
        click.echo(f"  {count} {'not ended yet' if state == 'pending' else state}")
    for each in [one for one in ended if not one.well][:20] or ended[:5]:
        click.echo(f"{each.id}  {each.state}")
        click.echo(wrapped(each.line))


@events.command()
@click.option("--since", type=Moment(), help="`2h` ago, or an ISO time.  [default: the last audit]")
@click.option("--until", type=Moment(), help="As --since; itself not included.")
@click.option("--dry-run", is_flag=True, help="Only say what is missing.")
@as_json_option
def backfill(since: datetime | None, until: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Compare Stripe's event list with the inbox and bring in what is missing.

    Without --since it is the nightly gap audit, done now: it reaches back behind the last complete
    one. Stripe keeps its events for 30 days.
    """
    with asking_stripe() as services:
        now = services.clock()
        with bar() as shown:
            task = shown.add_task("events looked at", total=None)

            def told(looked_at: int, missing: int) -> None:
                what = f"events looked at, {missing} missing"
                shown.update(task, completed=looked_at, description=what)

            if since is None and until is None and not dry_run:
                report = audit.run(services, now.date(), again=True, tell=told)
                found, state = dict(report.report), report.state
            else:
                found = dict(audit.sweep(
                    services, since=since or now - audit.KEPT, until=until,
                    stores=not dry_run, tell=told,
                ))  # fmt: skip
                state = "done"
    if as_json:
        say_json({"state": state, "dry_run": dry_run, **found})
    else:
        what = "are missing" if dry_run else "were missing and came in"
        click.echo(f"{state}: {found.get('looked_at', 0)} looked at, "
                   f"{found.get('missing', 0)} {what}")  # fmt: skip
        for event_id in found.get("brought_in", [])[:20]:
            click.echo(f"  {event_id}")
        if found.get("missing") and not dry_run:
            click.echo("the workers take them now; what becomes of them: "
                       "trueup events list --since 10m")  # fmt: skip
        if found.get("error"):
            click.echo(wrapped(str(found["error"])))
    sys.exit(state not in ("done", "elsewhere"))
