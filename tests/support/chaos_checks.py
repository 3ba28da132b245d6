"""What has to be so after a chaos run, once the dust has settled.

The end-checks of the service hold its record against Stripe. These hold Stripe's side and the
record against what the people of the run know: what they were told, and which rules there are.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from reconcile.nights import checks
from reconcile.policy.values import FindingKind
from reconcile.services import Services
from reconcile.store import subscriptions
from reconcile.store.renewals import PLANNED
from reconcile.tables import adjustments, events, findings, members
from reconcile.tables import subscriptions as subscriptions_table
from tests.support.chaos_people import People

# After so many refusals a customer's card is left alone until a person asks (spacing.TRIES_A_DAY).
MOST_TRIES = 4
# A look comes so long before the second it is charged from, at most: a worker may stand still.
LOOK = timedelta(seconds=10)
_CARD = {
    FindingKind.PAYMENT_DECLINED,
    FindingKind.STRIPE_BELOW_FLOOR,
    FindingKind.ACTIVE_OVER_QUANTITY,
}
_DIFFERENCES = {
    FindingKind.INVOICE_DIFFERS_FROM_PREVIEW,
    FindingKind.INVOICE_DIFFERS_FROM_MODEL,
}


def problems(services: Services, people: People) -> list[str]:
    """Return everything that is not as it has to be, a line each."""
    return [
        *people.wrong,
        *_end_checks(services),
        *people.statuses(_members(services)),
        *_keys_used_twice(people),
        *_sums(services, people),
        *_quantities(services, people),
        *_findings(services, people),
        *_misquoted(services, people),
        *_unfinished(services),
    ]


def _end_checks(services: Services) -> Iterator[str]:
    """The service's own checks, less what a person at Stripe explains.

    Whoever edits a subscription between our look and our update has a part in its invoice; when the
    same change came first, there is none at all. The finding that says so has to be open then, and
    is looked at for itself.
    """
    with services.sessions() as session:
        told = set(
            session.scalars(
                select(findings.c.detail["adjustment"].astext).where(
                    findings.c.kind == FindingKind.INVOICE_DIFFERS_FROM_PREVIEW,
                    findings.c.closed_at.is_(None),
                )
            )
        )
    for check in checks.run(services):
        for problem in check.problems:
            nothing_made = problem.endswith("(applied) has 0 invoices")
            differs = problem.endswith(tuple(_DIFFERENCES))
            if not differs and not (nothing_made and problem.split()[0] in told):
                yield f"{check.name}: {problem}"


def _members(services: Services) -> dict[tuple[str, str], str]:
    with services.sessions() as session:
        rows = session.execute(select(members.c.organization_id, members.c.id, members.c.status))
        return {(row.organization_id, row.id): row.status for row in rows}


def _keys_used_twice(people: People) -> Iterator[str]:
    """No idempotency key of ours took effect twice, by Stripe's own log of the calls it got."""
    took_effect = Counter(
        call["idempotency_key"]
        for call in people.buyer.get("/_sandbox/calls", limit=100_000)["calls"]
        if call["status"] == 200 and call["idempotency_key"] and not call["replayed"]
    )
    yield from (f"{key} took effect {n} times" for key, n in took_effect.items() if n > 1)


def _sums(services: Services, people: People) -> Iterator[str]:
    """What the ledger says was charged at once is what Stripe's invoices with our trace add up to.

    A person's later edit of a subscription leaves our trace on its invoice too, so only invoices
    that the ledger names or that no adjustment explains count; `checks` tells those apart.
    """
    with services.sessions() as session:
        rows = session.execute(
            select(adjustments.c.invoice_id, adjustments.c.total_minor).where(
                adjustments.c.invoice_id.is_not(None)
            )
        )
        recorded = {row.invoice_id: row.total_minor for row in rows}
        count = session.scalar(
            select(func.count())
            .select_from(adjustments)
            .where(adjustments.c.invoice_id.is_not(None))
        )
    if len(recorded) != count:
        yield f"{count} adjustments share {len(recorded)} invoices"
    there = {invoice["id"]: invoice["total"] for invoice in people.buyer.objects("invoice")}
    for invoice_id, total in recorded.items():
        if there.get(invoice_id) != total:
            yield f"{invoice_id}: {total} recorded, Stripe has {there.get(invoice_id)}"


def _quantities(services: Services, people: People) -> Iterator[str]:
    """Stripe's quantity is ours, and the rule's: the count itself or at least the count."""
    status_of = _members(services)
    for organization_id, customer in people.customers.items():
        for pool, item_id in customer.items.items():
            active = sum(
                status_of.get((organization_id, member_id)) == "active"
                for member_id in people.pools[organization_id, pool]
            )
            there = int(people.buyer.get(f"/v1/subscription_items/{item_id}")["quantity"])
            with services.sessions() as session:
                seat = subscriptions.seats_of(session, customer.subscription_id).get(pool)
            if seat is None or (seat.quantity, seat.stripe_quantity) != (there, there):
                yield f"{organization_id} {pool}: {there} in Stripe, {seat} here"
            if there < active and _refused(services, customer.subscription_id) < MOST_TRIES:
                yield f"{organization_id} {pool}: {there} in Stripe for {active} active"


