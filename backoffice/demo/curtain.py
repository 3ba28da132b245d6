"""The end: tables a person can read, and the checks that decide the exit code."""

from collections.abc import Sequence

from rich.table import Table

from backoffice.demo.cast import COMPANIES, Company
from backoffice.demo.stage import Stage
from reconcile.adjustments.money import written
from reconcile.nights import checks
from reconcile.nights.checks import Check
from reconcile.policy.values import SeatPolicy
from reconcile.store import adjustments

_REASONS = {
    "subscription_create": "the subscription",
    "subscription_update": "a change of seats",
    "subscription_cycle": "a period",
}


def show(stage: Stage) -> None:
    """Seats, adjustments, and what became of every event."""
    stage.console.print()
    stage.console.print(_seats(stage))
    stage.console.print(_invoices(stage))
    stage.console.print(_adjustments(stage))
    stage.console.print(_notices(stage))
    stage.console.print(_events(stage))


def check(stage: Stage) -> bool:
    """Run the end-checks against Stripe and show them with what the chapters expected."""
    found = [*checks.run(stage.services), _all_told(stage), _expectations(stage)]
    table = Table(title="Checks", title_justify="left")
    table.add_column("")
    table.add_column("check")
    table.add_column("found")
    for each in found:
        mark = "[green]✓[/green]" if each.ok else "[red]✗[/red]"
        table.add_row(mark, each.name, each.detail)
    stage.console.print(table)
    return all(each.ok for each in found)


def _all_told(stage: Stage) -> Check:
    """Every notice reached the host application, and its signature held."""
    written_down = stage.number("select count(*) from notices")
    taken = len(stage.processes["listen"].log.read_text(encoding="utf-8").splitlines()) - 1
    return Check(
        name="every notice arrived, its signature verified",
        # At least once: a worker that dies in between sends it again.
        ok=0 < written_down <= taken,
        detail=f"{written_down} written, {taken} taken by the host",
    )


def _expectations(stage: Stage) -> Check:
    broken = [each for each in stage.expectations if not each.held]
    said = "; ".join(f"{each.what}: {each.found}" for each in broken)
    fine = f"all {len(stage.expectations)} held"
    return Check(name="what the story expected", ok=not broken, detail=said or fine)


def _seats(stage: Stage) -> Table:
    table = Table(title="Seats", title_justify="left")
    for heading in ("organization", "seat type"):
        table.add_column(heading)
    for heading in ("active", "bought"):
        table.add_column(heading, justify="right")
    table.add_column("last adjustment and its invoice lines")
    for company in COMPANIES:
        rules = stage.services.catalog.plan(company.plan).rules
        with stage.services.sessions() as session:
            counts = stage.services.roster.counts(session, company.id)
        for seat_type, seat in rules.seat_types.items():
            table.add_row(
                company.name,
                seat.label,
                str(counts.of(seat_type)),
                _bought(stage, company, seat_type),
                "\n".join(_last_adjustment(stage, company, seat_type)),
            )
        table.add_section()
    return table


def _bought(stage: Stage, company: Company, seat_type: str) -> str:
    """What Stripe says; where the plan writes no quantity, what stands for it."""
    plan = stage.services.catalog.plan(company.plan)
    if plan.rules.policy is SeatPolicy.INCLUDED:
        return f"{plan.rules.seat_types[seat_type].included} included"
    keys = {price.lookup_key for price in plan.prices if price.seat_type == seat_type}
    found = stage.rows(
        "select id from subscriptions where organization_id = :id and deleted_at is null",
        id=company.id,
    )
    return str(
        sum(
            quantity
            for (subscription_id,) in found
            for key, quantity in stage.buyer.quantities(subscription_id).items()
            if key in keys
        )
    )


def _last_adjustment(stage: Stage, company: Company, seat_type: str) -> Sequence[str]:
    last = stage.rows(
        """
        select id, reason, currency, total_minor, amount_due_minor from adjustments
        where organization_id = :id and state = 'applied'
            and exists (
                select 1 from jsonb_array_elements(changes) as change
                where change ->> 'seat_type' = :seat_type
            )
        order by created_at desc limit 1
        """,
        id=company.id,
        seat_type=seat_type,
    )
    if not last:
        return ("none",)
    total = written(last[0].total_minor or 0, last[0].currency, signed=True)
    due = written(last[0].amount_due_minor or 0, last[0].currency)
    with stage.services.sessions() as session:
        lines = adjustments.ledger_of(session, last[0].id)
    money = [
        f"{written(line.amount_minor, line.currency, signed=True):>12}  {line.description}"
        for line in lines
    ]
    return (f"{last[0].reason}: total {total}, due {due}", *money)


def _invoices(stage: Stage) -> Table:
    """What each product's customer was billed, as Stripe has it."""
    table = Table(title="Invoices, from the first on", title_justify="left")
    for heading in ("organization", "for", "status"):
        table.add_column(heading)
    for heading in ("total", "paid"):
        table.add_column(heading, justify="right")
    for company in COMPANIES:
        held = stage.rows(
            "select id from subscriptions where organization_id = :id order by id",
            id=company.id,
        )
        for invoice in (made for row in held for made in stage.invoices_of(row.id)):
            money = (written(invoice[n], invoice["currency"]) for n in ("total", "amount_paid"))
            what = _REASONS.get(invoice["billing_reason"], invoice["billing_reason"])
            table.add_row(company.name, what, invoice["status"], *money)
        table.add_section()
    return table


def _notices(stage: Stage) -> Table:
    """What the host application was told, signed."""
    table = Table(title="Notices to the host application", title_justify="left")
    for heading in ("type", "the last one says"):
        table.add_column(heading)
    for heading in ("written", "delivered"):
        table.add_column(heading, justify="right")
    rows = stage.rows(
        "select type, (array_agg(summary order by created_at desc))[1] as last, "
        "count(*) as written, count(delivered_at) as delivered "
        "from notices group by type order by type"
    )
    for row in rows:
        table.add_row(row.type, row.last, str(row.written), str(row.delivered))
    return table


def _adjustments(stage: Stage) -> Table:
    table = Table(title="Adjustments, in order", title_justify="left")
    for heading in ("organization", "why", "how it ended"):
        table.add_column(heading)
    for heading in ("total", "balance before", "due"):
        table.add_column(heading, justify="right")
    for row in stage.rows("select * from adjustments order by created_at"):
        amounts = (row.total_minor, row.starting_balance_minor, row.amount_due_minor)
        shown = ("" if a is None else written(a, row.currency) for a in amounts)
        table.add_row(row.organization_id, row.reason, row.state, *shown)
    return table


def _events(stage: Stage) -> Table:
    table = Table(title="The inbox", title_justify="left")
    for heading in ("from", "ended"):
        table.add_column(heading)
    for heading in ("events", "deliveries"):
        table.add_column(heading, justify="right")
    for row in stage.rows(
        "select source, state, count(*) as events, sum(deliveries) as deliveries "
        "from events group by source, state order by source, state"
    ):
        table.add_row(row.source, row.state, str(row.events), str(row.deliveries))
    return table
