"""`trueup migrate`: bring the database to the newest migration, safely from several places."""

import click
from sqlalchemy.exc import ProgrammingError

from backoffice.commands.explain import need, read_settings
from backoffice.local.servers import migrate_database
from reconcile.database import build_engine, build_sessions
from reconcile.store import roles as store


@click.command()
@click.option("--roles", is_flag=True, help="Also make the least-privilege roles, or mend them.")
@click.option(
    "--prefix", default="trueup", show_default=True, help="What the roles' names begin with."
)
def migrate(roles: bool, prefix: str) -> None:
    """Bring the database up to date. Running it again, or twice at once, changes nothing.

    With --roles, trueup_receiver, trueup_worker and trueup_report exist with exactly the rights
    that docs/security.md names; grant one to the user of each process. Needs the right to create
    roles, and is to be run again after every update.
    """
    settings = read_settings()
    need(settings, "database_url")
    migrate_database(settings.database_url)
    click.echo("the database is up to date")
    if roles:
        made = _make_roles(settings.database_url, prefix)
        click.echo(f"roles: {', '.join(made)}; grant one to the user of each process")


def _make_roles(database_url: str, prefix: str) -> tuple[str, str, str]:
    engine = build_engine(database_url, pool_size=1)
    try:
        with build_sessions(engine).begin() as session:
            return store.grant(session, prefix=prefix)
    except ProgrammingError as error:
        line = str(error.orig).strip().partition("\n")[0]
        raise click.ClickException(f"the roles cannot be made: {line}") from error
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    finally:
        engine.dispose()
