"""What a subscription waits for: the end of its trial, period, cancellation, pause or update."""

from __future__ import annotations

from sandbox.billing.collect import bill
from sandbox.billing.invoice_items import pending
from sandbox.billing.voiding import void
from sandbox.store import Obj, copy
from sandbox.subscriptions.cancel import ended
from sandbox.subscriptions.creation import GONE, TRIAL_NOTICE_S
from sandbox.subscriptions.renewal import advance_later, next_end, renew
from sandbox.subscriptions.standing import DELETED, UPDATED, drop_pending
from sandbox.subscriptions.update import end_trial, hold_if_paused
from sandbox.world import World

INCOMPLETE_S = 23 * 3600
EXPIRED = "customer.subscription.pending_update_expired"


def due_at(subscription: Obj) -> int | None:
    """The next moment something happens to it by itself."""
    status = subscription["status"]
    if status in GONE:
        return None
    if status == "incomplete":
        return int(subscription["created"]) + INCOMPLETE_S
    moments: list[int] = []
    if subscription["pending_update"]:
        moments.append(subscription["pending_update"]["expires_at"])
    if subscription["cancel_at"] is not None:
        moments.append(subscription["cancel_at"])
    pause = subscription["pause_collection"]
    if pause and pause["resumes_at"] is not None:
        moments.append(pause["resumes_at"])
    if status == "trialing":
        moments.append(subscription["trial_end"])
        if not subscription.get("_trial_notice"):
            moments.append(subscription["trial_end"] - TRIAL_NOTICE_S)
    elif status != "paused":
        moments.append(next_end(subscription))
    return min(moments, default=None)


def work(world: World, found: Obj, now: int) -> None:
    """Do the first thing that is due; the rest comes up again by itself."""
    subscription = copy(found)
    pause = subscription["pause_collection"]
    if subscription["status"] == "incomplete":
        void(world, subscription["latest_invoice"], now)
    elif subscription["pending_update"] and subscription["pending_update"]["expires_at"] <= now:
        _expire(world, subscription, now)
    elif subscription["cancel_at"] is not None and subscription["cancel_at"] <= now:
        _end(world, subscription, now)
    elif pause and pause["resumes_at"] is not None and pause["resumes_at"] <= now:
        subscription["pause_collection"] = None
        world.store.put(subscription, UPDATED)
    elif subscription["status"] == "trialing":
        _trial(world, subscription, now)
    else:
        _renew(world, subscription, now)


def _expire(world: World, subscription: Obj, now: int) -> None:
    drops = drop_pending(subscription)
    world.store.put(subscription, UPDATED, EXPIRED)
    if drops:
        void(world, drops, now)


def _end(world: World, subscription: Obj, now: int) -> None:
    """The wished-for end: what is still pending is invoiced one last time."""
    asked_at = subscription["canceled_at"]
    wish = {name: subscription[name] for name in ("cancel_at", "cancel_at_period_end")}
    ended(subscription, now, None)
    subscription.update(wish, canceled_at=asked_at)
    waiting = [
        item
        for item in pending(world, subscription["customer"], subscription["id"])
        if item["_subscription"] == subscription["id"]
    ]
    if waiting:
        draft = bill(world, subscription, "subscription_cycle", now, pending=waiting)
        advance_later(world, draft)
    world.store.put(subscription, DELETED)


def _trial(world: World, subscription: Obj, now: int) -> None:
    if subscription["trial_end"] > now:
        subscription["_trial_notice"] = True
        world.store.put(subscription, "customer.subscription.trial_will_end")
        return
    end = subscription["trial_end"]
    dues = end_trial(world, subscription, now)
    subscription["trial_end"] = end
    if subscription["status"] == "canceled":
        world.store.put(subscription, DELETED)
    elif subscription["status"] == "paused":
        world.store.put(subscription, UPDATED)
    else:
        waiting = pending(world, subscription["customer"], subscription["id"])
        start = (subscription["trial_start"], now)
        draft = bill(
            world, subscription, "subscription_cycle", now,
            pending=waiting, whole=dues.whole, period=start,
        )  # fmt: skip
        world.store.put(subscription, UPDATED)
        _later(world, subscription, draft, now)


def _renew(world: World, subscription: Obj, now: int) -> None:
    if subscription["pending_update"]:
        _expire(world, subscription, now)  # its periods are over; the renewal comes up again
        return
    draft = renew(world, subscription, now)
    world.store.put(subscription, UPDATED)
    _later(world, subscription, draft, now)


def _later(world: World, subscription: Obj, draft: Obj, now: int) -> None:
    """Charged in an hour, unless collection is paused or nobody is charged any more."""
    if hold_if_paused(world, subscription, draft, now):
        return
    if subscription["status"] == "unpaid":
        world.store.put({**draft, "auto_advance": False})
        return
    advance_later(world, draft)
