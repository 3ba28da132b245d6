"""Subscriptions: creating, reading, listing. Changing is `subscription_update`."""

from __future__ import annotations

from typing import Any

from sandbox.billing.collect import bill, collect, refusal
from sandbox.billing.invoice import cycle_line, trial_line
from sandbox.billing.payments import Attempt
from sandbox.billing.prorate import short_line
from sandbox.billing.proration import add_intervals
from sandbox.http.errors import bad_request, missing_param
from sandbox.http.fields import set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.render import list_of, show
from sandbox.http.routes import Context, Route
from sandbox.objects.coupons import redeem
from sandbox.objects.setup_intents import pending_setup
from sandbox.store import Obj, Row, copy, peek
from sandbox.subscriptions.item_changes import known_tax_rates, read
from sandbox.subscriptions.renewal import advance_later
from sandbox.world import World

DAY_S = 86400
TRIAL_NOTICE_S = 3 * DAY_S
GONE = ("canceled", "incomplete_expired")


def create(ctx: Context) -> Obj:
    """`POST /v1/subscriptions`: bills the first period at once, or starts a trial."""
    subscription, invoice = propose(ctx, ctx.params)
    if invoice is not None and subscription["collection_method"] == "send_invoice":
        advance_later(ctx.world, invoice)
    elif invoice is not None:
        now = ctx.world.now_of(subscription)
        behavior = ctx.params.get("payment_behavior", "allow_incomplete")
        outcome = collect(ctx.world, copy(invoice), now, behavior)
        if outcome == Attempt("no_method"):
            raise refusal(outcome, None)
    return ctx.world.store.need("subscription", subscription["id"])


def propose(ctx: Context, params: dict[str, Any]) -> tuple[Obj, Obj | None]:
    """Everything but the charge: the stored subscription and its first draft, if any."""
    world = ctx.world
    if "customer" not in params:
        raise missing_param("customer")
    customer = ctx.named("customer", params["customer"], param="customer")
    if not params.get("items"):
        raise missing_param("items")
    now = world.now_of(customer)
    _check_create(params, now)
    subscription = _blank(ctx, customer, params, now)
    _fill(ctx, subscription, customer, params)
    trial_end = _trial_end(world, subscription, params, now)
    anchor = trial_end or params.get("billing_cycle_anchor") or now
    subscription["billing_cycle_anchor"] = anchor
    if not trial_end:
        _check_anchor(world, subscription, anchor, now)
    for item in subscription["items"]:
        item["current_period_start"] = now
        item["current_period_end"] = anchor if anchor > now else _cycle_end(world, item, now)
    _cancel_at_end(subscription)
    if trial_end:
        return _start_trial(world, subscription, trial_end, now)
    return _start_paid(world, subscription, anchor, params.get("proration_behavior"))


def _check_create(params: dict[str, Any], now: int) -> None:
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise bad_request(
            "Setting `payment_behavior` to `pending_if_incomplete` has no effect when creating "
            "a subscription.",
            "payment_behavior",
        )
    if params.get("trial_from_plan") and {"trial_end", "trial_period_days"} & set(params):
        raise bad_request(
            "You cannot set `trial_end` or `trial_period_days` when `trial_from_plan=true`."
        )
    check_trial_end(params.get("trial_end"), now)
    if params.get("billing_cycle_anchor", now) < now:
        raise bad_request("billing_cycle_anchor cannot be in the past.", "billing_cycle_anchor")


def _check_anchor(world: World, subscription: Obj, anchor: int, now: int) -> None:
    """A first period is at most a whole one."""
    latest = min(_cycle_end(world, item, now) for item in subscription["items"])
    if anchor > latest:
        raise bad_request(
            f"billing_cycle_anchor cannot be later than next natural billing date ({latest}) for "
            "plan",
            "billing_cycle_anchor",
        )


