"""What the line of an applied adjustment says: the change, what it moved, and on which invoice."""

from collections.abc import Sequence

from reconcile.adjustments.money import written
from reconcile.policy.values import Proration
from reconcile.store.adjustments import Adjustment
from reconcile.stripe_shapes import StripeInvoice


def applied_line(adjustment: Adjustment, invoice: StripeInvoice | None) -> str:
    """Return the outcome in one line; `invoice` is the one the adjustment made, if it made one."""
    if invoice is None:
        told = {
            Proration.NONE: "nothing charged",
            Proration.NEXT_INVOICE: f"{_waiting(adjustment)} on the next invoice",
        }.get(Proration(adjustment.proration_behavior), "its invoice was not found")
        return f"{adjustment.reason}; {told}"
    amounts = [line.total_minor for line in invoice.lines]
    told = _moved(adjustment, invoice.total_minor, invoice.currency, amounts)
    due = written(invoice.amount_due_minor, invoice.currency)
    return f"{adjustment.reason}; {told} on {invoice.id}, due now {due}{_from_balance(invoice)}"


def _from_balance(invoice: StripeInvoice) -> str:
    """Return what an earlier credit pays, without which the amount due looks like a mistake."""
    paid = min(invoice.total_minor, -invoice.starting_balance_minor)
    if paid <= 0:
        return ""
    return f", {written(paid, invoice.currency)} paid from the customer's balance"


def _waiting(adjustment: Adjustment) -> str:
    preview = adjustment.preview
    if not preview:
        return "prorated"
    amounts = [line["amount_minor"] for line in preview["lines"]]
    return _moved(adjustment, preview["total_minor"], preview["currency"], amounts)


def _moved(adjustment: Adjustment, total_minor: int, currency: str, amounts: Sequence[int]) -> str:
    kind = "credited" if total_minor < 0 else "charged"
    made_of = _made_of(adjustment, total_minor, currency, amounts)
    return f"{kind} {written(abs(total_minor), currency)}{made_of}"


def _made_of(
    adjustment: Adjustment, total_minor: int, currency: str, amounts: Sequence[int]
) -> str:
    """Return what the total is the sum of, where it looks like a mistake; else an empty text.

    A raise that charges nothing: seats that were lowered without a credit are credited with the way
    back, because Stripe gives back what was paid for them, not what they are now. Fewer seats that
    charge: they fall short of a volume price.
    """
    lowers = any(change.lowers for change in adjustment.changes)
    raises = any(change.to_quantity > change.from_quantity for change in adjustment.changes)
    as_expected = (raises or not lowers) if total_minor > 0 else lowers
    credit = -sum(amount for amount in amounts if amount < 0)
    # Of an invoice longer than what Stripe shows at once, not every line is here.
    if as_expected or not credit or sum(amounts) != total_minor:
        return ""
    debit = sum(amount for amount in amounts if amount > 0)
    seats, unused = written(debit, currency), written(credit, currency)
    return f" ({seats} for the seats, {unused} credited for unused time)"
