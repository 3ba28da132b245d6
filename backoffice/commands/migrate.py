"""`trueup migrate`: bring the database to the newest migration, safely from several places."""

from pathlib import Path

import click
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, ProgrammingError

from backoffice.commands.explain import need, read_settings
from backoffice.local.servers import migrate_database
from reconcile.database import build_engine, build_sessions
from reconcile.store import roles as store

# A role, and the file with the url of the user that gets it.
Login = tuple[str, Path]


@click.command()
@click.option("--roles", is_flag=True, help="Also make the least-privilege roles, or mend them.")
@click.option(
    "--login", "logins", multiple=True, metavar="ROLE FILE",
    type=(click.Choice(store.ROLES), click.Path(exists=True, dir_okay=False, path_type=Path)),
    help="With --roles: make the user of the database url in FILE, with its password and this "
    "role (receiver, worker or report). May be repeated.",
)  # fmt: skip
@click.option(
    "--prefix", default="trueup", show_default=True, help="What the roles' names begin with."
)
def migrate(roles: bool, logins: tuple[Login, ...], prefix: str) -> None:
    """Bring the database up to date. Running it again, or twice at once, changes nothing.

    With --roles, trueup_receiver, trueup_worker and trueup_report exist with exactly the rights
    that docs/security.md names; the user of each process gets one by --login, or by a grant of
    yours. Needs the right to create roles, and is to be run again after every update.
    """
    if logins and not roles:
        raise click.UsageError("--login goes with --roles")
    settings = read_settings()
    need(settings, "database_url")
    migrate_database(settings.database_url)
    click.echo("the database is up to date")
    if roles:
        for line in _make_roles(settings.database_url, prefix, logins):
            click.echo(line)


def _make_roles(database_url: str, prefix: str, logins: tuple[Login, ...]) -> list[str]:
    engine = build_engine(database_url, pool_size=1)
    try:
        with build_sessions(engine).begin() as session:
            made = dict(zip(store.ROLES, store.grant(session, prefix=prefix), strict=True))
            told = [f"roles: {', '.join(made.values())}; the user of each process has one"]
            for role, file in logins:
                url = make_url(file.read_text(encoding="utf-8").strip())
                user, password = url.username or "", str(url.password or "")
                store.admit(session, role=made[role], user=user, password=password)
                told.append(f"{user} signs in as {made[role]}, with the password in {file}")
            return told
    except ProgrammingError as error:
        line = str(error.orig).strip().partition("\n")[0]
        raise click.ClickException(f"the roles cannot be made: {line}") from error
    except ArgumentError:
        # Without its cause: it quotes the file, which holds a password.
        raise click.ClickException(f"{file} holds no database url") from None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    finally:
        engine.dispose()
