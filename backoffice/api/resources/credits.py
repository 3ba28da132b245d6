"""The credit pool of an organization of own seats, and the ledger of its grants (A4)."""

from datetime import datetime

from pydantic import Field

from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Id, OrganizationPath, View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.store import credits as store
from reconcile.store import roster

credit_pool = Resource("credits", "What paid seats grant, pooled over the organization.")


class CreditPool(View):
    """The sum of what is live now."""

    pool: int = Field(description="All live credits, in your product's own unit.")
    by_seat_type: dict[str, int] = Field(description="The same by seat type.")
    as_of: datetime = Field(description="The time it is the sum of.")


class GrantView(View):
    """What one seat was granted for one billing period."""

    id: int = Field(description="The grant's number.")
    subscription_id: str = Field(description="The seat: its subscription in Stripe.")
    member_id: str | None = Field(description="Whose seat it is.")
    seat_type: str = Field(description="The catalog's word.")
    credits: int = Field(description="How many, in your product's own unit.")
    period_start: datetime = Field(description="Live from then, the start of the period.")
    period_end: datetime = Field(description="Until then, its end.")
    granted_by: str = Field(description="The event or run that saw the period paid.")
    granted_at: datetime = Field(description="When it was written.")


class GrantList(Listed[GrantView]):
    """Grants, newest first."""


class GrantQuery(PageQuery):
    """Which grants."""

    live: bool = Field(default=False, description="Only those that are live now.")
    subscription_id: Id | None = Field(default=None, description="Only of this seat.")


@credit_pool.read("/organizations/<organization_id>/credits", CreditPool)
def show(path: OrganizationPath) -> Answer:
    """Show the pool.

    Every paid seat grants once a billing period. A seat that is removed or not paid stops at its
    next period; what it has granted stays until the period's end.
    """
    here = services()
    now = here.clock()
    with here.sessions() as session:
        if roster.organization(session, path.organization_id) is None:
            raise NotFound("organization")
        by_seat_type = store.pool_by_seat_type(session, path.organization_id, now)
    return CreditPool(pool=sum(by_seat_type.values()), by_seat_type=by_seat_type, as_of=now)


@credit_pool.read("/organizations/<organization_id>/credits/grants", GrantList)
def list_grants(path: OrganizationPath, query: GrantQuery) -> Answer:
    """List grants, newest first: one for each seat and billing period."""
    here = services()
    place = query.place(int)
    with here.sessions() as session:
        if roster.organization(session, path.organization_id) is None:
            raise NotFound("organization")
        rows = store.page(
            session,
            path.organization_id,
            live_at=here.clock() if query.live else None,
            subscription_id=query.subscription_id,
            before_id=int(place[0]) if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, GrantView.model_validate, lambda row: (row.id,))
    return GrantList(data=data, next_cursor=cursor)
