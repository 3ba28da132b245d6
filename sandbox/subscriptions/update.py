"""`POST /v1/subscriptions/:id` and what else changes a subscription's items.

Order: refuse what Stripe refuses, apply settings, reprice, bill, charge. A payment that fails is
answered as `payment_behavior` says; `pending_if_incomplete` puts the old state back and keeps the
new one for when the invoice is paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.billing.collect import bill, collect, refusal
from sandbox.billing.invoice_items import pending
from sandbox.billing.payments import Attempt, default_method
from sandbox.billing.proration import period_at
from sandbox.billing.voiding import void
from sandbox.http.errors import bad_request, unsupported_param
from sandbox.http.fields import merged_metadata, set_fields
from sandbox.http.routes import Context, Route
from sandbox.objects.coupons import redeem
from sandbox.store import Obj, copy
from sandbox.subscriptions.creation import GONE, check_collection, check_trial_end, set_settings
from sandbox.subscriptions.item_changes import Change, read
from sandbox.subscriptions.repricing import Dues, Terms, cycle_of, reprice
from sandbox.subscriptions.standing import DELETED, UPDATED, drop_pending
from sandbox.world import World

PENDING_UPDATE_S = 23 * 3600
_LATER = {  # what `pending_if_incomplete` may come with; the rest is refused by Stripe
    "expand", "items", "payment_behavior", "proration_behavior", "proration_date",
    "billing_cycle_anchor", "trial_end", "trial_from_plan", "metadata", "discounts",
    "cancel_at_period_end", "off_session",
}  # fmt: skip
_DEAD = {"metadata", "cancellation_details", "expand"}


@dataclass(frozen=True)
class Update:
    """A request to change a subscription, as the pieces below need it."""

    ctx: Context
    params: dict[str, Any]
    now: int

    @property
    def proration(self) -> str:
        """The proration behaviour, Stripe's default included."""
        return str(self.params.get("proration_behavior", "create_prorations"))

    @property
    def behavior(self) -> str:
        """The payment behaviour, Stripe's default included."""
        return str(self.params.get("payment_behavior", "allow_incomplete"))


def update(ctx: Context) -> Obj:
    """`POST /v1/subscriptions/:id`."""
    return change(ctx, ctx.the("subscription"), ctx.params)


def change(ctx: Context, before: Obj, params: dict[str, Any]) -> Obj:
    """Apply an update, money included; returns the stored subscription."""
    _subscription, invoice = propose(ctx, before, params)
    if invoice is not None:
        _charge(Update(ctx, params, ctx.world.now_of(before)), before, invoice)
    return ctx.world.store.need("subscription", before["id"])


def propose(ctx: Context, before: Obj, params: dict[str, Any]) -> tuple[Obj, Obj | None]:
    """Everything but the charge: the changed subscription and its draft, if one is due now."""
    world = ctx.world
    subscription = world.store.edit("subscription", before["id"])
    request = Update(ctx, params, world.now_of(before))
    _refuse(before, request)
    drops = drop_pending(subscription) if before.get("_pending") and _reprices(params) else None
    if drops:
        void(world, drops, request.now)
    _settings(request, subscription)
    dues = _dues(request, subscription, params)
    invoice = _bill(request, before, subscription, dues)
    if subscription != before:
        over = subscription["status"] == "canceled" != before["status"]
        world.store.put(subscription, DELETED if over else UPDATED)
    return subscription, invoice


def _reprices(params: dict[str, Any]) -> bool:
    return bool({"items", "billing_cycle_anchor", "trial_end"} & set(params))


def _refuse(subscription: Obj, request: Update) -> None:
    params = request.params
    if subscription["status"] in GONE and not set(params) <= _DEAD:
        raise bad_request(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="invalid_canceled_subscription_fields",
        )
    check_trial_end(params.get("trial_end"), request.now)
    if request.behavior == "pending_if_incomplete":
        for name in params:
            if name not in _LATER:
                raise bad_request(
                    f"You can't set `{name}` with `payment_behavior=pending_if_incomplete`.",
                    name,
                )
        if subscription["collection_method"] != "charge_automatically":
            raise bad_request(
                "`payment_behavior=pending_if_incomplete` needs automatic collection.",
                "payment_behavior",
            )
    _refuse_date(subscription, request)


def _refuse_date(subscription: Obj, request: Update) -> None:
    date = request.params.get("proration_date")
    if date is None:
        return
    if request.proration == "none":
        raise bad_request(
            "You cannot pass `proration_date` when `proration_behavior` is `none`.",
            "proration_date",
        )
    start = min(item["current_period_start"] for item in subscription["items"])
    end = max(item["current_period_end"] for item in subscription["items"])
    if not start <= date <= end:
        raise bad_request(
            "Invalid proration_date: it must lie within the subscription's current period.",
            "proration_date",
        )


