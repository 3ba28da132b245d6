"""`trueup doctor`: the report line by line or as JSON; exit code 1 when something fails."""

import sys
from collections import Counter
from collections.abc import Sequence

import click
import orjson

from backoffice.commands.explain import read_settings
from backoffice.commands.operator import wrapped
from backoffice.doctor.examine import examine
from backoffice.doctor.findings import Found, Health

COLORS = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "red"}


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
        _say(found)
    sys.exit(any(one.health is Health.FAIL for one in found))


def _say(found: Sequence[Found]) -> None:
    """Folded, never cut, and no table: ids and addresses are there to be copied."""
    for one in found:
        told = wrapped(f"{one.area}, {one.check}: {one.seen}", " " * 6).lstrip()
        click.echo(click.style(f"{one.health:<4}", fg=COLORS[one.health]) + f"  {told}")
        if one.do:
            # However narrow the terminal, a line that is copied is one line.
            click.echo(f"      do: {one.do}")
    counts = Counter(one.health for one in found)
    click.echo(", ".join(f"{counts[health]} {health}" for health in Health))
    click.echo("whether the processes are at work: trueup status")