def _refused(services: Services, subscription_id: str) -> int:
    refused = (
        select(func.count())
        .select_from(adjustments)
        .where(adjustments.c.subscription_id == subscription_id, adjustments.c.state == "refused")
    )
    with services.sessions() as session:
        return int(session.scalar(refused) or 0)


def _findings(services: Services, people: People) -> Iterator[str]:
    """Nothing is left for a person to look at that nobody's deed explains."""
    with services.sessions() as session:
        rows = session.execute(select(findings).where(findings.c.closed_at.is_(None))).all()
        made = {row.id: row for row in session.execute(select(adjustments))}
    for row in rows:
        if row.kind in _CARD and row.subscription_id:
            explained = _refused(services, row.subscription_id) >= MOST_TRIES
        elif row.kind in _DIFFERENCES:
            explained = _came_in_between(people, made[row.detail["adjustment"]])
        else:
            explained = False
        if not explained:
            yield f"finding {row.kind} of {row.subject} is open: {row.summary}"


def _misquoted(services: Services, people: People) -> Iterator[str]:
    """What was confirmed is what was charged, unless a person at Stripe came in between."""
    if not people.misquoted:
        return
    with services.sessions() as session:
        chosen = select(adjustments).where(adjustments.c.id.in_(people.misquoted))
        made = session.execute(chosen).all()
    for adjustment in made:
        if not _came_in_between(people, adjustment):
            yield f"{people.misquoted[adjustment.id]}, charged {adjustment.total_minor}"


def _came_in_between(people: People, adjustment: Any) -> bool:
    """Return whether a person edited the subscription between our look and our update's outcome.

    The invoice need not show it: what was edited with `none` is on none, and is not ours to add.
    """
    return any(
        subscription_id == adjustment.subscription_id
        and ended_at > adjustment.proration_date - LOOK
        and began_at < adjustment.finished_at
        for subscription_id, began_at, ended_at in people.edits
    )


def _unfinished(services: Services) -> Iterator[str]:
    """Every row of the inbox has ended, none as a dead letter: those were requeued.

    But what is planned for a renewal: that is a month away.
    """
    planned = (events.c.state == "pending") & events.c.type.in_(PLANNED)
    with services.sessions() as session:
        rows = session.execute(
            select(events).where(events.c.state.in_(["pending", "dead"]), ~planned).limit(10)
        ).all()
        homeless = session.scalar(
            select(func.count())
            .select_from(adjustments)
            .where(adjustments.c.subscription_id.not_in(select(subscriptions_table.c.id)))
        )
    for row in rows:
        yield f"{row.id} {row.type} of {row.work_key} is {row.state}: {row.reason}"
    if homeless:
        yield f"{homeless} adjustments of no subscription"


def stories(services: Services, people: People, found: list[str]) -> Iterator[str]:
    """Return what happened to every subscription that a problem names, in order."""
    said = "\n".join(found)
    with services.sessions() as session:
        rows = session.execute(select(adjustments).order_by(adjustments.c.created_at)).all()
    calls = people.buyer.get("/_sandbox/calls", limit=100_000)["calls"]
    invoices = people.buyer.objects("invoice")
    for customer in people.customers.values():
        sub = customer.subscription_id
        ours = [row for row in rows if row.subscription_id == sub]
        if not any(name in said for name in (sub, *(row.id for row in ours))):
            continue
        yield f"--- {customer.company.id} {sub}"
        for row in ours:
            yield (
                f"{row.created_at:%H:%M:%S.%f} {row.id} {row.state} attempt {row.attempt} "
                f"{row.proration_behavior} from {row.proration_date} {row.trigger}: "
                f"{row.outcome} {row.changes}"
            )
        for call in calls:
            if call["path"].startswith(f"/v1/subscriptions/{sub}") and call["method"] == "POST":
                yield (
                    f"called {call['idempotency_key']} {call['status']} {call['request_id']} "
                    f"{'replayed' if call['replayed'] else ''} {call['seconds']} s"
                )
        for invoice in invoices:
            parent = (invoice["parent"] or {}).get("subscription_details") or {}
            if parent.get("subscription") == sub:
                yield (
                    f"invoice {invoice['id']} {invoice['status']} {invoice['billing_reason']} "
                    f"created {invoice['created']} total {invoice['total']} "
                    f"{parent.get('metadata')}: "
                    + "; ".join(
                        f"{line['amount']} x{line['quantity']} from {line['period']['start']}"
                        for line in invoice["lines"]["data"]
                    )
                )
