"""`trueup pause` and `trueup resume`: a kill switch that holds work and loses nothing."""

import click

from backoffice.commands.operator import (
    acting,
    actor_of,
    as_json_option,
    clock,
    looking,
    refused,
    say_json,
    wrapped,
)
from reconcile.operating import pausing
from reconcile.policy.values import Refuse
from reconcile.store.pauses import ORGANIZATION, TYPE, WRITES

_WHAT = click.Choice([WRITES, TYPE, ORGANIZATION])


@click.command()
@click.argument("what", type=click.Choice([WRITES, TYPE, ORGANIZATION, "list"]))
@click.argument("value", default="")
@acting
@as_json_option
def pause(what: str, value: str, by: str, because: str, as_json: bool) -> None:
    """Hold work back: `writes`, `type EVENT_TYPE` or `organization ID`; `list` shows what is held.

    Events are still taken in and kept. With `writes` nothing is written to Stripe: decisions wait,
    and what people ask for that would buy or change seats is refused.
    """
    if what == "list":
        _list(as_json)
        return
    with looking() as services:
        begun = pausing.pause(services, what, value, actor_of(by, because))
    if isinstance(begun, Refuse):
        raise refused(begun)
    if as_json:
        say_json(begun)
    else:
        click.echo(begun.line)
        click.echo(f"next: trueup resume {what} {value}".rstrip() + ' --because "..."')


@click.command()
@click.argument("what", type=_WHAT)
@click.argument("value", default="")
@acting
@as_json_option
def resume(what: str, value: str, by: str, because: str, as_json: bool) -> None:
    """End a pause; everything it held is due at once, the rest of very much within minutes."""
    with looking() as services:
        ended = pausing.resume(services, what, value, actor_of(by, because))
    if isinstance(ended, Refuse):
        raise refused(ended)
    if as_json:
        say_json(ended)
    else:
        click.echo(f"resumed {what} {value}".rstrip() + f", {ended.released} held events are due")
    if ended.left and not as_json:
        click.echo(f"{ended.left} more are looked at by themselves within a quarter of an hour")


def _list(as_json: bool) -> None:
    with looking() as services:
        found = pausing.in_force(services)
    if as_json:
        say_json([{"pause": each, "held": held} for each, held in found])
        return
    for each, held in found:
        click.echo(f"{each.scope} {each.value}".rstrip() + f"  since {clock(each.paused_at)}")
        click.echo(wrapped(f"by {each.paused_by}: {each.because}; {held} events held"))
        what = f"{each.scope} {each.value}".rstrip()
        click.echo(f'    next: trueup resume {what} --because "..."')
    if not found:
        click.echo("nothing is paused")