def _settings(request: Update, subscription: Obj) -> None:
    params, world = request.params, request.ctx.world
    set_settings(request.ctx, subscription, params)
    if subscription["status"] not in GONE:
        check_collection(subscription, params)
    if "cancellation_details" in params:
        set_fields(
            subscription["cancellation_details"],
            params["cancellation_details"],
            "comment feedback",
        )
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = (
            {"behavior": pause["behavior"], "resumes_at": pause.get("resumes_at")}
            if pause
            else None
        )
    if "discounts" in params:
        subscription["discounts"] = redeem(
            world,
            params["discounts"],
            subscription["customer"],
            subscription["id"],
            request.now,
        )
    _cancellation(subscription, request)


def _cancellation(subscription: Obj, request: Update) -> None:
    """`cancel_at_period_end` and `cancel_at`: the wish to end, and taking it back.

    A moment inside a period would prorate when it comes; that is not implemented, so refused.
    """
    params = request.params
    if "cancel_at_period_end" not in params and "cancel_at" not in params:
        return
    ends = [item["current_period_end"] for item in subscription["items"]]
    at = params.get("cancel_at")
    named = {"min_period_end": min(ends), "max_period_end": max(ends)}
    cancel_at = named.get(at, at) if isinstance(at, str) else at
    at_end = bool(params.get("cancel_at_period_end"))
    if at_end and cancel_at:
        raise bad_request("You cannot set both `cancel_at` and `cancel_at_period_end`.")
    within = cancel_at and cancel_at not in ends
    if within and (cancel_at > max(ends) or request.proration != "none"):
        raise unsupported_param("cancel_at")
    if at_end:
        cancel_at = subscription["trial_end"] if subscription["status"] == "trialing" else max(ends)
    subscription["cancel_at_period_end"] = at_end
    subscription["cancel_at"] = cancel_at or None
    subscription["canceled_at"] = request.now if cancel_at else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if cancel_at else None


def _dues(request: Update, subscription: Obj, params: dict[str, Any]) -> Dues:
    world, now = request.ctx.world, request.now
    trial_end = params.get("trial_end")
    if trial_end == "now" and subscription["status"] == "trialing":
        return _end_trial(request, subscription)
    if isinstance(trial_end, int):
        return _new_trial(request, subscription, trial_end)
    anchor = params.get("billing_cycle_anchor")
    reset = anchor == "now" or (isinstance(anchor, dict) and anchor.get("type") == "now")
    if "items" not in params and not reset:
        return Dues()
    changes = read(request.ctx, subscription, params.get("items") or [], now)
    terms = Terms(
        at=params.get("proration_date", now),
        now=now,
        prorate=request.proration != "none",
        reset_anchor=reset,
    )
    return reprice(world, subscription, changes, terms)


def _end_trial(request: Update, subscription: Obj) -> Dues:
    """The trial is over now: what follows depends on whether anyone can pay."""
    world, now = request.ctx.world, request.now
    changes = read(request.ctx, subscription, request.params.get("items") or [], now)
    subscription["items"] = [c.after for c in changes if c.after is not None]
    return end_trial(world, subscription, now)


def end_trial(world: World, subscription: Obj, now: int) -> Dues:
    """Move a trialing subscription on; recorded: `trial_end` becomes the second before."""
    subscription["trial_end"] = now - 1
    subscription["billing_cycle_anchor"] = now
    subscription.pop("_trial_notice", None)
    fate = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if fate != "create_invoice" and _nobody_pays(world, subscription):
        for item in subscription["items"]:
            item["current_period_end"] = now
        subscription["status"] = "paused" if fate == "pause" else "canceled"
        if fate == "cancel":
            subscription.update(canceled_at=now, ended_at=now)
        return Dues()
    subscription["status"] = "active"
    restart(world, subscription, now)
    return Dues(whole=list(subscription["items"]))


def restart(world: World, subscription: Obj, now: int) -> None:
    """Begin every item's period now."""
    for item in subscription["items"]:
        start, end = period_at(now, *cycle_of(world, item), now)
        item["current_period_start"], item["current_period_end"] = start, end


def _nobody_pays(world: World, subscription: Obj) -> bool:
    customer = world.store.need("customer", subscription["customer"])
    return (
        subscription["collection_method"] == "charge_automatically"
        and not subscription["default_payment_method"]
        and not customer["invoice_settings"]["default_payment_method"]
    )


