"""A new period: what time brings to a live subscription."""

from __future__ import annotations

from sandbox.billing.collect import bill
from sandbox.billing.invoice import DRAFT_S
from sandbox.billing.invoice_items import pending
from sandbox.billing.proration import add_intervals, period_at
from sandbox.store import Obj
from sandbox.subscriptions.repricing import cycle_of
from sandbox.world import World


def next_end(subscription: Obj) -> int:
    """When the first of its items' periods ends."""
    return min(int(item["current_period_end"]) for item in subscription["items"])


def renew(world: World, subscription: Obj, now: int, reason: str = "subscription_cycle") -> Obj:
    """Move ended periods on and draft their invoice, pending items included.

    Edits the subscription, which the caller puts; the draft is stored.
    """
    ended = [item for item in subscription["items"] if item["current_period_end"] <= now]
    start = min(item["current_period_start"] for item in ended)
    end = max(item["current_period_end"] for item in ended)
    for item in ended:
        _next_period(world, subscription, item)
    return bill(
        world,
        subscription,
        reason,
        now,
        pending=pending(world, subscription["customer"], subscription["id"]),
        whole=ended,
        period=(start, end),
    )


def _next_period(world: World, subscription: Obj, item: Obj) -> None:
    """Anchored, so that the 31st comes back after a short month."""
    cycle, start = cycle_of(world, item), item["current_period_end"]
    anchored = period_at(subscription["billing_cycle_anchor"], *cycle, start)
    end = anchored[1] if anchored[0] == start else add_intervals(start, *cycle)
    item["current_period_start"], item["current_period_end"] = start, end


def advance_later(world: World, invoice: Obj) -> Obj:
    """An automatic draft is finalized and charged an hour after it was made (recorded)."""
    later = {**invoice, "automatically_finalizes_at": invoice["created"] + DRAFT_S}
    if invoice["collection_method"] == "charge_automatically":
        later["next_payment_attempt"] = invoice["created"] + DRAFT_S
    return world.store.put(later)
