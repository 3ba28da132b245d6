"""`trueup notices`: what the host application was told, is being told, or could not be told."""

from typing import Any

import click

from backoffice.commands.operator import (
    as_json_option,
    clock,
    cursor_to,
    looking,
    page,
    paging,
    place_of,
    tell_of,
)
from reconcile.operating import story
from reconcile.policy.notices import NOTICES
from reconcile.store import notices as store
from reconcile.store.notices import Notice


@click.group()
def notices() -> None:
    """Find and read notices; one that was not delivered is requeued by its request."""


@notices.command("list")
@click.option("--organization", "organization_id", help="Your organization's id.")
@click.option("--type", "type_", type=click.Choice(sorted(NOTICES)), help="Only of this type.")
@click.option("--delivered/--not-delivered", default=None, help="Only those that were, or not yet.")
@paging
def list_notices(limit: int, cursor: str | None, as_json: bool, **given: Any) -> None:
    """List notices that match, the newest first."""
    with looking() as services, services.sessions() as session:
        rows = store.page(
            session,
            organization_id=given["organization_id"],
            type=given["type_"],
            delivered=given["delivered"],
            before=place_of(cursor),
            limit=limit + 1,
        )
    page(rows, limit, as_json, show, lambda row: cursor_to(row.created_at, row.id))


def show(notice: Notice) -> tuple[str, str]:
    """Return a notice as two lines."""
    about = f"{notice.organization_id}: " if notice.organization_id else ""
    return f"{notice.id}  {notice.type}  {clock(notice.created_at)}", (
        f"{about}{notice.summary} ({_ended(notice)})"
    )


def _ended(notice: Notice) -> str:
    if notice.delivered_at is not None:
        return f"delivered {clock(notice.delivered_at)}"
    if notice.tried_at is None:
        return "not tried yet"
    return f"not delivered: {notice.trouble}"


@notices.command("show")
@click.argument("notice_id")
@as_json_option
def show_notice(notice_id: str, as_json: bool) -> None:
    """Tell what became of one notice, and how to send it again."""
    tell_of("notice", notice_id, story.of_notice, as_json)
