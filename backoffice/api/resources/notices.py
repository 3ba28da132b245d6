"""Notices: what the host application was told, is being told, or could not be told."""

from datetime import datetime
from typing import Any

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Id, Path, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.store import notices as store

notices = Resource("notices", "What you are told by signed webhooks; here it can be read again.")


class NoticePath(Path):
    """A path below one notice."""

    notice_id: Id = Field(description="`ntc_...`, the `webhook-id` of its deliveries.")


class NoticeView(View):
    """One notice."""

    id: str = Field(description="`ntc_...`, the `webhook-id` of its deliveries.")
    type: str = Field(description="What it tells: `seats.limit_reached`, `review.opened`, ...")
    organization_id: str | None = Field(description="Which organization it is about.")
    audience: str | None = Field(
        description="Who should hear of it: `owner`, `payer`, `account_manager`, `host`."
    )
    summary: str = Field(description="One line for a person.")
    data: dict[str, Any] = Field(description="The fields of its type.")
    created_at: datetime = Field(description="When what it tells happened.")
    delivered_at: datetime | None = Field(description="When you answered 2xx; null: not yet.")
    tried_at: datetime | None = Field(description="When it was last sent.")
    answer_status: int | None = Field(description="Your last HTTP status; null: no answer.")
    trouble: str | None = Field(description="Why the last try failed.")
    request_id: str | None = Field(description="The inbox request that delivers it: requeue that.")


class NoticeList(Listed[NoticeView]):
    """Notices, newest first."""


class NoticeQuery(PageQuery):
    """Which notices."""

    organization_id: Id | None = Field(default=None, description="Only of this organization.")
    type: Word | None = Field(default=None, description="Only of this type.")
    delivered: bool | None = Field(default=None, description="Only those delivered, or not yet.")


@notices.read("/notices", NoticeList)
def list_notices(query: NoticeQuery) -> Answer:
    """List notices, newest first."""
    place = query.place(datetime, str)
    with services().sessions() as session:
        rows = store.page(
            session,
            organization_id=only(query.organization_id),
            type=query.type,
            delivered=query.delivered,
            before=place,
            limit=query.limit + 1,
        )
    data, cursor = page_of(
        rows, query.limit, NoticeView.model_validate, lambda row: (row.created_at, row.id)
    )
    return NoticeList(data=data, next_cursor=cursor)


@notices.read("/notices/<notice_id>", NoticeView)
def show(path: NoticePath) -> Answer:
    """Show a notice, and what became of it."""
    with services().sessions() as session:
        found = store.by_id(session, path.notice_id)
    if found is None:
        raise NotFound("notice")
    visible(found.organization_id, "notice")
    return NoticeView.model_validate(found)
