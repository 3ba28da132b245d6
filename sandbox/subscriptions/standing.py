"""How a subscription stands after something happened to one of its invoices.

The one place that turns payment outcomes into subscription statuses, and that applies or drops a
pending update. Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
and https://docs.stripe.com/billing/subscriptions/pending-updates
"""

from __future__ import annotations

from sandbox.http.fields import merged_metadata
from sandbox.store import Obj, peek
from sandbox.world import World

UPDATED = "customer.subscription.updated"
DELETED = "customer.subscription.deleted"


def _subscription(world: World, invoice: Obj) -> Obj | None:
    """A copy of the subscription this invoice bills, if it is still alive."""
    subscription_id = peek(invoice, "parent.subscription_details.subscription")
    if subscription_id is None or world.store.get("subscription", subscription_id) is None:
        return None
    subscription = world.store.edit("subscription", subscription_id)
    ended = subscription["status"] in ("canceled", "incomplete_expired")
    return None if ended else subscription


def after_paid(world: World, invoice: Obj) -> None:
    """Paid: a pending update applies, an incomplete or late subscription is active again."""
    subscription = _subscription(world, invoice)
    if subscription is None:
        return
    before = dict(subscription)
    pending = subscription.get("_pending")
    if pending and pending["invoice"] == invoice["id"]:
        _apply_pending(world, subscription)
        return
    latest = subscription["latest_invoice"] in (invoice["id"], None)
    if subscription["status"] == "incomplete" or (
        subscription["status"] in ("past_due", "unpaid") and latest
    ):
        subscription["status"] = "active"
    if subscription != before:
        world.store.put(subscription, UPDATED)


def _apply_pending(world: World, subscription: Obj) -> None:
    pending = subscription.pop("_pending")
    subscription["pending_update"] = None
    subscription.update(pending["after"])
    if "metadata" in pending:
        subscription["metadata"] = merged_metadata(subscription["metadata"], pending["metadata"])
    world.store.put(subscription, UPDATED, "customer.subscription.pending_update_applied")


def drop_pending(subscription: Obj) -> str | None:
    """Forget a pending update of a copy the caller puts; returns its invoice to void."""
    pending = subscription.pop("_pending", None)
    subscription["pending_update"] = None
    return pending["invoice"] if pending else None


def after_failed(world: World, invoice: Obj, now: int) -> None:
    """Not paid: an active subscription is past due; after the last retry its fate is the
    account's setting (`World.after_retries`)."""
    subscription = _subscription(world, invoice)
    if subscription is None or subscription.get("_pending"):
        return
    status = subscription["status"]
    over = invoice["attempted"] and invoice["next_payment_attempt"] is None
    if status in ("active", "trialing"):
        subscription["status"] = "past_due"
    elif status == "past_due" and over and world.after_retries == "cancel":
        subscription.update(status="canceled", canceled_at=now, ended_at=now)
        subscription["cancellation_details"] = {
            **subscription["cancellation_details"],
            "reason": "payment_failed",
        }
        world.store.put(subscription, DELETED)
        return
    elif status == "past_due" and over:
        subscription["status"] = world.after_retries
    if subscription["status"] != status:
        world.store.put(subscription, UPDATED)


def after_overdue(world: World, invoice: Obj) -> None:
    """An invoice that was sent is not paid by its due date."""
    subscription = _subscription(world, invoice)
    if subscription is not None and subscription["status"] == "active":
        subscription["status"] = "past_due"
        world.store.put(subscription, UPDATED)


def after_given_up(world: World, invoice: Obj) -> None:
    """Voided or uncollectible: what was never paid for ends, what was late is current again."""
    subscription = _subscription(world, invoice)
    if subscription is None:
        return
    status = subscription["status"]
    if status == "incomplete":
        subscription["status"] = "incomplete_expired"
        world.store.put(subscription, UPDATED)
    elif status in ("past_due", "unpaid") and subscription["latest_invoice"] == invoice["id"]:
        subscription["status"] = "active"
        world.store.put(subscription, UPDATED)
