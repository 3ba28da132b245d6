"""The invoice after the fact: read whole, written to the ledger, compared with what was expected.

Twice: with Stripe's own preview of the change, which it must equal to the minor unit, and with our
proration model, which may be off by one minor unit a line. A difference is a finding for a person,
never a reason to write anything. Each adjustment is checked once: the person closes it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconcile import tracing
from reconcile.adjustments import model_check
from reconcile.policy.values import FindingKind, Observation, Proration
from reconcile.services import Services
from reconcile.store import adjustments as store
from reconcile.store import findings
from reconcile.store.adjustments import Adjustment, Intent, SeatChange
from reconcile.store.findings import Scope
from reconcile.stripe_api import StripeApi
from reconcile.stripe_shapes import InvoiceLine, StripeInvoice, StripeSubscription

# Clocks differ: the invoice of a change may be dated a little before our proration date.
_CLOCKS_DIFFER = timedelta(days=1)


def with_preview(
    intent: Intent,
    subscription: StripeSubscription,
    preview: StripeInvoice,
    taken: Collection[str] = (),
) -> Intent:
    """Return the intent with Stripe's preview, reduced to money; `taken` as in `of_change`.

    A change that waits for the next invoice is previewed with all of that invoice; only its own
    proration lines are kept, and there is no total to compare. Of a preview longer than what Stripe
    shows at once, only its own lines are kept too.
    """
    charges_now = intent.proration_behavior == Proration.CHARGE_NOW
    whole = charges_now and preview.lines_complete
    lines = preview.lines if whole else of_change(intent, preview.lines, taken)
    sums = {
        "subtotal_minor": preview.subtotal_minor,
        "discount_minor": preview.discount_minor,
        "tax_minor": preview.tax_minor,
        "total_minor": preview.total_minor,
    }
    if not charges_now:
        sums = {
            "subtotal_minor": sum(line.amount_minor for line in lines),
            "discount_minor": sum(line.discount_minor for line in lines),
            "tax_minor": sum(line.tax_minor for line in lines),
            "total_minor": sum(line.total_minor for line in lines),
        }
    return replace(
        intent,
        preview={
            "currency": preview.currency,
            **sums,
            "starting_balance_minor": preview.starting_balance_minor,
            "amount_due_minor": preview.amount_due_minor if charges_now else 0,
            "whole": whole,
            "discounted": subscription.discounted or preview.discounted,
            "lines": [_as_json(line) for line in lines],
        },
    )


def _as_json(line: InvoiceLine) -> dict[str, Any]:
    return {
        "price_id": line.price_id,
        "quantity": line.quantity,
        "amount_minor": line.amount_minor,
        "proration": line.proration,
        "description": line.description,
        "period_start": int(line.period_start.timestamp()),
        "period_end": int(line.period_end.timestamp()),
    }


def of_change(
    of: Intent | Adjustment, lines: Iterable[InvoiceLine], taken: Collection[str] = ()
) -> tuple[InvoiceLine, ...]:
    """Return the lines that this change makes: prorations from its date on, of its quantities.

    A whole-item credit for what was, a whole-item debit for what is. The date alone does not tell:
    somebody may have edited the subscription in the same second. Nor do the quantities, where we
    changed it twice in one: `taken` are the ids that are written down for other adjustments.
    """
    lines = tuple(line for line in lines if line.id not in taken)
    found = [line for change in of.changes for line in _of_seats(of, change, lines)]
    return tuple(line for line in lines if line in found)


def _of_seats(
    of: Intent | Adjustment, change: SeatChange, lines: Iterable[InvoiceLine]
) -> list[InvoiceLine]:
    """Return the lines of one seat type.

    Only where nothing was credited for what was is the item's other credit taken: with flexible
    billing it is for the seats that were charged, and some may have been added or taken away with
    `none` since. A credit for what is, beside it, is that of a later edit; of several, each alike,
    one is ours.
    """
    as_it_was = (change.from_price_id, change.from_quantity)
    as_it_is = (change.price_id, change.to_quantity)
    dated = [line for line in lines if line.proration and line.period_start == of.proration_date]
    negative = [line for line in dated if line.amount_minor < 0]
    exact = [line for line in negative if (line.price_id, line.quantity) == as_it_was]
    of_item = [line for line in negative if change.item_id and line.item_id == change.item_id]
    before = [line for line in of_item if (line.price_id, line.quantity) != as_it_is]
    charged = [
        line
        for line in dated
        if line.amount_minor >= 0 and (line.price_id, line.quantity) == as_it_is
    ]
    return [*(exact or before or of_item[:1]), *charged]


def find_invoice(
    api: StripeApi, adjustment: Adjustment, subscription: StripeSubscription
) -> StripeInvoice | None:
    """Return the invoice that an applied adjustment made, or None when it makes none."""
    if adjustment.proration_behavior != Proration.CHARGE_NOW:
        return None
    if subscription.latest_invoice_id:
        latest = api.invoice(subscription.latest_invoice_id)
        if is_of(adjustment, latest):
            return latest
    assert adjustment.proration_date is not None
    since = adjustment.proration_date - _CLOCKS_DIFFER
    found = (i for i in api.invoices_of(adjustment.subscription_id, since=since))
    return next((invoice for invoice in found if is_of(adjustment, invoice)), None)


def is_of(adjustment: Adjustment, invoice: StripeInvoice) -> bool:
    """Return whether the adjustment made this invoice: its trace and its lines say so.

    The trace alone does not: Stripe copies the subscription's metadata to later invoices too. Nor
    does a credit: who edits the subscription in the same second is credited for what we made.
    """
    return (
        invoice.billing_reason == "subscription_update"
        and invoice.adjustment_id == adjustment.id
        and any(_bills(adjustment, change, invoice) for change in adjustment.changes)
    )


def _bills(adjustment: Adjustment, change: SeatChange, invoice: StripeInvoice) -> bool:
    lines = _of_seats(adjustment, change, invoice.lines)
    # No seats cost nothing, and a new interval may be billed as a whole period: no proration.
    may_be_free = change.to_quantity == 0 or change.price_id != change.from_price_id
    return any(line.amount_minor >= 0 or may_be_free for line in lines)


@tracing.traced("check invoice")
def check(
    services: Services,
    adjustment: Adjustment,
    subscription: StripeSubscription,
    invoice: StripeInvoice | None,
) -> Adjustment:
    """Write the adjustment's ledger lines, compare them, and open a finding for each difference.

    Each is of this adjustment alone, so that the next one's is not taken for it. Reads the invoice
    (or the pending items) from Stripe where it is not at hand.
    """
    tracing.tell(adjustment=adjustment.id, invoice=adjustment.invoice_id)
    with services.sessions() as session:
        taken = store.lines_beside(session, adjustment)
    lines = _lines(services.stripe, adjustment, subscription, invoice, taken)
    own = of_change(adjustment, lines, taken)
    observations = list(_differences(services, adjustment, subscription, invoice, lines, own))
    seat_types = {
        price: change.seat_type
        for change in adjustment.changes
        for price in (change.price_id, change.from_price_id)
    }
    at = services.clock()
    scope = Scope(
        organization_id=adjustment.organization_id, subscription_id=adjustment.subscription_id
    )
    with services.sessions.begin() as session:
        store.write_ledger(
            session, adjustment.id, [(line, seat_types.get(line.price_id)) for line in lines]
        )
        for observation in observations:
            findings.observe(session, scope, observation, at=at, opened_by=adjustment.id)
        store.mark_checked(session, adjustment.id, at)
        checked = store.by_id(session, adjustment.id)
    assert checked is not None
    return checked


def check_later(services: Services, adjustment: Adjustment) -> Adjustment:
    """Check an adjustment whose process died before it had: everything is read anew."""
    subscription = services.stripe.subscription(adjustment.subscription_id)
    invoice = services.stripe.invoice(adjustment.invoice_id) if adjustment.invoice_id else None
    return check(services, adjustment, subscription, invoice)


def _lines(
    api: StripeApi,
    adjustment: Adjustment,
    subscription: StripeSubscription,
    invoice: StripeInvoice | None,
    taken: Collection[str],
) -> tuple[InvoiceLine, ...]:
    if invoice is not None:
        return tuple(replace(line, invoice_id=invoice.id) for line in invoice.lines)
    if adjustment.proration_behavior == Proration.NEXT_INVOICE:
        waiting = of_change(adjustment, api.pending_items(subscription.customer_id), taken)
        return waiting or of_change(adjustment, _billed_since(api, adjustment), taken)
    return ()


def _billed_since(api: StripeApi, adjustment: Adjustment) -> tuple[InvoiceLine, ...]:
    """Return what was billed since: the next invoice may have come before we looked."""
    assert adjustment.proration_date is not None
    since = adjustment.proration_date - _CLOCKS_DIFFER
    invoices = api.invoices_of(adjustment.subscription_id, since=since)
    return tuple(replace(line, invoice_id=each.id) for each in invoices for line in each.lines)


def _differences(  # noqa: PLR0913, PLR0917 - both sides of the comparison
    services: Services,
    adjustment: Adjustment,
    subscription: StripeSubscription,
    invoice: StripeInvoice | None,
    lines: tuple[InvoiceLine, ...],
    own: tuple[InvoiceLine, ...],
) -> Iterable[Observation]:
    if adjustment.proration_behavior == Proration.NONE:
        return
    said = {"adjustment": adjustment.id, "invoice": adjustment.invoice_id}
    preview = adjustment.preview or {}
    if told := preview_difference(preview, invoice, lines if preview.get("whole") else own):
        yield Observation(
            kind=FindingKind.INVOICE_DIFFERS_FROM_PREVIEW,
            adjustment_id=adjustment.id,
            summary=f"The invoice of an adjustment is not what Stripe previewed: {told}. Compare "
            "both, and credit the customer if they were charged more.",
            detail=said,
        )
    if told := model_check.difference(
        services.stripe, services.catalog, adjustment, subscription, own
    ):
        yield Observation(
            kind=FindingKind.INVOICE_DIFFERS_FROM_MODEL,
            adjustment_id=adjustment.id,
            summary=f"The proration of an adjustment is not what the model expects: {told}. Check "
            "the catalog's amounts against Stripe's prices.",
            detail=said,
        )


def preview_difference(
    preview: Mapping[str, Any], invoice: StripeInvoice | None, lines: Iterable[InvoiceLine]
) -> str | None:
    """Return how what was charged differs from the preview, or None: equal to the minor unit."""
    if invoice is not None and invoice.total_minor != preview.get("total_minor"):
        return f"total {invoice.total_minor}, previewed {preview.get('total_minor')}"
    promised = Counter(
        (line["price_id"], line["quantity"], line["amount_minor"])
        for line in preview.get("lines", ())
    )
    brought = Counter((line.price_id, line.quantity, line.amount_minor) for line in lines)
    if promised == brought:
        return None
    missing, extra = list((promised - brought).elements()), list((brought - promised).elements())
    return f"lines missing {missing}, not previewed {extra}"
