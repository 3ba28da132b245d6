"""Findings: what a person should see. Opened once, closed when it is gone, or by hand.

The same functions as `trueup findings`.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Id, Line, Path, RowId, Time, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.operating import closing
from reconcile.policy.values import Refuse
from reconcile.store import look
from reconcile.store.findings import Finding
from reconcile.store.look import Filters

findings = Resource("findings", "Drifts and anomalies that a person should see.")


class FindingView(View):
    """A finding. The runbook has a section for each kind."""

    id: int = Field(description="Its number.")
    kind: str = Field(description="The runbook's word.")
    subject: str = Field(
        description="What it is about: `sub_1/voice`, `sub_1/adj_1`, `org_1/member_1`, ..."
    )
    organization_id: str | None = Field(description="Whose.")
    subscription_id: str | None = Field(description="On which subscription.")
    seat_type: str | None = Field(description="On which seat type.")
    urgent: bool = Field(description="Whether somebody should look today.")
    summary: str = Field(description="What is wrong and what to do, in a line.")
    detail: dict[str, Any] = Field(description="The counts behind it.")
    opened_by: str | None = Field(description="The event or run that saw it first.")
    opened_at: datetime = Field(description="When it was seen first.")
    closed_at: datetime | None = Field(
        description="When it was gone, or closed by hand: the audit trail has who and why then, by "
        "the subject `finding:` and its number."
    )


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


class FindingClosing(Reasoned):
    """Why a finding is closed."""

    because: Line = Field(description="What was found, in a person's words, for the audit trail.")


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
    return FindingView.model_validate(_found(path.finding_id))


@findings.write("/findings/<finding_id>/close", FindingView, scope="operate")
def close(path: FindingPath, body: FindingClosing) -> Answer:
    """Close a finding that was looked at, and that no run closes.

    That is one of an invoice that differs, or one on a subscription that is over. All others are
    refused with the code `closes_by_itself`: they close when what they say is gone.
    """
    _found(path.finding_id)
    closed = closing.close(services(), path.finding_id, actor_of(body))
    return closed if isinstance(closed, Refuse) else FindingView.model_validate(closed)


def _found(finding_id: int) -> Finding:
    with services().sessions() as session:
        found = look.finding(session, finding_id)
    if found is None:
        raise NotFound("finding")
    visible(found.organization_id, "finding")
    return found
