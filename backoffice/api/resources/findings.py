"""Findings: what a person should see. Opened once, closed when it is gone."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Id, Path, RowId, Time, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.store import look
from reconcile.store.look import Filters

findings = Resource("findings", "Drifts and anomalies that a person should see.")


class FindingView(View):
    """A finding. The runbook has a section for each kind."""

    id: int = Field(description="Its number.")
    kind: str = Field(description="The runbook's word.")
    subject: str = Field(description="What it is about: `sub_1/voice`, `org_1/member_1`, ...")
    organization_id: str | None = Field(description="Whose.")
    subscription_id: str | None = Field(description="On which subscription.")
    seat_type: str | None = Field(description="On which seat type.")
    urgent: bool = Field(description="Whether somebody should look today.")
    summary: str = Field(description="What is wrong and what to do, in a line.")
    detail: dict[str, Any] = Field(description="The counts behind it.")
    opened_by: str | None = Field(description="The event or run that saw it first.")
    opened_at: datetime = Field(description="When it was seen first.")
    closed_at: datetime | None = Field(description="When it was gone.")


class FindingList(Listed[FindingView]):
    """Findings, newest first."""


class FindingQuery(PageQuery):
    """Which findings."""

    organization_id: Id | None = Field(default=None, description="Of this organization.")
    subscription_id: Id | None = Field(default=None, description="On this subscription.")
    kind: Word | None = Field(default=None, description="Of this kind.")
    state: Literal["open", "closed"] | None = Field(default=None, description="Open, or gone.")
    since: Time | None = Field(default=None, description="Opened at or after this time.")
    until: Time | None = Field(default=None, description="Opened before this time.")


class FindingPath(Path):
    """One finding."""

    finding_id: RowId = Field(description="Its number.")


@findings.read("/findings", FindingList)
def list_findings(query: FindingQuery) -> Answer:
    """List findings, newest first."""
    filters = Filters(
        organization_id=only(query.organization_id),
        subscription_id=query.subscription_id,
        type=query.kind,
        state=query.state,
        since=query.since,
        until=query.until,
    )
    place = query.place(int)
    with services().sessions() as session:
        rows = look.findings_page(
            session, filters, limit=query.limit + 1, before_id=place[0] if place else None
        )
    data, cursor = page_of(rows, query.limit, FindingView.model_validate, lambda row: (row.id,))
    return FindingList(data=data, next_cursor=cursor)


@findings.read("/findings/<finding_id>", FindingView)
def show(path: FindingPath) -> Answer:
    """Show a finding."""
    with services().sessions() as session:
        found = look.finding(session, path.finding_id)
    if found is None:
        raise NotFound("finding")
    visible(found.organization_id, "finding")
    return FindingView.model_validate(found)
