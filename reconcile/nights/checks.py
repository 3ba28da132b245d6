"""The end-checks: what is recorded here, held against what Stripe says, to the minor unit.

For the demo, for tests and for on-call. They read Stripe's side through the API and trust nothing
of ours: an invoice that no adjustment explains fails, an adjustment without its invoice as well.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconcile import facts
from reconcile.adjustments import invoice_check
from reconcile.envelope import WORKED_TYPES
from reconcile.errors import StripeGone
from reconcile.nights import audit
from reconcile.policy.standing import standing_of
from reconcile.policy.values import FindingKind, Proration, SeatPolicy, Standing
from reconcile.services import Services
from reconcile.store import adjustments, findings, subscriptions
from reconcile.store import checks as store
from reconcile.store import roster as roster_store
from reconcile.store import work as work_store
from reconcile.store.adjustments import Adjustment, LedgerLine
from reconcile.store.findings import Scope
from reconcile.store.subscriptions import Held, Seat
from reconcile.stripe_shapes import InvoiceLine, StripeInvoice, StripeSubscription

MOST_NAMED = 5
# Subscriptions in a query; so many events of a kind are counted, and one more says "more".
PAGE = 500
MOST_COUNTED = 1000

# Under these the active members may outnumber the seats for a while: a person has been told.
_TOLD = {FindingKind.PAYMENT_DECLINED, FindingKind.PAST_DUE, FindingKind.STRIPE_BELOW_FLOOR}
# Under these Stripe's quantity may differ from the agreed one until somebody has decided.
_DIFFERENCE_TOLD = _TOLD | {
    FindingKind.CONTRACT_DRIFT,
    FindingKind.COLLECTION_PAUSED,
    FindingKind.COUNTS_SUDDENLY_ZERO,
    FindingKind.COUNTS_UNREADABLE,
    FindingKind.ITEM_MISSING,
    FindingKind.SCHEDULE_BLOCKS_CHANGE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: its name as a person reads it, whether it held, and the figures.

    `problems` are all of them; the detail names the first few.
    """

    name: str
    ok: bool
    detail: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One subscription: what is recorded, and everything Stripe has of it."""

    held: Held
    seats: dict[str, Seat]
    adjustments: tuple[Adjustment, ...]
    ledger: dict[str, tuple[LedgerLine, ...]]
    told: frozenset[FindingKind]
    active: dict[str, int] | None
    floor_holds: bool
    subscription: StripeSubscription | None
    invoices: tuple[StripeInvoice, ...]
    pending: tuple[InvoiceLine, ...]

    @property
    def applied(self) -> tuple[Adjustment, ...]:
        """The adjustments that Stripe took."""
        return tuple(each for each in self.adjustments if each.state == "applied")

    def lines_in_stripe(self) -> dict[str, InvoiceLine]:
        """Every line of the subscription in Stripe, on an invoice or still waiting, by id."""
        on_invoices = [line for invoice in self.invoices for line in invoice.lines]
        return {line.id: line for line in (*self.pending, *on_invoices)}


def run(services: Services, *, subscription_ids: Sequence[str] | None = None) -> list[Check]:
    """Return every check, in the order a person asks them. Reads Stripe; writes nothing."""
    ids = subscription_ids or _with_seats(services)
    cases = [_case(services, subscription_id) for subscription_id in ids]
    return [
        check_events(services),
        check_charged_once(cases),
        check_ledger(cases),
        check_floor(cases),
        check_agreement(cases),
        check_expected(cases),
    ]


def _with_seats(services: Services) -> Iterator[str]:
    page = [""]
    while page:
        with services.sessions() as session:
            page = store.subscriptions_with_seats(session, after=page[-1], limit=PAGE)
        yield from page


def check_events(services: Services) -> Check:
    """Every event of Stripe's list is in the inbox, and every row is finished and says how."""
    known_to_stripe = 0
    missing: list[str] = []
    for at in range(0, len(WORKED_TYPES), audit.TYPES_A_CALL):
        after: str | None = None
        more = True
        while more:
            page, more = services.stripe.events_page(
                after, types=WORKED_TYPES[at : at + audit.TYPES_A_CALL]
            )
            ids = [str(event["id"]) for event in page]
            after = ids[-1] if ids else None
            known_to_stripe += len(ids)
            with services.sessions() as session:
                missing += sorted(work_store.missing(session, ids))
    with services.sessions() as session:
        problems = [
            *_named("not in the inbox", missing),
            *_named(
                "due and not finished", store.unfinished_events(session, limit=MOST_COUNTED + 1)
            ),
            *_named("failed", store.failed_events(session, limit=MOST_COUNTED + 1)),
            *_named(
                "finished without a word", store.unexplained_events(session, limit=MOST_COUNTED + 1)
            ),
        ]
        states = store.events_by_state(session)
    rows = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    fine = f"all {known_to_stripe} of Stripe's list came in; with our requests: {rows or 'none'}"
    return _check("every event accounted for", problems, fine)


