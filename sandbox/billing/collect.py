"""From a subscription's dues to an invoice, and from the invoice to money or a refusal.

`bill` makes the invoice of a subscription, `collect` finalizes it and charges it the way
`payment_behavior` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.billing.invoice import (
    cycle_line,
    finalize,
    item_line,
    new_invoice,
    total_up,
    trial_line,
)
from sandbox.billing.payments import Attempt, attempt, default_method, shown_method
from sandbox.billing.prorate import charged_line
from sandbox.http.errors import ApiError
from sandbox.objects.coupons import spent
from sandbox.objects.payment_methods import card_error
from sandbox.store import Obj
from sandbox.world import World

DAY_S = 86400
LineMaker = Callable[[World, Obj, Obj, Obj, tuple[int, int]], Obj]


def bill(  # noqa: PLR0913 - everything after the first four is an option by name
    world: World,
    subscription: Obj,
    reason: str,
    now: int,
    *,
    pending: list[Obj] | None = None,
    whole: list[Obj] | None = None,
    line: LineMaker = cycle_line,
    period: tuple[int, int] | None = None,
) -> Obj:
    """A stored draft: pending items (newest first), then `whole` items as `line` writes them.

    Edits the subscription the caller puts: `latest_invoice`, discounts used up.
    """
    customer = world.store.need("customer", subscription["customer"])
    invoice = new_invoice(
        world,
        customer,
        reason=reason,
        currency=subscription["currency"],
        now=now,
        subscription=subscription,
    )
    for item in pending or []:
        if item["currency"] == invoice["currency"]:
            item_line(world, invoice, item)
    for item in reversed(whole or []):
        span = (item["current_period_start"], item["current_period_end"])
        line(world, invoice, subscription, item, span)
    invoice["period_start"], invoice["period_end"] = period or (now, now)
    first = reason == "subscription_create"
    sends = subscription["collection_method"] == "send_invoice"
    invoice["auto_advance"] = sends or not first
    if sends:
        invoice["due_date"] = now + (subscription["days_until_due"] or 0) * DAY_S
    total_up(world, invoice, subscription["discounts"] if whole else [])
    if whole and line is not trial_line:
        subscription["discounts"] = spent(world, subscription["discounts"], now)
    _name_credited(world, invoice)
    world.store.put(invoice, "invoice.created")
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def _name_credited(world: World, invoice: Obj) -> None:
    """Credits name the lines they take back; those may stand on this very invoice."""
    here = {}
    for line in invoice["lines"]:
        details = line["parent"]["subscription_item_details"]
        if details and details["invoice_item"]:
            here[details["invoice_item"]] = (line, details)
    for item_id, (_line, details) in here.items():
        source = world.store.need("invoiceitem", item_id)["_source"]
        if not source:
            continue
        same = here.get(source.get("invoice_item"))
        found = (invoice["id"], same[0]["id"]) if same else charged_line(world, source)
        if found:
            details["proration_details"]["credited_items"] = {
                "invoice": found[0],
                "invoice_line_items": [found[1]],
            }


def collect(world: World, invoice: Obj, now: int, behavior: str = "allow_incomplete") -> Attempt:
    """Finalize a draft and charge it; the subscription must be stored already.

    Raises ApiError where `payment_behavior` makes a failed payment an error.
    """
    needs_card = invoice["collection_method"] == "charge_automatically"
    finalize(world, invoice, now)
    if invoice["status"] == "paid" or not needs_card:
        return Attempt("paid")
    if behavior == "default_incomplete":
        return Attempt("requires_action")
    method = default_method(world, invoice)
    if method is None:
        return Attempt("no_method")
    outcome = attempt(world, invoice["id"], now)
    if outcome.result != "paid" and behavior == "error_if_incomplete":
        raise refusal(outcome, method)
    return outcome


def refusal(outcome: Attempt, method: Obj | None) -> ApiError:
    """The error for a payment that did not go through."""
    if outcome.result == "no_method":
        return ApiError(
            400,
            "This customer has no attached payment source or default payment method. Please "
            "consider adding a default payment method.",
            code="resource_missing",
        )
    if outcome.decline_code is not None:
        extra: dict[str, Any] = {"payment_method": shown_method(method)} if method else {}
        return card_error(outcome.decline_code, **extra)
    return ApiError(
        402,
        "Payment for this subscription requires additional user action before it can be "
        "completed successfully. Use payment_behavior=allow_incomplete or "
        "payment_behavior=default_incomplete to create or change the subscription all the "
        "same and let the customer complete the payment.",
        type="card_error",
        code="subscription_payment_intent_requires_action",
    )
