"""`trueup findings`: drifts and anomalies that a person should see."""

from typing import Any

import click

from backoffice.commands.operator import (
    acting,
    actor_of,
    as_json_option,
    clock,
    filtering,
    filters_of,
    looking,
    number_of,
    page,
    paging,
    refused,
    say_json,
    tell_of,
    wrapped,
)
from reconcile.operating import closing, explaining, story
from reconcile.policy.values import Refuse
from reconcile.store import look
from reconcile.store.findings import Finding
from reconcile.store.look import FINDING_STATES

_ID = click.IntRange(1, 2**63 - 1)


@click.group()
def findings() -> None:
    """Find and read what is wrong; most findings close by themselves when it is gone."""


@findings.command("list")
@filtering(*FINDING_STATES)
@paging
def list_findings(limit: int, cursor: str | None, as_json: bool, **given: Any) -> None:
    """List findings that match, the newest first. --type is their kind."""
    with looking() as services, services.sessions() as session:
        rows = look.findings_page(
            session, filters_of(given), limit=limit + 1, before_id=number_of(cursor)
        )
    page(rows, limit, as_json, show, lambda row: str(row.id))


def show(finding: Finding) -> tuple[str, str]:
    """Return a finding as two lines."""
    state = "open" if finding.closed_at is None else "closed"
    whole = finding.subject.partition("/")[0]
    whose = finding.organization_id
    about = f"{finding.subject} of {whose}" if whose and whose != whole else finding.subject
    urgent = "  URGENT" if finding.urgent and finding.closed_at is None else ""
    return (
        f"{finding.id}  {finding.kind}  {state}  {clock(finding.opened_at)}{urgent}",
        f"{about}: {finding.summary}",
    )


@findings.command("show")
@click.argument("finding_id", type=_ID)
@as_json_option
def show_finding(finding_id: int, as_json: bool) -> None:
    """Tell the story of one finding, and what to do."""
    tell_of("finding", finding_id, story.of_finding, as_json)


@findings.command()
@click.argument("finding_id", type=_ID)
@acting
@as_json_option
def close(finding_id: int, by: str, because: str, as_json: bool) -> None:
    """Close what no run closes: the finding of an invoice, or on a subscription that is over.

    --because says what was found. The same seen once more is a finding of its own. All others close
    when they are gone.
    """
    actor = actor_of(by, because)
    with looking() as services:
        closed = closing.close(services, finding_id, actor)
    if isinstance(closed, Refuse):
        raise refused(closed)
    if as_json:
        say_json(closed)
        return
    first, second = show(closed)
    click.echo(first)
    click.echo(wrapped(second))


@findings.command("confirm-zero")
@click.argument("subscription_id")
@click.argument("seat_type")
@acting
@as_json_option
def confirm_zero(
    subscription_id: str, seat_type: str, by: str, because: str, as_json: bool
) -> None:
    """Say that a count that fell to 0 is right; the subscription is looked at again at once."""
    actor = actor_of(by, because)
    with looking() as services:
        done = explaining.confirm_zero(services, subscription_id, seat_type, actor)
    if isinstance(done, Refuse):
        raise refused(done)
    if as_json:
        say_json({"subscription": subscription_id, "organization": done.organization_id,
                  "seat_type": seat_type, "was": done.was, "follows": done.follows})  # fmt: skip
    else:
        click.echo(f"{subscription_id} of {done.organization_id}: "
                   f"{seat_type} is 0 now, was {done.was}")  # fmt: skip
        click.echo(wrapped(f"it is looked at again; {done.follows}"))
