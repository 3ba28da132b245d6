"""`trueup catch-up`: one command after an outage, whatever was away."""

import sys

import click

from backoffice.commands.operator import acting, actor_of, as_json_option, asking_stripe, say_json
from reconcile.operating import catching_up


@click.command("catch-up")
@acting
@click.option(
    "--timeout", "wait_s", type=click.FloatRange(1, 7200), default=catching_up.WAIT_S,
    show_default=True, help="How long to wait for the workers, in seconds.",
)  # fmt: skip
@as_json_option
def catch_up(by: str, because: str, wait_s: float, as_json: bool) -> None:
    """Bring everything current after an outage of Stripe, the receiver, the database or the queue.

    Brings in lost events, tries again what failed for the outage, waits for the workers, then
    compares Stripe with the members (a dry run unless TRUEUP_NIGHTLY_WRITES). Exit code 1 when
    something is left.
    """
    actor = actor_of(by, because or "catching up after an outage")
    with asking_stripe() as services:
        done = catching_up.catch_up(
            services, actor, wait_s=wait_s, tell=lambda line: click.echo(line, err=True)
        )
    if as_json:
        night = done.night.as_json() if done.night else None
        values = {name: getattr(done, name) for name in done.__slots__}
        say_json({"well": done.well, **values, "night": night})
    else:
        click.echo(f"gap audit {done.audit}: {done.brought_in} brought in")
        click.echo(f"{done.requeued} dead letters requeued, {done.hurried} retries hurried")
        if done.night:
            kind = "written" if done.night.writes else "dry run"
            click.echo(f"nightly {done.night.state} ({kind}): {done.night.differences} differed, "
                       f"{done.night.settled} settled, {done.night.failed} failed")  # fmt: skip
        click.echo(f"left: {done.unfinished} unfinished, {done.failing} failing, {done.dead} dead, "
                   f"{done.untold} notices not delivered")  # fmt: skip
        if not done.well:
            click.echo("next: trueup status")
    sys.exit(not done.well)
