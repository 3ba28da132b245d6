"""The audit trail: who did what, when, before and after. Read only, like the table itself."""

from datetime import datetime
from typing import Any

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import only, services
from backoffice.api.fields import Id, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from reconcile.store import audit as store

audit = Resource("audit", "Who did what, when, before and after.")


class AuditView(View):
    """One thing that was done."""

    id: int = Field(description="Its number; later ones are larger.")
    at: datetime = Field(description="When.")
    organization_id: str | None = Field(description="To which organization.")
    actor: str = Field(description="Who: `member:...`, `token:...`, `cli:...`, `trueup`.")
    token_id: str | None = Field(description="The token it came with.")
    action: str = Field(description="What: `member.activated`, `seats.changed`, ...")
    subject: str = Field(description="To what: an id.")
    because: str | None = Field(description="The reason a person gave.")
    before: dict[str, Any] | None = Field(description="How it was.")
    after: dict[str, Any] | None = Field(description="How it is since.")


class AuditList(Listed[AuditView]):
    """Entries, newest first."""


class AuditQuery(PageQuery):
    """Which entries."""

    organization_id: Id | None = Field(default=None, description="Of this organization.")
    subject: Id | None = Field(default=None, description="Done to this.")
    actor: Id | None = Field(default=None, description="Done by this one, `member:ann`.")
    action: Word | None = Field(default=None, description="This was done, `member.activated`.")


@audit.read("/audit", AuditList)
def list_entries(query: AuditQuery) -> Answer:
    """List what was done, newest first."""
    place = query.place(int)
    with services().sessions() as session:
        rows = store.page(
            session,
            organization_id=only(query.organization_id),
            subject=query.subject,
            actor=query.actor,
            action=query.action,
            before_id=place[0] if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, AuditView.model_validate, lambda row: (row.id,))
    return AuditList(data=data, next_cursor=cursor)
