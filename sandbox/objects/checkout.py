"""Checkout sessions for subscriptions: the page a buyer pays on, without the page.

`POST /_sandbox/checkout/:id/complete` stands for the buyer who fills in a card and pays. Other
modes than `subscription` are not here.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from sandbox.billing.proration import half_up, line_amount
from sandbox.http.errors import ApiError, bad_request, missing_param
from sandbox.http.fields import merged_metadata
from sandbox.http.listing import list_page, page_of
from sandbox.http.render import list_of, show
from sandbox.http.routes import Context, Route
from sandbox.objects import customers
from sandbox.objects.payment_methods import attach_to
from sandbox.store import Obj, Row, peek
from sandbox.subscriptions import creation
from sandbox.world import World

NAME = "checkout.session"
OPEN_S = 24 * 3600
_ACCEPTS = (
    "cancel_url client_reference_id customer customer_email line_items metadata mode "
    "payment_method_types subscription_data success_url"
)


def create(ctx: Context) -> Obj:
    """`POST /v1/checkout/sessions`, mode `subscription` only."""
    params = ctx.params
    if params.get("mode") != "subscription":
        raise bad_request("The sandbox has checkout sessions of mode subscription only.", "mode")
    for name in ("line_items", "success_url"):
        if not params.get(name):
            raise missing_param(name)
    if "customer" in params and "customer_email" in params:
        raise bad_request("You may only specify one of these parameters: customer, customer_email.")
    customer = params.get("customer")
    if customer is not None:
        ctx.named("customer", customer, param="customer", status=400)
    items = [_item(ctx, index, item) for index, item in enumerate(params["line_items"])]
    session = _blank(ctx, items)
    session["metadata"] = merged_metadata({}, params.get("metadata", {}))
    return ctx.world.store.put(session)


def _item(ctx: Context, index: int, item: dict[str, Any]) -> Obj:
    path = f"line_items[{index}]"
    if "price" not in item:
        raise missing_param(f"{path}[price]")
    price = ctx.named("price", item["price"], param=f"{path}[price]", status=400)
    if price["recurring"] is None:
        raise bad_request(
            "You must provide at least one recurring price in `subscription` mode.", path
        )
    quantity = item.get("quantity", 1)
    amount_minor = half_up(line_amount(price, quantity))
    return {
        "id": f"li_1{secrets.token_hex(11)}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount_minor,
        "amount_tax": 0,
        "amount_total": amount_minor,
        "currency": price["currency"],
        "description": ctx.world.store.need("product", price["product"])["name"],
        "price": price["id"],
        "quantity": quantity,
    }


def _blank(ctx: Context, items: list[Obj]) -> Obj:
    params = ctx.params
    now = ctx.world.clock.now()
    total_minor = sum(item["amount_total"] for item in items)
    session_id = ctx.world.store.new_id(NAME)
    trial = bool({"trial_end", "trial_period_days"} & set(params.get("subscription_data", {})))
    return {
        "id": session_id,
        "object": NAME,
        "allow_promotion_codes": None,
        "amount_subtotal": 0 if trial else total_minor,
        "amount_total": 0 if trial else total_minor,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None},
        "billing_address_collection": None,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": items[0]["currency"],
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": params.get("customer"),
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "expires_at": now + OPEN_S,
        "invoice": None,
        "livemode": False,
        "locale": None,
        "metadata": {},
        "mode": "subscription",
        "payment_intent": None,
        "payment_method_collection": "always",
        "payment_method_types": params.get("payment_method_types", ["card"]),
        "payment_status": "unpaid",
        "setup_intent": None,
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "success_url": params["success_url"],
        "ui_mode": "hosted_page",
        "url": f"https://checkout.stripe.com/c/pay/{session_id}",
        "_items": items,
        "_subscription_data": params.get("subscription_data", {}),
    }


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/checkout/sessions/:id`."""
    return _the(ctx)