def check_charged_once(cases: Sequence[_Case]) -> Check:
    """Each adjustment was billed exactly once, and each invoice of an update has its adjustment."""
    problems: list[str] = []
    for case in cases:
        for each in case.adjustments:
            if each.state == "pending":
                problems.append(f"{each.id} is still pending")
            elif each.proration_behavior == Proration.CHARGE_NOW:
                found = [i for i in case.invoices if invoice_check.is_of(each, i)]
                problems += _wrongly_charged(each, found)
            elif each.state == "applied":
                problems += _wrongly_waiting(each, case)
        # A later edit by a person carries the trace of the last update, so it explains nothing.
        known = {each.id for each in case.adjustments}
        problems += [
            f"{invoice.id} was made by {invoice.adjustment_id}, which is not here"
            for invoice in case.invoices
            if invoice.billing_reason == "subscription_update"
            and invoice.adjustment_id is not None
            and invoice.adjustment_id not in known
        ]
    applied = [each for case in cases for each in case.applied]
    at_once = [each for each in applied if each.proration_behavior == Proration.CHARGE_NOW]
    fine = f"{len(applied)} applied, {len(at_once)} of them charged at once, one invoice each"
    return _check("every adjustment charged exactly once", problems, fine)


def _wrongly_charged(adjustment: Adjustment, found: Sequence[StripeInvoice]) -> list[str]:
    if len(found) != int(adjustment.state == "applied"):
        return [f"{adjustment.id} ({adjustment.state}) has {len(found)} invoices"]
    if found and found[0].id != adjustment.invoice_id:
        return [f"{adjustment.id} is recorded on {adjustment.invoice_id}, is on {found[0].id}"]
    return []


def _wrongly_waiting(adjustment: Adjustment, case: _Case) -> list[str]:
    """What went to the next invoice is in Stripe once: waiting, or on whatever billed it."""
    recorded = {line.id for line in case.ledger[adjustment.id]}
    # Two changes of one second may make lines of the same quantity; each is written down once.
    others = {line.id for ledger in case.ledger.values() for line in ledger} - recorded
    in_stripe = case.lines_in_stripe().values()
    made = invoice_check.of_change(adjustment, in_stripe, others)
    if {line.id for line in made} == recorded:
        return []
    # Somebody's edit of that second may bring a credit or a charge like ours; a change brings both.
    known = _sides(line for line in in_stripe if line.id in recorded)
    again = _sides(line for line in made if line.id not in recorded)
    if again and known == _sides(made) != again:
        return []
    return [f"{adjustment.id} has {len(made)} lines in Stripe, {len(recorded)} recorded"]


def _sides(lines: Iterable[InvoiceLine]) -> set[tuple[str | None, bool]]:
    """Return which items were credited, and which charged."""
    return {(line.item_id, line.amount_minor < 0) for line in lines}


def check_ledger(cases: Iterable[_Case]) -> Check:
    """The ledger's lines are Stripe's, one by one, and add up to the invoices."""
    problems: list[str] = []
    lines = 0
    total: Counter[str] = Counter()
    for case in cases:
        in_stripe = case.lines_in_stripe()
        invoices = {invoice.id: invoice for invoice in case.invoices}
        # A line that waited was written by the adjustment that made it, not by the one it was
        # billed with.
        written = {line.id for each in case.applied for line in case.ledger[each.id]}
        for each in case.applied:
            ledger = case.ledger[each.id]
            lines += len(ledger)
            for line in ledger:
                total[line.currency] += line.amount_minor
                real = in_stripe.get(line.id)
                if real is None or real.amount_minor != line.amount_minor:
                    has = real.amount_minor if real else "no such line"
                    problems.append(f"line {line.id}: {line.amount_minor} here, Stripe {has}")
            if each.checked_at is None:
                problems.append(f"{each.id} was never checked")
            if each.invoice_id is not None:
                problems += _unequal(each, written, invoices.get(each.invoice_id))
    sums = ", ".join(f"{amount} {currency}" for currency, amount in sorted(total.items()))
    fine = f"{lines} lines, {sums or '0'} minor units"
    return _check("ledger equal to Stripe to the minor unit", problems, fine)


def _unequal(adjustment: Adjustment, written: set[str], invoice: StripeInvoice | None) -> list[str]:
    if invoice is None:
        return [f"{adjustment.invoice_id} of {adjustment.id} is not in Stripe"]
    found = []
    if adjustment.total_minor != invoice.total_minor:
        found.append(f"{invoice.id}: {adjustment.total_minor} here, {invoice.total_minor} there")
    if missing := {line.id for line in invoice.lines} - written:
        found.append(f"{invoice.id}: {len(missing)} lines are not in the ledger")
    return found


