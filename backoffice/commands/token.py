"""`trueup token`: make, list and revoke the API's tokens. The database is all it needs."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click
import orjson
from sqlalchemy.orm import Session

from backoffice.api import tokens
from backoffice.api.tokens import SCOPES
from backoffice.commands.explain import need, read_settings
from backoffice.commands.operator import clock, wrapped
from reconcile.actor import Actor
from reconcile.database import build_engine, build_sessions
from reconcile.store import audit
from reconcile.store import roster as roster_store
from reconcile.store import tokens as store
from reconcile.store.tokens import Token

MOST_LISTED = 1000


@click.group()
def token() -> None:
    """Make, list and revoke tokens of the API."""


@token.command()
@click.option("--name", required=True, help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeat it for several.",
)
@click.option("--organization", help="Bind it to one organization; others do not exist for it.")
@click.option("--expires", type=click.IntRange(1, 3650), help="Days until it opens nothing.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who makes it.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def create(  # noqa: PLR0913, PLR0917 - one parameter for each option
    name: str,
    scopes: tuple[str, ...],
    organization: str | None,
    expires: int | None,
    by: str,
    as_json: bool,
) -> None:
    """Make a token and print it, this once: only its digest is kept."""
    made = tokens.make()
    at = datetime.now(UTC)
    actor = Actor(f"cli:{by}")
    with _database() as session:
        if organization and roster_store.organization(session, organization) is None:
            raise click.ClickException(f"there is no organization {organization}")
        kept = store.add(
            session,
            id=made.token_id,
            name=name,
            digest=made.digest,
            scopes=sorted(set(scopes), key=SCOPES.index),
            organization_id=organization,
            created_by=str(actor),
            expires_at=at + timedelta(days=expires) if expires else None,
        )
        audit.record(
            session,
            actor,
            "token.created",
            kept.id,
            organization_id=organization,
            after=_plain(kept, at),
        )
    if as_json:
        click.echo(orjson.dumps({**_plain(kept, at), "token": made.text}))
    else:
        click.echo(made.text)
        click.echo(f"{kept.id}: shown this once; keep it where secrets are kept", err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def list_tokens(as_json: bool) -> None:
    """List tokens, revoked and expired ones too; never a secret."""
    at = datetime.now(UTC)
    with _database() as session:
        found = store.page(session, limit=MOST_LISTED)
    if as_json:
        click.echo(orjson.dumps([_plain(one, at) for one in found]))
        return
    for one in found:
        used = f"last used {clock(one.last_used_at)}" if one.last_used_at else "never used"
        bound = one.organization_id or "every organization"
        click.echo(f"{one.id}  {_state(one, at)}  {one.name}")
        click.echo(wrapped(f"{' '.join(one.scopes)}; {bound}; {used}"))
    if not found:
        click.echo("there is no token: trueup token create")


@token.command()
@click.argument("token_id")
@click.option("--because", required=True, help="Why, for the audit trail.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who revokes it.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
def revoke(token_id: str, because: str, by: str, as_json: bool) -> None:
    """Revoke a token: from the next request on it opens nothing."""
    at = datetime.now(UTC)
    actor = Actor(f"cli:{by}", because=because)
    with _database() as session:
        revoked = store.revoke(session, token_id, by=str(actor), at=at)
        if revoked is None:
            raise click.ClickException(f"there is no token {token_id} that is not revoked already")
        audit.record(
            session,
            actor,
            "token.revoked",
            token_id,
            organization_id=revoked.organization_id,
            after=_plain(revoked, at),
        )
    click.echo(orjson.dumps(_plain(revoked, at)) if as_json else f"{token_id} is revoked")


@contextmanager
def _database() -> Iterator[Session]:
    settings = read_settings()
    need(settings, "database_url")
    engine = build_engine(settings.database_url, pool_size=1)
    try:
        with build_sessions(engine).begin() as session:
            yield session
    finally:
        engine.dispose()


def _plain(kept: Token, at: datetime) -> dict[str, object]:
    """What may be seen of a token."""

    def told(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "id": kept.id,
        "name": kept.name,
        "scopes": list(kept.scopes),
        "organization": kept.organization_id,
        "state": _state(kept, at),
        "created_by": kept.created_by,
        "expires_at": told(kept.expires_at),
        "last_used_at": told(kept.last_used_at),
        "revoked_at": told(kept.revoked_at),
    }


def _state(kept: Token, at: datetime) -> str:
    if kept.revoked_at:
        return "revoked"
    return "usable" if kept.usable(at) else "expired"
