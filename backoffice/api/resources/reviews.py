"""Reviews: what waits for a person's look, and the grace that runs meanwhile (C8, C9)."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Id, Line, Path, RowId, Time, View
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.outward import reviews as deeds
from reconcile.policy.values import Refuse
from reconcile.store import reviews as store

reviews = Resource("reviews", "What waits for a person: Enterprise reviews, and large usage.")

Kind = Literal["enterprise", "usage"]


class ReviewPath(Path):
    """A path below one review."""

    review_id: RowId = Field(description="The review's number.")


class ReviewView(View):
    """One review."""

    id: int = Field(description="The review's number.")
    organization_id: str = Field(description="Which organization it is about.")
    kind: Kind = Field(
        description="`enterprise`: more members than any plan holds; growth is restricted when the "
        "grace is over. `usage`: more usage than the plan is for; nothing follows by itself."
    )
    reason: str = Field(description="One line for a person.")
    over: list[dict[str, Any]] = Field(description="What is over, with its count and limit.")
    opened_at: datetime = Field(description="When it was opened.")
    grace_ends_at: datetime | None = Field(description="When growth is restricted.")
    reminders: int = Field(description="Reminders that are behind it.")
    restricted_at: datetime | None = Field(description="Since when growth is restricted.")
    closed_at: datetime | None = Field(description="When it was closed; null: it is open.")
    closed_by: str | None = Field(description="`trueup`: it was resolved. Else who closed it.")
    closed_because: str | None = Field(description="Why.")


class ReviewList(Listed[ReviewView]):
    """Reviews, newest first."""


class ReviewQuery(PageQuery):
    """Which reviews."""

    organization_id: Id | None = Field(default=None, description="Only of this organization.")
    kind: Kind | None = Field(default=None, description="Only of this kind.")
    state: Literal["open", "closed"] | None = Field(
        default=None, description="Only open or closed ones."
    )


class ReviewClosing(Reasoned):
    """Why a review is closed."""

    because: Line = Field(description="Why, in a person's words, for the audit trail.")


class ReviewExtension(Reasoned):
    """More time."""

    # A time arrives as text, which reading strictly would refuse.
    grace_ends_at: Annotated[Time, Field(strict=False)] = Field(
        description="When growth is restricted instead: later than now and than before."
    )
    because: Line = Field(description="Why, in a person's words, for the audit trail.")


@reviews.read("/reviews", ReviewList)
def list_reviews(query: ReviewQuery) -> Answer:
    """List reviews, newest first."""
    place = query.place(int)
    with services().sessions() as session:
        rows = store.page(
            session,
            organization_id=only(query.organization_id),
            kind=query.kind,
            is_open=None if query.state is None else query.state == "open",
            before_id=int(place[0]) if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, review_view, lambda review: (review.id,))
    return ReviewList(data=data, next_cursor=cursor)


@reviews.read("/reviews/<review_id>", ReviewView)
def show(path: ReviewPath) -> Answer:
    """Show a review."""
    return review_view(_found(path.review_id))


@reviews.write("/reviews/<review_id>/close", ReviewView, scope="operate")
def close(path: ReviewPath, body: ReviewClosing) -> Answer:
    """Close a review by hand.

    A restriction is lifted. What it was about may last: it opens again only for something new.
    """
    _found(path.review_id)
    closed = deeds.close_by_hand(services(), path.review_id, actor_of(body))
    return closed if isinstance(closed, Refuse) else review_view(closed)


@reviews.write("/reviews/<review_id>/extend", ReviewView, scope="operate")
def extend(path: ReviewPath, body: ReviewExtension) -> Answer:
    """Give more time.

    A restriction is lifted until then, and reminders are sent anew.
    """
    _found(path.review_id)
    longer = deeds.extend(services(), path.review_id, actor_of(body), body.grace_ends_at)
    return longer if isinstance(longer, Refuse) else review_view(longer)


def _found(review_id: int) -> store.Review:
    with services().sessions() as session:
        found = store.by_id(session, review_id)
    if found is None:
        raise NotFound("review")
    visible(found.organization_id, "review")
    return found


def review_view(review: store.Review) -> ReviewView:
    """Return what is shown of a review."""
    values = {name: getattr(review, name) for name in ReviewView.model_fields if name != "over"}
    return ReviewView(**values, over=review.detail.get("over", []))
