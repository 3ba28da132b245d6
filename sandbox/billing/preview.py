"""`POST /v1/invoices/create_preview`: the very calculation of the real thing, undone afterwards.

With `always_invoice` it shows the invoice of the change alone, otherwise the next renewal with the
change's prorations on it; without `subscription` it shows a new one's first invoice.
"""

from __future__ import annotations

from typing import Any

from sandbox.billing.collect import bill
from sandbox.billing.invoice import settle_balance
from sandbox.billing.invoice_items import pending
from sandbox.http.errors import ApiError, bad_request, missing_param, unsupported_param
from sandbox.http.routes import Context
from sandbox.store import Obj, copy
from sandbox.subscriptions.creation import GONE
from sandbox.subscriptions.creation import propose as propose_new
from sandbox.subscriptions.renewal import next_end, renew
from sandbox.subscriptions.update import propose as propose_change
from sandbox.world import World

KEPT_PREVIEWS = 1000
_DETAILS = {
    "items", "billing_cycle_anchor", "billing_mode", "cancel_at", "cancel_at_period_end",
    "default_tax_rates", "metadata", "proration_behavior", "proration_date", "trial_end",
}  # fmt: skip


class _UndoneError(Exception):
    """Ends the unit of a preview: nothing it did may stay."""

    def __init__(self, shown: Obj) -> None:
        super().__init__()
        self.shown = shown


def create_preview(ctx: Context) -> Obj:
    """The invoice that would come; its id is good for reading its lines, and for nothing else."""
    try:
        with ctx.world.unit(ctx.origin):
            _undo(_as_preview(ctx.world, _preview(ctx)))
    except _UndoneError as done:
        previews = ctx.world.previews
        previews[done.shown["id"]] = done.shown["lines"]
        while len(previews) > KEPT_PREVIEWS:
            previews.popitem(last=False)
        return done.shown
    raise AssertionError("a preview is always undone")


def _undo(shown: Obj) -> None:
    raise _UndoneError(shown)


def _preview(ctx: Context) -> Obj:
    details = dict(ctx.params.get("subscription_details") or {})
    for name in details:
        if name not in _DETAILS:
            raise unsupported_param(f"subscription_details[{name}]")
    subscription_id = ctx.params.get("subscription")
    if subscription_id is None:
        return _of_new(ctx, details)
    before = ctx.named("subscription", subscription_id, param="subscription")
    if before["status"] in GONE:
        raise _nothing(before["customer"])
    recurring = ctx.params.get("preview_mode") == "recurring"
    if recurring:
        details.pop("proration_date", None)
        details["proration_behavior"] = "none"
    subscription, invoice = propose_change(ctx, before, details)
    if invoice is not None:
        return invoice
    return _next(ctx.world, copy(subscription), recurring=recurring)


def _of_new(ctx: Context, details: dict[str, Any]) -> Obj:
    if "customer" not in ctx.params:
        raise missing_param("customer")
    if not details.get("items"):
        return _of_customer(ctx)
    details.pop("metadata", None)
    subscription, invoice = propose_new(ctx, {**details, "customer": ctx.params["customer"]})
    return invoice if invoice is not None else _next(ctx.world, copy(subscription))


def _of_customer(ctx: Context) -> Obj:
    """Only a customer named: their one live subscription is meant."""
    customer = ctx.named("customer", ctx.params["customer"], param="customer")
    live = [
        one
        for one in ctx.world.store.all("subscription", ("customer", customer["id"]))
        if one["status"] not in GONE
    ]
    if not live:
        raise _nothing(customer["id"])
    if len(live) > 1:
        raise bad_request("Name the `subscription`: this customer has several.", "subscription")
    return _next(ctx.world, copy(live[0]))


def _next(world: World, subscription: Obj, *, recurring: bool = False) -> Obj:
    """The renewal's draft; a subscription that will end has only its pending items left."""
    at = next_end(subscription)
    if subscription["cancel_at"] is None or subscription["cancel_at"] > at:
        if recurring:
            return _without_pending(world, subscription, at)
        return renew(world, subscription, at, "upcoming")
    waiting = pending(world, subscription["customer"], subscription["id"])
    if not waiting:
        raise _nothing(subscription["customer"])
    return bill(world, subscription, "upcoming", at, pending=waiting)


def _without_pending(world: World, subscription: Obj, at: int) -> Obj:
    for item in pending(world, subscription["customer"], subscription["id"]):
        world.store.delete("invoiceitem", item["id"])
    return renew(world, subscription, at, "upcoming")


def _as_preview(world: World, invoice: Obj) -> Obj:
    shown = copy(invoice)
    shown["id"] = f"upcoming_{invoice['id']}"
    for line in shown["lines"]:
        line["invoice"] = shown["id"]
    balance = world.store.need("customer", invoice["customer"])["balance"]
    due, ending = settle_balance(shown, balance)
    shown.update(starting_balance=balance, ending_balance=ending)
    shown.update(amount_due=due, amount_remaining=due, webhooks_delivered_at=None)
    return shown


def _nothing(customer_id: str) -> ApiError:
    return ApiError(
        404,
        f"No upcoming invoices for customer: {customer_id}",
        code="invoice_upcoming_none",
    )
