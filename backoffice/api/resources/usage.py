"""Usage signals: what was sold in a month (C9). Large usage is flagged for a person."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Minor, OrganizationPath, View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.outward import usage as deeds
from reconcile.policy.values import Refuse
from reconcile.store import roster
from reconcile.store import usage as store
from reconcile.store.usage import Signal

usage = Resource("usage", "What was sold in a month. It blocks nothing; a person may look.")

Month = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]


class UsagePath(OrganizationPath):
    """One month of one organization."""

    month: Month = Field(description="`2026-11`.")


class UsageView(View):
    """What was reported of one month."""

    month: str = Field(description="`2026-11`.")
    orders: int | None = Field(description="Orders of the month; null: not reported.")
    gmv_minor: dict[str, int] = Field(description="Merchandise value by currency, in minor units.")
    reported_at: datetime | None = Field(description="When a value was last reported.")


class UsageList(Listed[UsageView]):
    """Months, newest first."""


class UsageReport(Reasoned):
    """What is known of a month; what is left out stays as it was reported."""

    orders: Minor | None = Field(default=None, description="Orders of the month.")
    gmv_minor: dict[Currency, Minor] = Field(
        default_factory=dict,
        max_length=20,
        description="Merchandise value by currency, in minor units.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.orders is None and not self.gmv_minor:
            raise ValueError("orders or gmv_minor is needed")
        return self


@usage.read("/organizations/<organization_id>/usage", UsageList)
def list_usage(path: OrganizationPath, query: PageQuery) -> Answer:
    """List what was reported, newest month first."""
    place = query.place(str)
    with services().sessions() as session:
        if roster.organization(session, path.organization_id) is None:
            raise NotFound("organization")
        months = store.months(
            session,
            path.organization_id,
            before=str(place[0]) if place else None,
            limit=query.limit + 1,
        )
    rows = list(months.values())
    data, cursor = page_of(rows, query.limit, _view, lambda signals: (signals[0].month,))
    return UsageList(data=data, next_cursor=cursor)


@usage.write(
    "/organizations/<organization_id>/usage/<month>", UsageView, scope="members", method="PUT"
)
def report(path: UsagePath, body: UsageReport) -> Answer:
    """Report what was sold in a month.

    The same month again replaces its values. Two consecutive months over the plan's limits open
    one review for a person; nothing is blocked.
    """
    signals = [
        Signal(month=path.month, metric="gmv", currency=currency, value=value)
        for currency, value in body.gmv_minor.items()
    ]
    if body.orders is not None:
        signals.append(Signal(month=path.month, metric="orders", currency="", value=body.orders))
    known = deeds.report(services(), path.organization_id, signals, actor_of(body))
    return known if isinstance(known, Refuse) else _view(known)


def _view(signals: tuple[Signal, ...]) -> UsageView:
    orders = [signal.value for signal in signals if signal.metric == "orders"]
    reported = [signal.reported_at for signal in signals if signal.reported_at]
    return UsageView(
        month=signals[0].month,
        orders=orders[0] if orders else None,
        gmv_minor={s.currency: s.value for s in signals if s.metric == "gmv"},
        reported_at=max(reported, default=None),
    )