def check_floor(cases: Iterable[_Case]) -> Check:
    """No invoice of ours bills fewer seats than were active, and Stripe has as many as are now."""
    problems: list[str] = []
    billed = 0
    for case in cases:
        invoices = {invoice.id: invoice for invoice in case.invoices}
        for each in case.applied:
            problems += [
                f"{each.id}: {change.to_quantity} {change.seat_type}, {change.active} active"
                for change in each.changes
                if change.to_quantity < change.active
            ]
            invoice = invoices.get(each.invoice_id or "")
            for line in invoice_check.of_change(each, invoice.lines if invoice else ()):
                billed += 1
                low = [
                    change
                    for change in each.changes
                    if (line.price_id, line.amount_minor >= 0) == (change.price_id, True)
                    and (line.quantity or 0) < change.active
                ]
                problems += [f"{line.id} bills {line.quantity}, {c.active} active" for c in low]
        problems += _below_now(case)
    return _check("floor never broken in any invoice", problems, f"{billed} lines looked at")


def _below_now(case: _Case) -> list[str]:
    if not case.floor_holds or case.subscription is None or case.active is None:
        return []
    found = []
    for seat_type, seat in case.seats.items():
        item = case.subscription.item(seat.item_id)
        has, active = (item.quantity or 0) if item else 0, case.active.get(seat_type, 0)
        if has < active and not _TOLD & case.told:
            found.append(f"{case.held.id}: {has} {seat_type} in Stripe, {active} active")
    return found


def check_agreement(cases: Iterable[_Case]) -> Check:
    """Stripe's quantities are those that were agreed on."""
    problems: list[str] = []
    seats = 0
    for case in cases:
        if case.subscription is None or case.subscription.status in subscriptions.ENDED:
            continue
        for seat_type, seat in case.seats.items():
            seats += 1
            item = case.subscription.item(seat.item_id)
            has = item.quantity if item else None
            if has != seat.quantity and not _DIFFERENCE_TOLD & case.told:
                problems.append(
                    f"{case.held.id}: {has} {seat_type} in Stripe, {seat.quantity} here"
                )
    return _check("quantities agree with Stripe", problems, f"{seats} seat types")


def check_expected(cases: Iterable[_Case]) -> Check:
    """No invoice differed from its preview or from the proration model."""
    kinds = (FindingKind.INVOICE_DIFFERS_FROM_PREVIEW, FindingKind.INVOICE_DIFFERS_FROM_MODEL)
    problems = [f"{case.held.id}: {kind}" for case in cases for kind in kinds if kind in case.told]
    return _check("every invoice as previewed and as the model expects", problems, "no difference")


def _case(services: Services, subscription_id: str) -> _Case:
    with services.sessions() as session:
        held = subscriptions.held(session, subscription_id)
        assert held is not None
        recorded = adjustments.of_subscription(session, subscription_id)
        organization = roster_store.organization(session, held.organization_id)
        assert organization is not None
        rules = services.catalog.plan(organization.plan).rules
        counts = services.roster.counts(session, organization.id).by_seat_type
        scope = Scope(organization_id=organization.id, subscription_id=subscription_id)
        told = frozenset(FindingKind(found.kind) for found in findings.open_of(session, scope))
        # What moved to another subscription is held against that one.
        dead = Standing.DEAD in standing_of(held.status)
        live = facts.live_with_seats(session, rules, held)
        moved = bool(live) and held.id not in live and not dead
        seats = {} if moved else subscriptions.seats_of(session, subscription_id)
        ledger = {each.id: adjustments.ledger_of(session, each.id) for each in recorded}
    return _Case(
        held=held,
        seats=seats,
        adjustments=recorded,
        ledger=ledger,
        told=told,
        active=None if counts is None else dict(counts),
        floor_holds=rules.policy in (SeatPolicy.PURCHASED, SeatPolicy.FOLLOW) and not dead,
        subscription=_fetched(services, subscription_id),
        invoices=services.stripe.invoices_of(subscription_id),
        pending=services.stripe.pending_items(held.customer_id),
    )


def _fetched(services: Services, subscription_id: str) -> StripeSubscription | None:
    try:
        return services.stripe.subscription(subscription_id)
    except StripeGone:
        return None


def _named(what: str, ids: Sequence[str]) -> list[str]:
    count = f"more than {MOST_COUNTED}" if len(ids) > MOST_COUNTED else len(ids)
    return [f"{count} {what} ({', '.join(ids[:MOST_NAMED])})"] if ids else []


def _check(name: str, problems: Sequence[str], fine: str) -> Check:
    if not problems:
        return Check(name=name, ok=True, detail=fine)
    more = f" and {len(problems) - MOST_NAMED} more" * (len(problems) > MOST_NAMED)
    detail = "; ".join(problems[:MOST_NAMED]) + more
    return Check(name=name, ok=False, detail=detail, problems=tuple(problems))
