"""`trueup organizations`: how one customer stands, and what happened there lately."""

from collections.abc import Sequence
from typing import Any

import click

from backoffice.commands.adjustments import show as show_adjustment
from backoffice.commands.events import show as show_event
from backoffice.commands.findings import show as show_finding
from backoffice.commands.operator import (
    USUAL_LIMIT,
    as_json_option,
    clock,
    looking,
    page,
    say_json,
    wrapped,
)
from reconcile.members.overview import Overview, SeatTypeOverview, overview
from reconcile.services import Services
from reconcile.store import audit, look, notices
from reconcile.store import organizations as store
from reconcile.store import roster as roster_store
from reconcile.store.look import Filters
from reconcile.store.roster import Organization

LATELY = 5


@click.group()
def organizations() -> None:
    """Find organizations, and see one with everything that is known of it."""


@organizations.command("list")
@click.option("--plan", help="Only those on this plan.")
@click.option("--limit", type=click.IntRange(1, 1000), default=USUAL_LIMIT, show_default=True)
@click.option("--cursor", help="Go on after this organization.")
@as_json_option
def list_organizations(plan: str | None, limit: int, cursor: str | None, as_json: bool) -> None:
    """List organizations, in the order of their ids."""
    with looking() as services, services.sessions() as session:
        rows = store.page(session, plan=plan, after_id=cursor, limit=limit + 1)
    page(rows, limit, as_json, _line, lambda row: row.id)


def _line(organization: Organization) -> tuple[str, str]:
    trial = ", on trial" if organization.trial else ""
    payer = organization.stripe_customer_id or "no Stripe customer"
    return f"{organization.id}  {organization.plan}", f"{organization.name}{trial}, {payer}"


@organizations.command("show")
@click.argument("organization_id")
@as_json_option
def show_organization(organization_id: str, as_json: bool) -> None:
    """Show an organization: seats, subscriptions, what is open, what happened lately."""
    with looking() as services:
        found = _look(services, organization_id)
    if found is None:
        raise click.ClickException(f"there is no organization {organization_id}")
    if as_json:
        say_json(found)
        return
    _say(found["standing"])
    _listed("open findings", found["open_findings"], show_finding)
    _listed("dead letters", found["dead_letters"], show_event)
    _listed("adjustments", found["adjustments"], show_adjustment)
    _listed("events that were work", found["events"], show_event)
    for notice in found["notices"]:
        told = "delivered" if notice.delivered_at else notice.trouble or "on its way"
        click.echo(f"told  {clock(notice.created_at)}  {notice.type}, {told}")
        click.echo(wrapped(notice.summary))
    for entry in found["audit"]:
        why = f": {entry.because}" if entry.because else ""
        click.echo(wrapped(f"{clock(entry.at)}  {entry.action} {entry.subject} "
                           f"by {entry.actor}{why}", ""))  # fmt: skip
    click.echo(f"next: trueup reconcile {organization_id} --explain")


def _look(services: Services, organization_id: str) -> dict[str, Any] | None:
    of_it = Filters(organization_id=organization_id)
    worked = Filters(organization_id=organization_id, not_states=("ignored",))
    dead = Filters(organization_id=organization_id, state="dead")
    is_open = Filters(organization_id=organization_id, state="open")
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        if organization is None:
            return None
        return {
            "standing": overview(session, services, organization),
            "open_findings": look.findings_page(session, is_open, limit=USUAL_LIMIT),
            "dead_letters": look.events_page(session, dead, limit=USUAL_LIMIT),
            "adjustments": look.adjustments_page(session, of_it, limit=LATELY),
            "events": look.events_page(session, worked, limit=LATELY),
            "notices": notices.page(session, organization_id=organization_id, limit=LATELY),
            "audit": audit.page(session, organization_id=organization_id, limit=LATELY),
        }


def _say(seen: Overview) -> None:
    first, second = _line(seen.organization)
    click.echo(f"{first}, {seen.policy.value}")
    click.echo(wrapped(second))
    for seats in seen.seats:
        click.echo(wrapped(_seats(seats)))
    if seen.counts_problem:
        click.echo(wrapped(f"!! {seen.counts_problem}"))
    for held in seen.subscriptions[:USUAL_LIMIT]:
        until = clock(held.current_period_end)
        flags = [" canceling"] * held.cancel_at_period_end + [" paused"] * held.collection_paused
        click.echo(f"{held.id}  {held.status}{''.join(flags)}, until {until}")


def _seats(seats: SeatTypeOverview) -> str:
    figures = {
        "active": seats.active,
        "bought": seats.quantity,
        "in Stripe": seats.stripe_quantity,
        "capacity": seats.capacity,
        "free": seats.free,
        "included": seats.rules.included,
        "hard cap": seats.rules.hard_cap,
    }
    told = ", ".join(f"{value} {name}" for name, value in figures.items() if value is not None)
    automatic = ", auto-add on" if seats.auto_add and seats.auto_add.enabled else ""
    return f"{seats.rules.label}: {told}{automatic}"


def _listed(heading: str, rows: Sequence[Any], show: Any) -> None:
    if rows:
        click.echo(f"{heading}:")
    for row in rows:
        first, second = show(row)
        click.echo(f"  {first}")
        click.echo(wrapped(second, "      "))
