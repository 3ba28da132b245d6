"""Customers: who pays."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.http.errors import bad_request
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.objects.balance import move_balance
from sandbox.objects.payment_methods import attach_to, materialised
from sandbox.store import Obj, Row, peek
from sandbox.subscriptions.cancel import cancel_now
from sandbox.subscriptions.creation import GONE
from sandbox.world import World

_PLAIN = "email name phone description preferred_locales business_name individual_name"
_ACCEPTS = (
    f"{_PLAIN} address shipping balance invoice_prefix invoice_settings metadata "
    "next_invoice_sequence tax_exempt"
)


def create(ctx: Context) -> Obj:
    """`POST /v1/customers`."""
    params = ctx.params
    clock_id = params.get("test_clock")
    if clock_id is not None:
        ctx.named("test_helpers.test_clock", clock_id, what="test clock", param="test_clock")
    customer = blank_customer(ctx.world.store.new_id("customer"), ctx.world.now(clock_id), clock_id)
    method = _card_of_creation(ctx, params)
    _fill(ctx.world, customer, params)
    if method is not None and method["_default"]:
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    ctx.world.store.put(customer, "customer.created")
    if method is not None:
        attach_to(ctx, method["id"], customer["id"], param="payment_method")
    return ctx.world.store.need("customer", customer["id"])


def blank_customer(customer_id: str, now: int, clock_id: str | None) -> Obj:
    """A customer of whom nothing is known; not stored."""
    return {
        "id": customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": secrets.token_hex(4).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": clock_id,
    }


def _card_of_creation(ctx: Context, params: dict[str, Any]) -> Obj | None:
    """The card a customer comes with; `_default` tells whether it also pays the invoices.

    A legacy source (`tok_visa`) becomes a payment method: there are no sources here.
    """
    source = params.pop("source", None)
    given = params.get("payment_method") or (source and f"pm_card_{source.removeprefix('tok_')}")
    if not given:
        return None
    settings = params.get("invoice_settings") or {}
    default = source is not None or settings.get("default_payment_method") == given
    if settings.get("default_payment_method") == given:
        del settings["default_payment_method"]
    return {**materialised(ctx, given, "payment_method"), "_default": default}


def update(ctx: Context) -> Obj:
    """`POST /v1/customers/:id`."""
    before = ctx.the("customer")
    customer = ctx.world.store.edit("customer", before["id"])
    _fill(ctx.world, customer, ctx.params)
    if changed(before, customer):
        ctx.world.store.put(customer, "customer.updated")
    return customer


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/customers/:id`; a deleted one still answers, as deleted."""
    table = ctx.world.store.tables["customer"]
    customer_id = ctx.args["id"]
    if customer_id in table.place and customer_id not in table.rows:
        return {"id": customer_id, "object": "customer", "deleted": True}
    return ctx.the("customer")


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/customers/:id`: its subscriptions end with it."""
    customer, store = ctx.the("customer"), ctx.world.store
    now = ctx.world.now_of(customer)
    for one in list(store.all("subscription", ("customer", customer["id"]))):
        if one["status"] not in GONE:
            cancel_now(ctx.world, one["id"], now, "cancellation_requested")
    for method in list(store.all("payment_method", ("customer", customer["id"]))):
        store.put({**method, "customer": None}, "payment_method.detached")
    store.delete("customer", customer["id"], "customer.deleted")
    return {"id": customer["id"], "object": "customer", "deleted": True}


def list_customers(ctx: Context) -> Obj | bytes:
    """`GET /v1/customers`; those of test clocks only when asked for by their clock."""
    email, clock_id = ctx.params.get("email"), ctx.params.get("test_clock")

    def keep(row: Row) -> bool:
        return bool(peek(row, "test_clock") == clock_id)

    by = ("email", email) if email is not None else None
    return list_page(ctx, "customer", by=by, keep=keep)


def _fill(world: World, customer: Obj, params: dict[str, Any]) -> None:
    set_fields(customer, params, f"{_PLAIN} address shipping invoice_prefix tax_exempt")
    set_metadata(customer, params)
    if "next_invoice_sequence" in params:
        customer["next_invoice_sequence"] = params["next_invoice_sequence"]
    settings = params.get("invoice_settings")
    if settings is not None:
        set_fields(
            customer["invoice_settings"],
            settings,
            "custom_fields default_payment_method footer rendering_options",
        )
        _check_default(world, customer, settings.get("default_payment_method"))
    if "balance" in params and params["balance"] != customer["balance"]:
        _adjust_balance(world, customer, params["balance"])


def _check_default(world: World, customer: Obj, method_id: Any) -> None:
    if not method_id:
        return
    method = world.store.get("payment_method", method_id)
    if method is None or method["customer"] != customer["id"]:
        raise bad_request(
            "The customer does not have a payment method with the ID "
            f"{method_id}. The payment method must be attached to the customer.",
            "invoice_settings[default_payment_method]",
            "resource_missing",
        )


def _adjust_balance(world: World, customer: Obj, target_minor: int) -> None:
    if customer["currency"] is None:
        customer["currency"] = "usd"
    move_balance(world, customer, target_minor - customer["balance"], "adjustment")


_ONE = "/v1/customers/:id"
ROUTES = (
    Route(
        "POST",
        "/v1/customers",
        create,
        "CustomerCreateParams",
        f"{_ACCEPTS} payment_method source test_clock",
    ),
    Route("GET", "/v1/customers", list_customers, "CustomerListParams"),
    Route("GET", _ONE, retrieve, "CustomerRetrieveParams"),
    Route("POST", _ONE, update, "CustomerUpdateParams", _ACCEPTS),
    Route("DELETE", _ONE, delete, "CustomerDeleteParams"),
)