def _new_trial(request: Update, subscription: Obj, trial_end: int) -> Dues:
    """A trial that starts, or ends later: paid time that is given back is credited."""
    world, now = request.ctx.world, request.now
    changes = read(request.ctx, subscription, request.params.get("items") or [], now)
    dues = Dues()
    if subscription["status"] != "trialing":
        gone = [Change(change.before, None) for change in changes if change.before]
        terms = Terms(
            at=request.params.get("proration_date", now),
            now=now,
            prorate=request.proration != "none",
            reset_anchor=False,
        )
        dues = reprice(world, subscription, gone, terms)
        subscription["trial_start"] = now
    subscription["items"] = [c.after for c in changes if c.after is not None]
    subscription.update(status="trialing", trial_end=trial_end, billing_cycle_anchor=trial_end)
    for item in subscription["items"]:
        item["current_period_start"] = subscription["trial_start"]
        item["current_period_end"] = trial_end
        item["_debits"] = []
    return dues


def _bill(request: Update, before: Obj, subscription: Obj, dues: Dues) -> Obj | None:
    """Store prorations; an invoice when they are wanted now or whole periods are due."""
    world = request.ctx.world
    for item in dues.prorations:
        world.store.put(item, "invoiceitem.created")
    at_once = request.proration == "always_invoice" and dues.prorations
    if not at_once and not dues.whole:
        return None
    return bill(
        world,
        subscription,
        "subscription_update",
        request.now,
        pending=pending(world, subscription["customer"], subscription["id"]),
        whole=dues.whole,
        period=(min(i["current_period_start"] for i in before["items"]), request.now),
    )


def _charge(request: Update, before: Obj, invoice: Obj) -> None:
    world = request.ctx.world
    if hold_if_paused(world, before, invoice, request.now):
        return
    outcome = collect(world, copy(invoice), request.now, request.behavior)
    if outcome.result == "paid":
        return
    if request.behavior == "pending_if_incomplete":
        _postpone(request, before, invoice["id"])
    elif request.behavior == "default_incomplete":
        _past_due(world, before["id"])
    elif outcome == Attempt("no_method"):
        raise refusal(outcome, default_method(world, invoice))


def hold_if_paused(world: World, subscription: Obj, invoice: Obj, now: int) -> bool:
    """While collection is paused, invoices stay drafts, are voided, or written off."""
    pause = subscription["pause_collection"]
    if not pause:
        return False
    held = {**invoice, "auto_advance": False, "next_payment_attempt": None}
    held["automatically_finalizes_at"] = None
    world.store.put(held, "invoice.updated")
    if pause["behavior"] != "keep_as_draft":
        void(world, held["id"], now, uncollectible=pause["behavior"] == "mark_uncollectible")
    return True


def _past_due(world: World, subscription_id: str) -> None:
    subscription = world.store.edit("subscription", subscription_id)
    subscription["status"] = "past_due"
    world.store.put(subscription, UPDATED)


def _postpone(request: Update, before: Obj, invoice_id: str) -> None:
    """Put the old state back; keep the new one until the invoice is paid or a day is over."""
    world, params = request.ctx.world, request.params
    after = world.store.need("subscription", before["id"])
    waiting = copy(before)
    waiting["latest_invoice"] = invoice_id
    waiting["_pending"] = {
        "invoice": invoice_id,
        "after": {name: after[name] for name in _kept_for_later(params)},
        **({"metadata": params["metadata"]} if "metadata" in params else {}),
    }
    moved = after["billing_cycle_anchor"] != before["billing_cycle_anchor"]
    waiting["pending_update"] = {
        "billing_cycle_anchor": after["billing_cycle_anchor"] if moved else None,
        "expires_at": request.now + PENDING_UPDATE_S,
        "subscription_items": after["items"] if "items" in params else None,
        "trial_end": after["trial_end"] if "trial_end" in params else None,
        "trial_from_plan": None,
    }
    if "metadata" in params:
        merged = merged_metadata(before["metadata"], params["metadata"])
        waiting["pending_update"]["metadata"] = merged
    world.store.put(waiting, UPDATED)


def _kept_for_later(params: dict[str, Any]) -> list[str]:
    """The fields that a postponed update will set; others may change in the meantime."""
    by_param = {
        "items": ["items"],
        "billing_cycle_anchor": ["items", "billing_cycle_anchor"],
        "trial_end": ["items", "billing_cycle_anchor", "trial_start", "trial_end"],
        "discounts": ["discounts"],
        "cancel_at_period_end": ["cancel_at_period_end", "cancel_at", "canceled_at"],
    }
    return [name for param, names in by_param.items() if param in params for name in names]


_ACCEPTS = (
    "items billing_cycle_anchor cancel_at cancel_at_period_end cancellation_details "
    "collection_method days_until_due default_payment_method default_tax_rates description "
    "discounts metadata off_session pause_collection payment_behavior payment_settings "
    "proration_behavior proration_date trial_end trial_settings"
)
ROUTES = (Route("POST", "/v1/subscriptions/:id", update, "SubscriptionUpdateParams", _ACCEPTS),)
