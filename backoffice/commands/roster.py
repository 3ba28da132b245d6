"""`trueup import`: the roster from files, all of it or nothing."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from backoffice.commands.explain import need, read_settings
from backoffice.commands.operator import columns
from reconcile.actor import Actor
from reconcile.catalog import load_catalog
from reconcile.database import build_engine, build_sessions
from reconcile.members.roster_files import KINDS
from reconcile.members.roster_import import Imported, ImportRefused, import_files


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--kind", type=click.Choice(sorted(KINDS)), help="What the files hold, if unclear.")
@click.option(
    "--replace", is_flag=True, help="Remove members of the named organizations that are missing."
)
@click.option("--by", default=getpass.getuser, show_default="you", help="Who imports it.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def import_roster(
    files: tuple[Path, ...], kind: str | None, replace: bool, by: str, as_json: bool
) -> None:
    """Import organizations, members and auto-add settings from CSV or JSON Lines.

    One transaction: a single wrong line, named with its number, and nothing is imported. Importing
    the same files again changes nothing. trial, email, ceiling_quantity and ceiling_minor may be
    left out: what a file, or a line of JSON, does not have stays as it is. A column that is there
    and empty takes the value away.
    """
    settings = read_settings()
    need(settings, "database_url")
    catalog = load_catalog(settings.catalog_path)
    engine = build_engine(settings.database_url)
    try:
        imported = import_files(
            build_sessions(engine),
            catalog,
            files,
            now=datetime.now(UTC),
            kind=kind,
            replace=replace,
            actor=Actor(f"cli:{by}"),
        )
    except ImportRefused as refused:
        lines = "\n".join(str(error) for error in refused.errors)
        raise click.ClickException(f"{refused}\n{lines}") from refused
    finally:
        engine.dispose()
    if as_json:
        click.echo(orjson.dumps(imported.as_json()))
    else:
        _say(imported)


def _say(imported: Imported) -> None:
    counted = ("added", "changed", "removed", "unchanged")
    kinds = ("organizations", "members", "auto_add")
    counts = (
        (kind.replace("_", "-"), *(getattr(getattr(imported, kind), how) for how in counted))
        for kind in kinds
    )
    for line in columns([("imported", *counted), *counts]):
        click.echo(line)
    click.echo(f"organizations to look at: {imported.requests}")
