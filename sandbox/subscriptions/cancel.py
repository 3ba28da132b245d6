"""`DELETE /v1/subscriptions/:id`, and ends that time brings.

Recorded: `prorate` credits what was billed; with `invoice_now` the credit stands on a draft of
reason `subscription_cycle`, without it on a pending item that no longer names the subscription.
"""

from __future__ import annotations

from sandbox.billing.collect import bill
from sandbox.billing.invoice import DRAFT_S
from sandbox.billing.invoice_items import pending
from sandbox.billing.prorate import credit
from sandbox.billing.voiding import void
from sandbox.http.errors import no_such
from sandbox.http.fields import set_fields
from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.subscriptions.creation import GONE
from sandbox.subscriptions.standing import DELETED, drop_pending
from sandbox.world import World


def cancel(ctx: Context) -> Obj:
    """Cancel now; a subscription that is gone already is not found (recorded)."""
    world, params = ctx.world, ctx.params
    found = ctx.the("subscription")
    if found["status"] in GONE:
        raise no_such("subscription", found["id"])
    now = world.now_of(found)
    subscription = world.store.edit("subscription", found["id"])
    if "cancellation_details" in params:
        set_fields(
            subscription["cancellation_details"],
            params["cancellation_details"],
            "comment feedback",
        )
    ended(subscription, now, "cancellation_requested")
    if params.get("prorate") and found["status"] in ("active", "past_due"):
        _credit(world, subscription, now, invoiced=bool(params.get("invoice_now")))
    if params.get("invoice_now"):
        _invoice(world, subscription, now)
    return _store(world, found, subscription, now)


def ended(subscription: Obj, now: int, reason: str | None) -> None:
    """Mark a copy as canceled; who asked for it earlier keeps the time of asking."""
    subscription["status"] = "canceled"
    subscription["ended_at"] = now
    subscription["cancel_at_period_end"] = False
    subscription["canceled_at"] = now
    subscription["cancel_at"] = None
    if reason is not None:
        subscription["cancellation_details"]["reason"] = reason


def cancel_now(world: World, subscription_id: str, now: int, reason: str) -> Obj:
    """Cancel without credit: deleted customers, trials nobody pays for."""
    found = world.store.need("subscription", subscription_id)
    subscription = world.store.edit("subscription", subscription_id)
    ended(subscription, now, reason)
    return _store(world, found, subscription, now)


def _store(world: World, found: Obj, subscription: Obj, now: int) -> Obj:
    drops = drop_pending(subscription)
    stored = world.store.put(subscription, DELETED)
    if drops:
        void(world, drops, now)
    for invoice in list(
        world.store.all("invoice", ("parent.subscription_details.subscription", found["id"]))
    ):
        if invoice["status"] == "open" and invoice["auto_advance"]:
            still = {**invoice, "auto_advance": False, "next_payment_attempt": None}
            world.store.put(still, "invoice.updated")
    return stored


def _credit(world: World, subscription: Obj, now: int, *, invoiced: bool) -> None:
    for item in subscription["items"]:
        for made in credit(world, subscription, item, now, now):
            if not invoiced:
                made["parent"] = None
                del made["proration_details"]
                made["_subscription"] = made["_subscription_item"] = None
            world.store.put(made, "invoiceitem.created")
        item["_debits"] = []


def _invoice(world: World, subscription: Obj, now: int) -> None:
    waiting = [
        item
        for item in pending(world, subscription["customer"], subscription["id"])
        if item["_subscription"] == subscription["id"]
    ]
    if not waiting:
        return
    start = min(item["current_period_start"] for item in subscription["items"])
    invoice = bill(
        world, subscription, "subscription_cycle", now, pending=waiting, period=(start, now)
    )
    due = {**invoice, "automatically_finalizes_at": now + DRAFT_S + 1}
    due["next_payment_attempt"] = now + DRAFT_S
    world.store.put(due)


ROUTES = (
    Route(
        "DELETE",
        "/v1/subscriptions/:id",
        cancel,
        "SubscriptionCancelParams",
        "cancellation_details invoice_now prorate",
    ),
)
