"""`trueup reviews`: what waits for a person's look (C8, C9)."""

from datetime import datetime

import click

from backoffice.commands.operator import (
    Moment,
    acting,
    actor_of,
    as_json_option,
    clock,
    looking,
    number_of,
    page,
    paging,
    refused,
    say_json,
    tell_of,
    wrapped,
)
from reconcile.operating import story
from reconcile.outward import reviews as deeds
from reconcile.policy.values import Refuse
from reconcile.store import reviews as store
from reconcile.store.reviews import Review

_ID = click.IntRange(1, 2**63 - 1)


@click.group()
def reviews() -> None:
    """Find and read reviews, close one by hand, or give it more time."""


@reviews.command("list")
@click.option("--organization", "organization_id", help="Your organization's id.")
@click.option("--kind", type=click.Choice((store.ENTERPRISE, store.USAGE)), help="Only this kind.")
@click.option("--open/--closed", "is_open", default=None, help="Only open or closed ones.")
@paging
def list_reviews(  # noqa: PLR0913, PLR0917 - the options of a command
    organization_id: str | None,
    kind: str | None,
    is_open: bool | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List reviews that match, the newest first."""
    with looking() as services, services.sessions() as session:
        rows = store.page(
            session,
            organization_id=organization_id,
            kind=kind,
            is_open=is_open,
            before_id=number_of(cursor),
            limit=limit + 1,
        )
    page(rows, limit, as_json, show, lambda row: str(row.id))


def show(review: Review) -> tuple[str, str]:
    """Return a review as two lines."""
    first = f"{review.id}  {review.kind}  {_state(review)}  {clock(review.opened_at)}"
    return first, f"{review.organization_id}: {review.reason}"


def _state(review: Review) -> str:
    if review.closed_at is not None:
        return "closed"
    if review.restricted_at is not None:
        return "RESTRICTED"
    ends = review.grace_ends_at
    return "open" if ends is None else f"in grace until {ends.date().isoformat()}"


@reviews.command("show")
@click.argument("review_id", type=_ID)
@as_json_option
def show_review(review_id: int, as_json: bool) -> None:
    """Tell the story of one review."""
    tell_of("review", review_id, story.of_review, as_json)


@reviews.command()
@click.argument("review_id", type=_ID)
@acting
@as_json_option
def close(review_id: int, by: str, because: str, as_json: bool) -> None:
    """Close a review: a restriction is lifted, and it opens again only for something new."""
    actor = actor_of(by, because)
    with looking() as services:
        try:
            ended = deeds.close_by_hand(services, review_id, actor)
        except deeds.NoSuchReview:
            raise click.ClickException(f"there is no review {review_id}") from None
    _say(ended, as_json)


@reviews.command()
@click.argument("review_id", type=_ID)
@click.option("--until", type=Moment(), required=True, help="An ISO time: when the grace ends.")
@acting
@as_json_option
def extend(review_id: int, until: datetime, by: str, because: str, as_json: bool) -> None:
    """Give more time: a restriction is lifted until then, and reminders are sent anew."""
    actor = actor_of(by, because)
    with looking() as services:
        try:
            ended = deeds.extend(services, review_id, actor, until)
        except deeds.NoSuchReview:
            raise click.ClickException(f"there is no review {review_id}") from None
    _say(ended, as_json)


def _say(ended: Review | Refuse, as_json: bool) -> None:
    if isinstance(ended, Refuse):
        raise refused(ended)
    if as_json:
        say_json(ended)
        return
    first, second = show(ended)
    click.echo(first)
    click.echo(wrapped(second))
