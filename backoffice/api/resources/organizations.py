"""Organizations: made and changed by the host application, read with their seats."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import need_scope, only, services, token
from backoffice.api.fields import Id, Line, NewId, OrganizationPath, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound, Refused
from backoffice.api.resources.findings import FindingView
from backoffice.api.resources.reviews import ReviewView, review_view
from reconcile.members import organizations as changing
from reconcile.members.overview import SeatTypeOverview, overview
from reconcile.policy.values import Refuse
from reconcile.store import credits, look, reviews  # noqa: A004 - the domain's word
from reconcile.store import organizations as store
from reconcile.store import roster as roster_store
from reconcile.store.look import Filters
from reconcile.store.roster import Organization

organizations = Resource("organizations", "The customers of your product, and their seats.")


class OrganizationView(View):
    """An organization as you keep it here."""

    id: str = Field(description="Your own id of it.")
    name: str = Field(description="What people call it.")
    plan: str = Field(description="A plan of the catalog.")
    stripe_customer_id: str | None = Field(description="Who pays for it in Stripe.")
    trial: bool = Field(description="Whether it is on trial in your product.")


class OrganizationList(Listed[OrganizationView]):
    """Organizations, in the order of their ids."""


class AutoAddView(View):
    """Auto-Add Seats of one seat type."""

    enabled: bool = Field(description="Whether seats are added as members activate.")
    ceiling_quantity: int | None = Field(description="Most seats it may reach.")
    ceiling_minor: int | None = Field(description="Most that a period's seats may cost.")


class SeatsView(View):
    """One seat type. Null where there is no such number: nothing is bought of included seats."""

    seat_type: str = Field(description="The catalog's word.")
    label: str = Field(description="What people call it.")
    bought: int | None = Field(description="Seats bought, as we agreed.")
    in_stripe: int | None = Field(description="Seats bought, as Stripe had it when last seen.")
    active: int | None = Field(description="Active members on it; null: they cannot be counted.")
    capacity: int | None = Field(description="What activations are checked against.")
    free: int | None = Field(description="Seats that may be taken without buying one.")
    minimum: int = Field(description="The plan's least.")
    ceiling: int | None = Field(description="The most that may be bought.")
    included: int | None = Field(description="Seats that the plan includes.")
    hard_cap: int | None = Field(description="Beyond it an Enterprise review opens.")
    auto_add: AutoAddView = Field(description="Auto-Add Seats.")


class SubscriptionView(View):
    """A Stripe subscription that is not over."""

    id: str = Field(description="Stripe's id.")
    member_id: str | None = Field(description="Whose own seat it is, where members pay themselves.")
    status: str = Field(description="Stripe's status.")
    currency: str = Field(description="ISO code.")
    interval: str | None = Field(description="`month` or `year`.")
    current_period_start: datetime | None = Field(description="Start of the paid period.")
    current_period_end: datetime | None = Field(description="Its end, when it renews.")
    cancel_at_period_end: bool = Field(description="Whether it ends then.")
    collection_paused: bool = Field(description="Whether Stripe collects no payments.")


class OrganizationDetail(OrganizationView):
    """An organization with all that is known of its seats."""

    policy: Literal["purchased", "follow", "own_seat", "contract", "included"] = Field(
        description="Who sets the number of seats."
    )
    seats: list[SeatsView] = Field(description="One for each seat type of the plan.")
    subscriptions: list[SubscriptionView] = Field(
        description="Live ones, oldest first, 100 at most."
    )
    counts_problem: str | None = Field(description="Why active members cannot be counted.")
    credit_pool: int = Field(description="Credits that are live now, of all paid seats together.")
    open_findings: list[FindingView] = Field(description="What a person should see, 20 at most.")
    open_reviews: list[ReviewView] = Field(description="Enterprise and usage reviews, one of each.")
    restricted: bool = Field(description="Whether growth is refused: a review's grace is over.")


class OrganizationQuery(PageQuery):
    """Which organizations."""

    plan: Word | None = Field(default=None, description="Only those on this plan.")
    restricted: bool | None = Field(
        default=None, description="Only those whose growth is restricted after a review, or not."
    )


class NewOrganization(Reasoned):
    """An organization to make."""

    id: NewId = Field(description="Your own id of it.")
    name: Line = Field(description="What people call it.")
    plan: Word = Field(description="A plan of the catalog.")
    stripe_customer_id: Id | None = Field(default=None, description="Who pays for it in Stripe.")
    trial: bool = Field(default=False, description="Whether it is on trial in your product.")


class OrganizationChange(Reasoned):
    """What to change; what is left out stays."""

    name: Line | None = Field(default=None, description="What people call it.")
    plan: Word | None = Field(
        default=None,
        description="Another plan. Allowed also when there are more members than it has seats.",
    )
    stripe_customer_id: Id | None = Field(default=None, description="Who pays for it in Stripe.")
    trial: bool | None = Field(default=None, description="Whether it is on trial.")


_MOST_SUBSCRIPTIONS = 100
_MOST_FINDINGS = 20


@organizations.read("/organizations", OrganizationList)
def list_organizations(query: OrganizationQuery) -> Answer:
    """List organizations, in the order of their ids."""
    place = query.place(str)
    with services().sessions() as session:
        rows = store.page(
            session,
            only_id=only(None),
            plan=query.plan,
            restricted=query.restricted,
            after_id=str(place[0]) if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, OrganizationView.model_validate, lambda r: (r.id,))
    return OrganizationList(data=data, next_cursor=cursor)


@organizations.write("/organizations", OrganizationView, scope="members", status=201)
def create(body: NewOrganization) -> Answer:
    """Make an organization.

    Its subscription is found by its Stripe customer, or by the organization's id in the
    subscription's metadata. The same organization again is answered like the first time. Naming
    who pays needs the scope `billing` as well.
    """
    _every_organizations("make no other")
    if body.stripe_customer_id is not None:
        need_scope("billing", "name who pays")
    _known_plan(body.plan)
    wanted = Organization(
        id=body.id,
        name=body.name,
        plan=body.plan,
        stripe_customer_id=body.stripe_customer_id,
        trial=body.trial,
    )
    made = changing.create(services(), wanted, actor=actor_of(body))
    return made if isinstance(made, Refuse) else (OrganizationView.model_validate(made), 201)


@organizations.read("/organizations/<organization_id>", OrganizationDetail)
def show(path: OrganizationPath) -> Answer:
    """Show an organization with its seats, subscriptions and what is open."""
    here = services()
    with here.sessions() as session:
        found = roster_store.organization(session, path.organization_id)
        if found is None:
            raise NotFound("organization")
        seen = overview(session, here, found)
        return OrganizationDetail(
            **OrganizationView.model_validate(found).model_dump(),
            policy=seen.policy.value,
            seats=[_seats(each) for each in seen.seats],
            subscriptions=[
                SubscriptionView.model_validate(each)
                for each in seen.subscriptions[:_MOST_SUBSCRIPTIONS]
            ],
            counts_problem=seen.counts_problem,
            **_open_matters(session, found.id, seen.read_at),
        )


@organizations.write(
    "/organizations/<organization_id>", OrganizationView, scope="members", method="PATCH"
)
def change(path: OrganizationPath, body: OrganizationChange) -> Answer:
    """Change an organization.

    A plan change is let through also when the roster is over the new plan's limits: what follows
    from it (a finding, an Enterprise review) is found at once by a worker. It changes nothing in
    Stripe by itself. The plan, the trial and the Stripe customer say what is paid and by whom: they
    need the scope `billing` as well, and a token of all organizations.
    """
    values = body.model_dump(exclude_unset=True, exclude={"because"})
    if values.keys() - {"name"}:
        _every_organizations("change no plan, trial or Stripe customer")
        need_scope("billing", "change the plan, the trial or the Stripe customer")
    for name in ("name", "plan", "trial"):
        if name in values and values[name] is None:
            values.pop(name)
    if "plan" in values:
        _known_plan(values["plan"])
    changed = changing.change(services(), path.organization_id, actor=actor_of(body), **values)
    return changed if isinstance(changed, Refuse) else OrganizationView.model_validate(changed)


def _every_organizations(refused: str) -> None:
    """Refuse a token that is bound: what it is bound to includes neither its plan nor a payer."""
    if token().organization_id is None:
        return
    raise Refused(
        Refuse(
            code="not_allowed",
            message=f"The token is bound to one organization: it may {refused}",
            remedies=("use a token of all organizations",),
        )
    )


def _known_plan(plan: str) -> None:
    known = services().catalog.plans
    if plan not in known:
        raise Refused(
            Refuse(
                code="invalid",
                message=f"plan: the catalog has no plan {plan}",
                remedies=tuple(known),
            )
        )


def _open_matters(session: Session, organization_id: str, at: datetime) -> dict[str, Any]:
    still_open = Filters(organization_id=organization_id, state="open")
    open_reviews = [
        found
        for kind in (reviews.ENTERPRISE, reviews.USAGE)
        if (found := reviews.open_of(session, organization_id, kind))
    ]
    return {
        "credit_pool": credits.pool(session, organization_id, at),
        "open_findings": [
            FindingView.model_validate(each)
            for each in look.findings_page(session, still_open, limit=_MOST_FINDINGS)
        ],
        "open_reviews": [review_view(each) for each in open_reviews],
        "restricted": reviews.is_restricted(session, organization_id),
    }


def _seats(seen: SeatTypeOverview) -> SeatsView:
    off = AutoAddView(enabled=False, ceiling_quantity=None, ceiling_minor=None)
    return SeatsView(
        seat_type=seen.rules.seat_type,
        label=seen.rules.label,
        bought=seen.quantity,
        in_stripe=seen.stripe_quantity,
        active=seen.active,
        capacity=seen.capacity,
        free=seen.free,
        minimum=seen.rules.minimum,
        ceiling=seen.rules.ceiling,
        included=seen.rules.included,
        hard_cap=seen.rules.hard_cap,
        auto_add=AutoAddView.model_validate(seen.auto_add) if seen.auto_add else off,
    )
