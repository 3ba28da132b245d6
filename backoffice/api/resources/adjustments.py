"""Adjustments: every intended change of a subscription, and the invoice lines it brought."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Id, Path, Time, View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.store import adjustments as store
from reconcile.store import look
from reconcile.store.adjustments import Adjustment
from reconcile.store.look import Filters

adjustments = Resource("adjustments", "What was changed in Stripe, what it cost, and who asked.")

State = Literal["pending", "applied", "refused", "failed"]
Kind = Literal["quantities", "interval"]


class AdjustedSeatsView(View):
    """One seat type's part of an adjustment."""

    seat_type: str = Field(description="The catalog's word; `fee` for a plan's own fee.")
    from_quantity: int = Field(description="Seats before.")
    to_quantity: int = Field(description="Seats after.")
    active: int = Field(description="Active members it was decided with.")


class AdjustmentView(View):
    """One intended change of a subscription. Amounts are of its invoice, in minor units."""

    id: str = Field(description="`adj_...`")
    organization_id: str = Field(description="Whose.")
    subscription_id: str = Field(description="Of which subscription.")
    kind: Kind = Field(description="Seats, or the billing interval.")
    state: State = Field(description="`refused`: the payment was declined; nothing was changed.")
    reason: str = Field(description="Why, in a line.")
    outcome: str | None = Field(description="What became of it, in a line.")
    trigger: str = Field(description="The event, run or person it came from.")
    actor: str = Field(description="Who asked: `member:...`, `token:...`, `cli:...`, `trueup`.")
    changes: list[AdjustedSeatsView] = Field(description="Each seat type that changes.")
    proration_behavior: str = Field(description="Stripe's word for how it is charged.")
    currency: str | None = Field(description="ISO code.")
    total_minor: int | None = Field(description="The invoice's total; negative is a credit.")
    starting_balance_minor: int | None = Field(description="The customer's balance before it.")
    amount_due_minor: int | None = Field(description="What was due at once.")
    invoice_id: str | None = Field(description="Stripe's invoice; none when nothing was charged.")
    stripe_request_id: str | None = Field(description="To find the call in Stripe's log.")
    error_code: str | None = Field(description="Stripe's code, when it was not applied.")
    created_at: datetime = Field(description="When it was intended.")
    finished_at: datetime | None = Field(description="When its outcome was known.")


class AdjustmentList(Listed[AdjustmentView]):
    """Adjustments, newest first."""


class LedgerLineView(View):
    """One invoice line, as Stripe wrote it."""

    id: str = Field(description="Stripe's id of the line.")
    invoice_id: str | None = Field(description="None while it waits for the next invoice.")
    seat_type: str | None = Field(description="The seat type it is about.")
    price_id: str | None = Field(description="Stripe's price.")
    quantity: int | None = Field(description="Seats on the line.")
    amount_minor: int = Field(description="Minor units; a credit is negative.")
    currency: str = Field(description="ISO code.")
    proration: bool = Field(description="Whether it is for a part of a period.")
    description: str | None = Field(description="Stripe's wording.")


class AdjustmentDetail(AdjustmentView):
    """An adjustment with its invoice lines."""

    lines: list[LedgerLineView] = Field(description="The invoice lines it brought, credits first.")


class AdjustmentQuery(PageQuery):
    """Which adjustments."""

    organization_id: Id | None = Field(default=None, description="Of this organization.")
    subscription_id: Id | None = Field(default=None, description="Of this subscription.")
    invoice_id: Id | None = Field(default=None, description="Charged on this Stripe invoice.")
    state: State | None = Field(default=None, description="In this state.")
    kind: Kind | None = Field(default=None, description="Of this kind.")
    since: Time | None = Field(default=None, description="Intended at or after this time.")
    until: Time | None = Field(default=None, description="Intended before this time.")


class AdjustmentPath(Path):
    """One adjustment."""

    adjustment_id: Id = Field(description="`adj_...`")


@adjustments.read("/adjustments", AdjustmentList)
def list_adjustments(query: AdjustmentQuery) -> Answer:
    """List adjustments, newest first."""
    filters = Filters(
        organization_id=only(query.organization_id),
        subscription_id=query.subscription_id,
        object_id=query.invoice_id,
        state=query.state,
        type=query.kind,
        since=query.since,
        until=query.until,
    )
    place = query.place(datetime, str)
    with services().sessions() as session:
        rows = look.adjustments_page(session, filters, limit=query.limit + 1, before=place)
    data, cursor = page_of(rows, query.limit, _view, lambda row: (row.created_at, row.id))
    return AdjustmentList(data=data, next_cursor=cursor)


@adjustments.read("/adjustments/<adjustment_id>", AdjustmentDetail)
def show(path: AdjustmentPath) -> Answer:
    """Show an adjustment with the invoice lines it brought."""
    with services().sessions() as session:
        found = store.by_id(session, path.adjustment_id)
        if found is None:
            raise NotFound("adjustment")
        visible(found.organization_id, "adjustment")
        lines = store.ledger_of(session, found.id)
    return AdjustmentDetail(
        **_view(found).model_dump(), lines=[LedgerLineView.model_validate(line) for line in lines]
    )


def _view(found: Adjustment) -> AdjustmentView:
    names = AdjustmentView.model_fields.keys() - {"actor", "changes"}
    return AdjustmentView(
        **{name: getattr(found, name) for name in names},
        actor=str(found.actor),
        changes=[AdjustedSeatsView.model_validate(change) for change in found.changes],
    )
