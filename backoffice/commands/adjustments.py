"""`trueup adjustments`: what was written to Stripe, what it cost, and what is still in flight."""

import sys
from typing import Any

import click

from backoffice.commands.operator import (
    acting,
    actor_of,
    as_json_option,
    asking_stripe,
    clock,
    cursor_to,
    filtering,
    filters_of,
    looking,
    page,
    paging,
    place_of,
    refused,
    say_json,
    tell_of,
    wrapped,
)
from reconcile.adjustments.money import written
from reconcile.operating import resuming, story
from reconcile.policy.values import Refuse
from reconcile.store import look
from reconcile.store.adjustments import Adjustment
from reconcile.store.look import ADJUSTMENT_STATES


@click.group()
def adjustments() -> None:
    """Find and read the changes of Stripe's quantities, each charged exactly once."""


@adjustments.command("list")
@filtering(*ADJUSTMENT_STATES)
@paging
def list_adjustments(limit: int, cursor: str | None, as_json: bool, **given: Any) -> None:
    """List adjustments that match, the newest first. --fingerprint is Stripe's error code."""
    with looking() as services, services.sessions() as session:
        rows = look.adjustments_page(
            session, filters_of(given), limit=limit + 1, before=place_of(cursor)
        )
    page(rows, limit, as_json, show, lambda row: cursor_to(row.created_at, row.id))


def show(adjustment: Adjustment) -> tuple[str, str]:
    """Return an adjustment as two lines."""
    total, currency = adjustment.total_minor, adjustment.currency
    money = f", {written(total, currency)}" if total is not None and currency else ""
    about = f"{adjustment.subscription_id} of {adjustment.organization_id}{money}"
    return (
        f"{adjustment.id}  {adjustment.state}  {clock(adjustment.created_at)}",
        f"{about}: {adjustment.outcome or adjustment.reason}",
    )


@adjustments.command("show")
@click.argument("adjustment_id")
@as_json_option
def show_adjustment(adjustment_id: str, as_json: bool) -> None:
    """Tell the story of one adjustment, with its invoice lines."""
    tell_of("adjustment", adjustment_id, story.of_adjustment, as_json)


@adjustments.command()
@click.argument("adjustment_id")
@acting
@as_json_option
def resume(adjustment_id: str, by: str, because: str, as_json: bool) -> None:
    """Find out now what became of an adjustment in flight, and finish it; charged once either way.

    Says whether Stripe had the change already or it was sent now. Exit code 1 while its outcome is
    still not known.
    """
    actor = actor_of(by, because)
    with asking_stripe() as services:
        done = resuming.resume(services, adjustment_id, actor)
    if isinstance(done, Refuse):
        raise refused(done)
    if as_json:
        say_json(done)
    else:
        click.echo(f"{done.adjustment.id}  {done.adjustment.state}")
        click.echo(wrapped(done.line))
        click.echo(wrapped(done.adjustment.outcome or done.request.line))
        for each in done.anew:
            click.echo(f"{each.id}  {each.state}")
            click.echo(wrapped(f"Decided now, besides: {each.outcome or each.reason}"))
    sys.exit(done.how is resuming.How.UNKNOWN)
