"""Contracts, for account managers: what is agreed, approved changes, and what was used beyond."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Body, Id, Line, OrganizationPath, Time, View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from backoffice.api.resources.seat_changes import (
    PreviewView,
    Quantities,
    SeatChangeView,
    StaleProblem,
    applied,
    previewed,
)
from reconcile.adjustments import contract, overage
from reconcile.adjustments.contract import Terms
from reconcile.adjustments.overage import TrueUp
from reconcile.policy.seat_change import Requester, Wanted
from reconcile.policy.values import Refuse
from reconcile.store import contracts as store
from reconcile.store import roster

contracts = Resource("contracts", "Seats sized by contract, and changed by an account manager.")

Kind = Literal["monthly", "annual_upfront"]


class RemovalsDecision(Body):
    """Whether seats may be removed before the contract ends. A person decides, and says why."""

    allowed: bool = Field(description="The decision.")
    because: Line = Field(description="Why.")


class ContractTerms(Reasoned):
    """What is agreed."""

    because: Line = Field(description="Where it is written: an order, a name, a date.")
    kind: Kind = Field(
        description="`monthly`: approved changes start with the next billing cycle. "
        "`annual_upfront`: at once, prorated for the rest of the period."
    )
    quantities: Quantities = Field(description="Seats by seat type; all of the plan's.")
    starts_at: Time = Field(description="Its start, with an offset.")
    ends_at: Time | None = Field(default=None, description="Its end; null: none is agreed.")
    removals: RemovalsDecision | None = Field(
        default=None, description="Null: not decided, so no seat is removed before it ends."
    )


class ContractChangeWanted(Reasoned):
    """A change an account manager approves."""

    because: Line = Field(description="Who approved it and why: it is kept with the change.")
    quantities: Quantities = Field(
        min_length=1, description="The new number of seats of each seat type that changes."
    )


class ContractChangeConfirmed(Reasoned):
    """Which preview is confirmed."""

    preview_id: Id = Field(description="`prv_...`, as it was shown.")


class ContractChangeWithdrawn(Reasoned):
    """That the approved change is not wanted any more."""

    because: Line = Field(description="Who took it back and why.")


class RemovalsView(View):
    """The decision on removals."""

    allowed: bool = Field(description="Whether seats may be removed before the contract ends.")
    because: str = Field(description="Why.")
    by: str = Field(description="Who decided.")


class ApprovedView(View):
    """An approved change that waits for the next billing cycle."""

    quantities: dict[str, int] = Field(description="Seats by seat type from then on.")
    approved: str = Field(description="What was approved, by whom and why.")
    takes_effect_at: datetime = Field(description="The end of the current period.")


class WithdrawnView(View):
    """An approved change that was taken back."""

    quantities: dict[str, int] = Field(description="Seats by seat type that it would have set.")
    approved: str = Field(description="What had been approved, by whom and why.")
    would_have_taken_effect_at: datetime = Field(description="The end of the current period.")


class ContractView(View):
    """What is agreed."""

    id: int = Field(description="The number of the record.")
    organization_id: str = Field(description="Whose contract it is.")
    kind: Kind = Field(description="When approved changes take effect.")
    quantities: dict[str, int] = Field(description="Seats by seat type.")
    starts_at: datetime = Field(description="Its start.")
    ends_at: datetime | None = Field(description="Its end.")
    removals: RemovalsView | None = Field(description="The decision on removals, if there is one.")
    adjustment_id: str | None = Field(description="The change it came from, if it did.")
    recorded_by: str = Field(description="Who recorded it.")
    because: str = Field(description="Why, or what was changed.")
    recorded_at: datetime = Field(description="When.")


class ContractStanding(ContractView):
    """What is agreed, and what is about to be."""

    approved: ApprovedView | None = Field(
        description="The approved change that waits for the next billing cycle."
    )


class ContractHistory(Listed[ContractView]):
    """What was agreed before and is now, newest first."""


class TrueUpView(View):
    """One period that had more active members than was agreed."""

    seat_type: str = Field(description="The kind of seat.")
    period_start: datetime = Field(description="The billing period.")
    period_end: datetime | None = Field(description="Its end.")
    agreed: int = Field(description="Seats agreed at the time of the peak.")
    peak: int = Field(description="The highest count of active members.")
    over: int = Field(description="The seats beyond what was agreed.")
    peak_at: datetime = Field(description="When it was seen.")
    currency: str | None = Field(description="ISO code, lower case.")
    amount_minor: int | None = Field(
        description="What those seats cost for a whole period by the catalog's price model, before "
        "discounts and tax; null where it has no such price."
    )


class TrueUpList(Listed[TrueUpView]):
    """Periods with more active members than was agreed, newest first."""


@contracts.write(
    "/organizations/<organization_id>/contract", ContractView, scope="contract", method="PUT"
)
def record(path: OrganizationPath, body: ContractTerms) -> Answer:
    """Record what is agreed.

    From then on Stripe is compared with it: other quantities there open a finding, and nothing is
    written to Stripe. Every record is kept; the newest one is in force.
    """
    removals = body.removals
    terms = Terms(
        kind=body.kind,
        quantities=body.quantities,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        removals_allowed=removals.allowed if removals else None,
        removals_because=removals.because if removals else None,
    )
    made = contract.record(services(), path.organization_id, terms, actor=actor_of(body))
    return made if isinstance(made, Refuse) else ContractView.model_validate(made)


@contracts.read("/organizations/<organization_id>/contract", ContractStanding, scope="contract")
def show(path: OrganizationPath) -> Answer:
    """Show the contract and the change that waits."""
    with services().sessions() as session:
        found = contract.standing(session, path.organization_id)
    if found.contract is None:
        raise NotFound("contract")
    waits = found.approved
    return ContractStanding(
        **ContractView.model_validate(found.contract).model_dump(),
        approved=ApprovedView(
            quantities=dict(waits.quantities),
            approved=waits.approved,
            takes_effect_at=waits.period_end,
        )
        if waits
        else None,
    )


@contracts.read(
    "/organizations/<organization_id>/contract/history", ContractHistory, scope="contract"
)
def history(path: OrganizationPath, query: PageQuery) -> Answer:
    """List every record of the contract."""
    place = query.place(int)
    with services().sessions() as session:
        rows = store.history(
            session,
            path.organization_id,
            before_id=int(place[0]) if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, ContractView.model_validate, lambda row: (row.id,))
    return ContractHistory(data=data, next_cursor=cursor)


@contracts.write(
    "/organizations/<organization_id>/contract/changes/preview",
    PreviewView,
    scope="contract",
    status=201,
)
def preview_change(path: OrganizationPath, body: ContractChangeWanted) -> Answer:
    """Preview an approved change.

    Fewer seats need a recorded decision that removals are allowed. Customers are refused: their
    seat changes are processed through an account manager.
    """
    actor = actor_of(body)
    wanted = Wanted(
        quantities=body.quantities,
        by=Requester.ACCOUNT_MANAGER,
        approval=f"{actor.who}, {body.because}",
    )
    return previewed(path.organization_id, wanted, actor)


@contracts.write(
    "/organizations/<organization_id>/contract/changes",
    SeatChangeView,
    scope="contract",
    status=201,
    also={409: StaleProblem},
    works_on=True,
)
def change(path: OrganizationPath, body: ContractChangeConfirmed) -> Answer:
    """Approve a change as it was previewed.

    A monthly contract changes with the next billing cycle, an annual upfront one at once, prorated
    for the rest of the period.
    """
    return applied(
        path.organization_id, body.preview_id, actor_of(body), by=Requester.ACCOUNT_MANAGER
    )


@contracts.write(
    "/organizations/<organization_id>/contract/changes/withdraw", WithdrawnView, scope="contract"
)
def withdraw_change(path: OrganizationPath, body: ContractChangeWithdrawn) -> Answer:
    """Withdraw the approved change that waits.

    All of it, until the last hour of the period, when it is applied. It is applied or withdrawn,
    never both: 409 with `nothing_waits` says that there is nothing to take back (any more).
    """
    taken = contract.withdraw(services(), path.organization_id, actor=actor_of(body))
    if isinstance(taken, Refuse):
        return taken
    return WithdrawnView(
        quantities=dict(taken.quantities),
        approved=taken.approved,
        would_have_taken_effect_at=taken.period_end,
    )


@contracts.read("/organizations/<organization_id>/contract/true-up", TrueUpList, scope="contract")
def true_up(path: OrganizationPath, query: PageQuery) -> Answer:
    """List what was used beyond the contract.

    One row for each billing period and seat type, with what the seats would have cost.
    """
    place = query.place(datetime, str)
    with services().sessions() as session:
        if roster.organization(session, path.organization_id) is None:
            raise NotFound("organization")
        rows = overage.true_ups(
            session, services(), path.organization_id, after=place, limit=query.limit + 1
        )
    data, cursor = page_of(
        rows,
        query.limit,
        _true_up,
        lambda row: (row.peak.period_start, row.peak.seat_type),
    )
    return TrueUpList(data=data, next_cursor=cursor)


def _true_up(row: TrueUp) -> TrueUpView:
    peak = row.peak
    return TrueUpView(
        seat_type=peak.seat_type,
        period_start=peak.period_start,
        period_end=peak.period_end,
        agreed=peak.agreed,
        peak=peak.peak,
        over=peak.peak - peak.agreed,
        peak_at=peak.peak_at,
        currency=row.currency,
        amount_minor=row.amount_minor,
    )
