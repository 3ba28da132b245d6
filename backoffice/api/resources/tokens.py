"""Tokens, to look at: they are made and revoked by `trueup token`, not by one another."""

from datetime import datetime

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import only, services
from backoffice.api.fields import View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from reconcile.store import tokens as store

tokens = Resource("tokens", "Who may come in, and what for. Made by `trueup token`.")


class TokenView(View):
    """A token, without its secret: only the digest of that is kept."""

    id: str = Field(description="`tok_...`")
    name: str = Field(description="What it is for.")
    scopes: list[str] = Field(description="What it may do.")
    organization_id: str | None = Field(description="The one it is bound to; null: all.")
    created_by: str = Field(description="Who made it.")
    created_at: datetime = Field(description="When.")
    expires_at: datetime | None = Field(description="From when on it opens nothing.")
    last_used_at: datetime | None = Field(description="Its last use, to the minute.")
    revoked_at: datetime | None = Field(description="When it was revoked.")
    revoked_by: str | None = Field(description="By whom.")


class TokenList(Listed[TokenView]):
    """Tokens, in the order of their ids."""


@tokens.read("/tokens", TokenList, scope="operate")
def list_tokens(query: PageQuery) -> Answer:
    """List tokens, revoked and expired ones too."""
    place = query.place(str)
    with services().sessions() as session:
        rows = store.page(
            session,
            organization_id=only(None),
            after_id=place[0] if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, TokenView.model_validate, lambda row: (row.id,))
    return TokenList(data=data, next_cursor=cursor)
