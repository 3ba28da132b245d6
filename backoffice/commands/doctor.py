"""`trueup doctor`: the report as a table or JSON; exit code 1 when something fails."""

import sys

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backoffice.commands.explain import read_settings
from backoffice.doctor.examine import examine
from backoffice.doctor.findings import Found, Health

COLORS = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "bold red"}


@click.command()
@click.option("--url", help="Where Stripe should deliver, https://.../webhooks/stripe.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def doctor(url: str | None, as_json: bool) -> None:
    """Check Stripe, database, queue and settings, and say for each failure what to do.

    Changes nothing. Exit code 1 when a check fails; warnings alone are 0.
    """
    found = list(examine(read_settings(), url))
    if as_json:
        click.echo(orjson.dumps([one.as_json() for one in found], option=orjson.OPT_INDENT_2))
    else:
        console = Console(highlight=False)
        console.print(_table(found))
        for one in found:
            if one.do:
                # One line each, however narrow the terminal: names and urls are there to be copied.
                mark = f"[{COLORS[one.health]}]{one.health}[/]"
                line = f"{mark} {one.area}, {one.check}: {escape(one.do)}"
                console.print(line, soft_wrap=True)
    sys.exit(any(one.health is Health.FAIL for one in found))


def _table(found: list[Found]) -> Table:
    counts = {health: sum(one.health is health for one in found) for health in Health}
    caption = ", ".join(f"{count} {health}" for health, count in counts.items())
    table = Table(title="trueup doctor", caption=caption)
    for heading in ("area", "check", "", "seen"):
        table.add_column(heading, overflow="fold")
    for one in found:
        mark = f"[{COLORS[one.health]}]{one.health}[/]"
        table.add_row(one.area, one.check, mark, escape(one.seen))
    return table