def check_trial_end(trial_end: Any, now: int) -> None:
    """A trial ends in the future, or `now`."""
    if isinstance(trial_end, int) and trial_end <= now:
        raise bad_request(
            "The parameter `trial_end` expects a unix timestamp representing a date and time in "
            f"the future. The timestamp you passed, `{trial_end}`, is in the past.",
            "trial_end",
        )


def check_collection(subscription: Obj, params: dict[str, Any]) -> None:
    """`days_until_due` belongs to invoices that are sent."""
    sends = subscription["collection_method"] == "send_invoice"
    if "days_until_due" in params and not sends:
        raise bad_request(
            "You can only specify 'days_until_due' if invoice collection method is 'send_invoice'."
        )
    if sends and subscription["days_until_due"] is None:
        raise bad_request(
            "If invoice collection method is 'send_invoice', you must specify 'days_until_due'."
        )


def blank_subscription(
    subscription_id: str, customer_id: str, now: int, *, test_clock: str | None
) -> Obj:
    """An active subscription without items, in flexible mode; not stored."""
    return {
        "id": subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": now,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": None,
        "customer": customer_id,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": [],
        "latest_invoice": None,
        "livemode": False,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "active",
        "test_clock": test_clock,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def _blank(ctx: Context, customer: Obj, params: dict[str, Any], now: int) -> Obj:
    blank = blank_subscription(
        ctx.world.store.new_id("subscription"),
        customer["id"],
        now,
        test_clock=customer["test_clock"],
    )
    if (params.get("billing_mode") or {}).get("type") == "classic":
        blank["billing_mode"] = {"flexible": None, "type": "classic", "updated_at": now}
    blank["currency"] = (params.get("currency") or "").lower() or None
    return blank


def _fill(ctx: Context, subscription: Obj, customer: Obj, params: dict[str, Any]) -> None:
    now = subscription["created"]
    set_settings(ctx, subscription, params)
    check_collection(subscription, params)
    changes = read(ctx, subscription, params["items"], now)
    subscription["items"] = [change.after for change in changes]
    if customer["currency"] not in (None, subscription["currency"]):
        raise bad_request(
            "You cannot combine currencies on a single customer. This customer has an active "
            "subscription, subscription schedule, discount, quote, or invoice item with "
            f"currency {customer['currency']}"
        )
    subscription["discounts"] = redeem(
        ctx.world, params.get("discounts"), customer["id"], subscription["id"], now
    )
    if params.get("cancel_at_period_end"):
        subscription["cancel_at_period_end"] = True


def set_settings(ctx: Context, subscription: Obj, params: dict[str, Any]) -> None:
    """Fields that change nothing about money by themselves; shared with updates."""
    set_fields(subscription, params, "description days_until_due collection_method")
    set_metadata(subscription, params)
    method_id = params.get("default_payment_method")
    if method_id:
        method = ctx.named(
            "payment_method",
            method_id,
            what="PaymentMethod",
            param="default_payment_method",
            status=400,
        )
        if method["customer"] != subscription["customer"]:
            raise bad_request(
                f"The customer does not have a payment method with the ID {method_id}. The "
                "payment method must be attached to the customer.",
                "default_payment_method",
                "resource_missing",
            )
    if method_id is not None:
        subscription["default_payment_method"] = method_id or None
    if "default_tax_rates" in params:
        subscription["default_tax_rates"] = known_tax_rates(
            ctx, params["default_tax_rates"], "default_tax_rates"
        )
    for name in ("payment_settings", "trial_settings"):
        if name in params:
            subscription[name] = {**subscription[name], **params[name]}


def _trial_end(world: World, subscription: Obj, params: dict[str, Any], now: int) -> int | None:
    days = params.get("trial_period_days")
    if params.get("trial_from_plan"):
        prices = [world.store.need("price", i["price"]) for i in subscription["items"]]
        days = max((p["recurring"]["trial_period_days"] or 0 for p in prices), default=0)
    end = params.get("trial_end")
    if end == "now":
        return None
    return end or (now + days * DAY_S if days else None)


def _cycle_end(world: World, item: Obj, now: int) -> int:
    recurring = world.store.need("price", item["price"])["recurring"]
    return add_intervals(now, recurring["interval"], recurring["interval_count"])


def _start_trial(world: World, subscription: Obj, trial_end: int, now: int) -> tuple[Obj, Obj]:
    subscription.update(status="trialing", trial_start=now, trial_end=trial_end)
    subscription["pending_setup_intent"] = pending_setup(world, subscription, now)
    invoice = bill(
        world,
        subscription,
        "subscription_create",
        now,
        whole=subscription["items"],
        line=trial_line,
    )
    events = ["customer.subscription.created"]
    if trial_end - now <= TRIAL_NOTICE_S:
        events.append("customer.subscription.trial_will_end")
        subscription["_trial_notice"] = True
    return world.store.put(subscription, *events), invoice


def _cancel_at_end(subscription: Obj) -> None:
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = max(i["current_period_end"] for i in subscription["items"])
        subscription["canceled_at"] = subscription["created"]
        subscription["cancellation_details"]["reason"] = "cancellation_requested"


def _start_paid(
    world: World, subscription: Obj, anchor: int, proration: str | None
) -> tuple[Obj, Obj | None]:
    now = subscription["created"]
    if anchor > now and proration == "none":
        return world.store.put(subscription, "customer.subscription.created"), None
    invoice = bill(
        world,
        subscription,
        "subscription_create",
        now,
        whole=subscription["items"],
        line=short_line if anchor > now else cycle_line,
    )
    charged = subscription["collection_method"] == "charge_automatically"
    if charged and invoice["amount_due"] > 0:
        subscription["status"] = "incomplete"
    return world.store.put(subscription, "customer.subscription.created"), invoice


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/subscriptions/:id`: canceled ones too."""
    return ctx.the("subscription")


def list_subscriptions(ctx: Context) -> Obj | bytes:
    """`GET /v1/subscriptions`: without canceled ones and without test clocks unless asked."""
    params = ctx.params
    status, customer = params.get("status"), params.get("customer")
    clock_id, price, method = (
        params.get("test_clock"),
        params.get("price") or params.get("plan"),
        params.get("collection_method"),
    )

    def keep(row: Row) -> bool:
        now_status = peek(row, "status")
        if status == "ended":
            wanted = now_status in GONE
        elif status is None:
            wanted = now_status != "canceled"
        else:
            wanted = status in ("all", now_status)
        return (
            wanted
            and (customer is not None or peek(row, "test_clock") == clock_id)
            and (method is None or peek(row, "collection_method") == method)
            and (price is None or any(i["price"] == price for i in peek(row, "items")))
        )

    if customer is not None:
        ctx.named("customer", customer, param="customer", status=400)
    by = ("customer", customer) if customer is not None else None
    return list_page(ctx, "subscription", by=by, keep=keep)


_ACCEPTS = (
    "customer items billing_cycle_anchor billing_mode cancel_at_period_end collection_method "
    "currency days_until_due default_payment_method default_tax_rates description discounts "
    "metadata off_session payment_behavior payment_settings proration_behavior trial_end "
    "trial_from_plan trial_period_days trial_settings"
)


def subscriptions_of(world: World, customer: Obj) -> Obj:
    """`customer.subscriptions`, shown only when it is expanded: those that are not over."""
    found = world.store.all("subscription", ("customer", customer["id"]))
    data = [show(world, one) for one in found if one["status"] not in GONE]
    return list_of(data[::-1], f"/v1/customers/{customer['id']}/subscriptions")


INCLUDES = {"customer.subscriptions": subscriptions_of}
ROUTES = (
    Route("POST", "/v1/subscriptions", create, "SubscriptionCreateParams", _ACCEPTS),
    Route(
        "GET",
        "/v1/subscriptions",
        list_subscriptions,
        "SubscriptionListParams",
        "customer status price plan collection_method test_clock created limit starting_after "
        "ending_before",
    ),
    Route("GET", "/v1/subscriptions/:id", retrieve, "SubscriptionRetrieveParams"),
)
