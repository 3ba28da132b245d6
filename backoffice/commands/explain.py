"""Which errors are the person's to mend, and the sentence that says so."""

import errno

import click
from psycopg.errors import (
    DeadlockDetected,
    DiskFull,
    LockNotAvailable,
    OutOfMemory,
    QueryCanceled,
    SerializationFailure,
)
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from backoffice.local.errors import LocalError
from reconcile.errors import TrueupError
from reconcile.settings import PREFIX, Settings


def explain(error: Exception) -> str | None:
    """One clear sentence (a log's tail may follow), or None for what is a defect of ours."""
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        return "\n".join(_wrong_settings(error))
    if isinstance(error, OperationalError):
        first_line = str(error.orig).strip().partition("\n")[0]
        return f"{_of_database(error.orig)}: {first_line}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "another process listens on this port already: choose one with --port"
    if isinstance(error, LocalError | TrueupError):
        return str(error)
    return None


def _of_database(error: BaseException | None) -> str:
    match error:
        case QueryCanceled() | LockNotAvailable():
            return "the database took too long; ask for less, or try again"
        case DeadlockDetected() | SerializationFailure():
            # What was committed before it stands, and every command may be given twice.
            return "others changed the same at this moment and went first; run the command again"
        case DiskFull() | OutOfMemory():
            return "the database has no room left (disk or memory); make some, then try again"
        case _:
            return "the database cannot be reached (TRUEUP_DATABASE_URL)"


def read_settings() -> Settings:
    """The settings of this process, from its environment."""
    try:
        return Settings()
    except OSError as error:
        raise click.UsageError(f"a file named by a setting cannot be read: {error}") from error


def need(settings: Settings, *names: str) -> None:
    """Refuse to start without these settings."""
    for name in names:
        if not getattr(settings, name):
            raise click.UsageError(
                f"{PREFIX}{name.upper()} is not set; docs/settings.md tells what it is. "
                "`trueup up` brings its own servers, and a sandbox in Stripe's place."
            )
    if not settings.database_url.startswith(("postgresql", "postgres:")):
        raise click.UsageError(f"{PREFIX}DATABASE_URL must be a PostgreSQL url")


def _wrong_settings(error: ValidationError) -> list[str]:
    # Only the message: the value may be a secret.
    return [
        ": ".join([*(f"{PREFIX}{part}".upper() for part in one["loc"][:1]), one["msg"]])
        for one in error.errors(include_input=False, include_url=False)
    ]
