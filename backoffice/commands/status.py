"""`trueup status`: one screen, and what to do next for each thing that is not well."""

import sys

import click

from backoffice.commands.explain import need, read_settings
from backoffice.commands.operator import as_json_option, say_json, wrapped
from backoffice.screen import screen
from reconcile.budget import Unbudgeted
from reconcile.services import build_services


@click.command()
@click.option("--receiver", help="Its address, https://host: asked whether it is ready.")
@as_json_option
def status(receiver: str | None, as_json: bool) -> None:
    """Show how everything stands, on one screen.

    Exit code 1 when something is not well; its line says what to do next. Works while the queue's
    server or the database is away, and says so.
    """
    settings = read_settings()
    need(settings, "database_url", "redis_url")
    services = build_services(settings, Unbudgeted())
    try:
        found = screen(services, receiver)
    finally:
        services.close()
    if as_json:
        say_json({"well": found.well, "at": found.at, "parts": found.parts})
    else:
        for part in found.parts:
            mark = "ok " if part.well else "!! "
            head, _, rest = wrapped(part.line, " " * 19).lstrip().partition("\n")
            click.secho(f"{mark} {part.name:<14} {head}", fg=None if part.well else "red")
            if rest:
                click.echo(rest)
            for line in part.do:
                click.echo(f"      do: {line}")
    sys.exit(not found.well)