def list_sessions(ctx: Context) -> Obj | bytes:
    """`GET /v1/checkout/sessions`, by customer, subscription and status."""
    wanted = {
        name: ctx.params[name]
        for name in ("customer", "status", "subscription")
        if name in ctx.params
    }

    def keep(row: Row) -> bool:
        return all(peek(row, name) == value for name, value in wanted.items())

    return list_page(ctx, NAME, keep=keep)


def line_items(ctx: Context) -> Obj:
    """`GET /v1/checkout/sessions/:id/line_items`."""
    data = _shown_items(ctx.world, _the(ctx))
    return page_of(ctx, data, ctx.request.path, "line item")


def included_items(world: World, session: Obj) -> Obj:
    """`line_items`, which a session shows only when `expand` asks for them."""
    stored = world.store.need(NAME, session["id"])
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return list_of(_shown_items(world, stored), url)


def expire(ctx: Context) -> Obj:
    """`POST /v1/checkout/sessions/:id/expire`; paid or over, it is refused in Stripe's words."""
    session = ctx.world.store.edit(NAME, _the(ctx)["id"])
    if session["status"] != "open":
        raise bad_request(
            'Only Checkout Sessions with a status in ["open"] can be expired. '
            f"This Checkout Session has a status of `{session['status']}`."
        )
    session.update(status="expired", url=None, expires_at=ctx.world.clock.now())
    return ctx.world.store.put(session, f"{NAME}.expired")


def complete(ctx: Context) -> Obj:
    """`POST /_sandbox/checkout/:id/complete`: the buyer pays with `card` (visa)."""
    session = _edit_open(ctx)
    email = ctx.params.get("email") or session["customer_email"] or "buyer@example.com"
    customer_id = session["customer"]
    if customer_id is None:
        customer_id = customers.create(replace(ctx, params={"email": email}))["id"]
    method = attach_to(ctx, f"pm_card_{ctx.params.get('card', 'visa')}", customer_id)
    bought = creation.create(
        replace(
            ctx,
            params={
                **session["_subscription_data"],
                "customer": customer_id,
                "default_payment_method": method["id"],
                "items": [
                    {"price": item["price"], "quantity": item["quantity"]}
                    for item in session["_items"]
                ],
            },
        )
    )
    if bought["status"] not in ("active", "trialing"):
        raise ApiError(402, "Your card was declined.", type="card_error", code="card_declined")
    customer = ctx.world.store.need("customer", customer_id)
    session.update(
        customer=customer_id,
        customer_details={
            "address": None,
            "email": customer["email"] or email,
            "name": customer["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": None,
        },
        invoice=bought["latest_invoice"],
        payment_status="paid" if session["amount_total"] else "no_payment_required",
        status="complete",
        subscription=bought["id"],
        url=None,
    )
    return ctx.world.store.put(session, f"{NAME}.completed")


def _the(ctx: Context) -> Obj:
    return ctx.the(NAME, what="checkout.session")


def _edit_open(ctx: Context) -> Obj:
    session = ctx.world.store.edit(NAME, _the(ctx)["id"])
    if session["status"] != "open":
        raise bad_request(f"This checkout session is {session['status']}, not open.")
    return session


def _shown_items(world: World, session: Obj) -> list[Obj]:
    return [
        {**item, "price": show(world, world.store.need("price", item["price"]))}
        for item in session["_items"]
    ]


_SESSIONS = "/v1/checkout/sessions"
_ONE = f"{_SESSIONS}/:id"
ROUTES = (
    Route("POST", _SESSIONS, create, "checkout.SessionCreateParams", _ACCEPTS),
    Route("GET", _SESSIONS, list_sessions, "checkout.SessionListParams"),
    Route("GET", _ONE, retrieve, "checkout.SessionRetrieveParams"),
    Route("GET", f"{_ONE}/line_items", line_items, "checkout.SessionListLineItemsParams"),
    Route("POST", f"{_ONE}/expire", expire, "checkout.SessionExpireParams"),
    Route("POST", "/_sandbox/checkout/:id/complete", complete, raw=True),
)
INCLUDES = {f"{NAME}.line_items": included_items}
