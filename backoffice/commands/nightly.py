"""`trueup nightly`: one run now, for plain cron or a person; twice on a night works once."""

import sys
from datetime import UTC, datetime

import click
import orjson

from backoffice.commands.explain import need, read_settings
from backoffice.commands.operator import columns, quiet_at_a_terminal, wrapped
from backoffice.commands.progress import bar
from reconcile import log
from reconcile.adjustments.money import written
from reconcile.nights import nightly
from reconcile.nights.report import Money, Report
from reconcile.services import open_services
from worker.budget import SharedBudget

ENDED_WELL = ("done", "elsewhere")
WRITING = "--write, or TRUEUP_NIGHTLY_WRITES=true"


@click.command("nightly")
@click.option(
    "--write/--dry-run", default=None,
    help="Instead of TRUEUP_NIGHTLY_WRITES. --dry-run only looks: it counts as no night.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Run a night that is done once more.")
@click.option("--night", type=click.DateTime(["%Y-%m-%d"]), help="Default: today, UTC.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def nightly_command(write: bool | None, again: bool, night: datetime | None, as_json: bool) -> None:
    """Compare Stripe with the members, once, and repair what differs.

    Without TRUEUP_NIGHTLY_WRITES=true it only says what it would have done. A run that was
    interrupted goes on where it stopped. Exit code 1 when something could not be settled.
    """
    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key")
    log.configure(quiet_at_a_terminal(settings))
    services = open_services(settings, SharedBudget(settings))
    when = (night or datetime.now(UTC)).date()
    try:
        with bar() as shown:
            task = shown.add_task("starting", total=None)
            report = nightly.run(
                services,
                when,
                writes=write,
                again=again,
                tell=lambda at: shown.update(
                    task, description=at.phase, completed=at.done, total=at.total
                ),
            )
    finally:
        services.close()
    if as_json:
        click.echo(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2))
    else:
        _show(report)
        if report.state == "done" and report.differences and not report.writes:
            held = settings.nightly_writes if write is None else write
            how = "writes are paused: trueup pause list" if held else WRITING
            click.echo(wrapped(f"nothing was written: {how}", ""))
    sys.exit(report.state not in ENDED_WELL or report.failed > 0)


def _show(report: Report) -> None:
    kind = "written" if report.writes else "dry run"
    click.echo(f"Night of {report.night}: {report.state} ({kind})")
    moved = [(f"moved: {money.direction}", _money(money)) for money in report.moved]
    would = [(f"would move: {money.direction}", _money(money)) for money in report.would_move]
    for line in columns([*_counts(report), *moved, *would], "  "):
        click.echo(line)
    for line in (*report.lines, *report.failures):
        click.echo(wrapped(line, ""))
    if report.roster_problem:
        click.echo(wrapped(f"compared without active counts: {report.roster_problem}", ""))
    if report.error:
        click.echo(wrapped(report.error, ""))


def _counts(report: Report) -> list[tuple[str, object]]:
    counts: list[tuple[str, object]] = [
        ("subscriptions", report.subscriptions),
        ("differing", report.differences),
        *((f"  {what}", count) for what, count in report.differing.items()),
        ("settled" if report.writes else "would be settled", report.settled),
        ("postponed", report.postponed),
        ("failed", report.failed),
        ("findings opened", report.findings_opened),
        ("findings closed", report.findings_closed),
        *((f"adjustments {how}", count) for how, count in report.adjustments.items()),
    ]
    if not report.writes:
        counts.append(("would change", report.would_change))
        counts.append(("  of those not previewed", report.not_previewed))
    return [*counts, ("seconds", f"{report.seconds:.1f}")]


def _money(money: Money) -> str:
    return f"{written(money.total_minor, money.currency)} in {money.adjustments}"
