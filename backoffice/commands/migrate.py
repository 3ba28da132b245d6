"""`trueup migrate`: bring the database to the newest migration, safely from several places."""

import click

from backoffice.commands.explain import need, read_settings
from backoffice.local.servers import migrate_database


@click.command()
def migrate() -> None:
    """Bring the database up to date. Running it again, or twice at once, changes nothing."""
    settings = read_settings()
    need(settings, "database_url")
    migrate_database(settings.database_url)
    click.echo("the database is up to date")
