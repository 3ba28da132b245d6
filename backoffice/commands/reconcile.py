"""`trueup reconcile`: one decision with its inputs, or its carrying out, now and on record."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from backoffice.commands.operator import (
    acting,
    actor_of,
    as_json_option,
    asking_stripe,
    columns,
    refused,
    say_json,
    wrapped,
)
from reconcile.adjustments.money import written
from reconcile.operating import explaining
from reconcile.operating.explaining import Explained
from reconcile.policy.values import Proration, Refuse

_SEATS = {
    "seat_type": "seat type",
    "active": "active",
    "bought": "bought",
    "in_stripe": "Stripe",
    "capacity": "capacity",
    "active_before": "before",
    "minimum": "least",
    "hard_cap": "cap",
    "auto_add": "auto-add",
    "auto_add_ceiling": "ceiling",
    "problem": "problem",
}

_PRORATED = {
    Proration.CHARGE_NOW: "prorated and billed now",
    Proration.NEXT_INVOICE: "prorated on the next invoice",
    Proration.NONE: "nothing prorated",
}


@click.command()
@click.argument("named", metavar="ORGANIZATION|SUBSCRIPTION")
@click.option("--explain", "explains", is_flag=True, help="Show the decision; write nothing.")
@click.option("--apply", "applies", is_flag=True, help="Do it now, and say how it ended.")
@acting
@as_json_option
def reconcile(  # noqa: PLR0913, PLR0917 - the options of a command
    named: str, explains: bool, applies: bool, by: str, because: str, as_json: bool
) -> None:
    """Explain or carry out the reconciliation of an organization or one subscription.

    --explain shows the facts, the row of the decision table, and what a change would cost. --apply
    needs --because, and does what the events and the night do; exit code 1 when it did not end.
    """
    if explains == applies:
        raise click.UsageError("say --explain or --apply")
    actor = actor_of(by, because) if applies else None
    with asking_stripe() as services:
        if actor is None:
            _explain(explaining.explain(services, named), as_json)
            return
        ended = explaining.apply(services, named, actor)
    if isinstance(ended, Refuse):
        raise refused(ended)
    if as_json:
        say_json(ended)
    else:
        click.echo(f"{ended.id}  {ended.state}")
        click.echo(wrapped(ended.line))
        click.echo(f"next: trueup events show {ended.id}")
    sys.exit(ended.state not in ("done", "superseded"))


def _explain(found: list[Explained] | Refuse, as_json: bool) -> None:
    if isinstance(found, Refuse):
        raise refused(found)
    if as_json:
        say_json(found)
        return
    for each in found:
        _say(each)


def _say(each: Explained) -> None:
    click.echo(each.subject)
    if each.trouble:
        click.echo(wrapped(each.trouble))
        return
    inputs = each.inputs
    standing = ", ".join(inputs.get("standing", []))
    click.echo(f"    plan {inputs['plan']} ({inputs['policy']}) {standing}".rstrip())
    if seats := inputs.get("seats"):
        for line in columns(_table(seats), "    "):
            click.echo(line)
    if active := inputs.get("active"):
        click.echo("    active: " + ", ".join(f"{n} {name}" for name, n in active.items()))
    for line in inputs.get("holding", []):
        click.echo(f"    {line}")
    for name in ("in_flight", "paused", "counts_problem"):
        if inputs.get(name):
            click.echo(wrapped(f"{name.replace('_', ' ')}: {inputs[name]}"))
    click.echo(wrapped(f"decision: {inputs['decision']}, row {inputs['row']}: {inputs['reason']}"))
    for name in ("adopt", "suggest"):
        if inputs.get(name):
            click.echo(f"    {name}: {_counts(inputs[name])}")
    for finding in each.findings:
        urgent = "urgent " if finding["urgent"] else ""
        click.echo(wrapped(f"{urgent}finding {finding['kind']}: {finding['line']}"))
    for line in _would(each.would):
        click.echo(wrapped(line))
    how = ": trueup pause list, --apply waits too" if inputs.get("paused") else ": --apply does it"
    click.echo("    nothing was written" + (how if "write" in each.would else ""))


def _table(seats: list[Mapping[str, Any]]) -> list[list[str]]:
    """A column a seat type, because plans have few of them and a decision has many inputs."""
    shown = [
        name
        for name in _SEATS
        if any(seat.get(name) is not None and seat[name] is not False for seat in seats)
    ]
    return [[_SEATS[name], *(_cell(seat.get(name)) for seat in seats)] for name in shown]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{seat_type} to {count}" for seat_type, count in counts.items())


def _would(would: Mapping[str, Any]) -> list[str]:
    lines = [f"{name.replace('_', ' ')}: {would[name]}"
             for name in ("nothing", "later", "held_back", "cost") if name in would]  # fmt: skip
    if "write" in would:
        written_to = _counts(would["write"])
        lines.insert(0, f"would write {written_to}, {_PRORATED[would['charged']]}")
    if "total_minor" in would:
        currency = would["currency"]
        total, due = would["total_minor"], would.get("amount_due_minor", 0)
        told = f"would {'credit' if total < 0 else 'cost'} {written(abs(total), currency)}"
        lines.append(f"{told}, due now {written(due, currency)}")
    return lines
