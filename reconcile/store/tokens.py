"""Tokens of the API: who may come in and what for. A secret is never here, only its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.orm import Session

from reconcile.tables import api_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept. `organization_id` None: it sees every organization."""

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    organization_id: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None

    def usable(self, at: datetime) -> bool:
        """Return whether it opens anything at that time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


def add(  # noqa: PLR0913 - one row, all by name
    session: Session,
    *,
    id: str,  # noqa: A002 - the column's name
    name: str,
    digest: str,
    scopes: Sequence[str],
    organization_id: str | None,
    created_by: str,
    expires_at: datetime | None,
) -> Token:
    """Keep a new token and return it."""
    row = session.execute(
        insert(api_tokens)
        .values(
            id=id,
            name=name,
            digest=digest,
            scopes=list(scopes),
            organization_id=organization_id,
            created_by=created_by,
            expires_at=expires_at,
        )
        .returning(api_tokens)
    )
    return _token(row.mappings().one())


def by_id(session: Session, token_id: str) -> Token | None:
    """Return the token, usable or not, or None."""
    row = session.execute(select(api_tokens).where(api_tokens.c.id == token_id)).mappings()
    found = row.one_or_none()
    return None if found is None else _token(found)


def page(
    session: Session,
    *,
    organization_id: str | None = None,
    after_id: str | None = None,
    limit: int = 50,
) -> tuple[Token, ...]:
    """Return tokens in the order of their ids, revoked and expired ones too.

    With `organization_id`, those that are bound to it.
    """
    wanted = select(api_tokens).order_by(api_tokens.c.id).limit(limit)
    if organization_id is not None:
        wanted = wanted.where(api_tokens.c.organization_id == organization_id)
    if after_id is not None:
        wanted = wanted.where(api_tokens.c.id > after_id)
    return tuple(_token(row) for row in session.execute(wanted).mappings())


def mark_used(session: Session, token_id: str, at: datetime) -> None:
    """Note the last use."""
    this = api_tokens.c.id == token_id
    session.execute(update(api_tokens).where(this).values(last_used_at=at))


def revoke(session: Session, token_id: str, *, by: str, at: datetime) -> Token | None:
    """Revoke a token that is not revoked yet and return it; None when there is none such."""
    row = session.execute(
        update(api_tokens)
        .where(api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
        .values(revoked_at=at, revoked_by=by)
        .returning(api_tokens)
    )
    found = row.mappings().one_or_none()
    return None if found is None else _token(found)


def _token(row: RowMapping) -> Token:
    values = {name: row[name] for name in Token.__slots__}
    return Token(**(values | {"scopes": tuple(row["scopes"])}))
