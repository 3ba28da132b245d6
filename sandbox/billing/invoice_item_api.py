"""`/v1/invoiceitems`: what people add to a customer's next invoice by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from sandbox.billing.invoice_edit import add_item, drop_item, refresh_item
from sandbox.billing.invoice_items import new_item, parent_of, pricing_of
from sandbox.billing.proration import half_up, line_amount
from sandbox.http.errors import bad_request, missing_param, no_such
from sandbox.http.fields import set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.objects.catalog import new_product, price_from_data
from sandbox.store import Obj, Row, peek

_AMOUNTS = "prod_1sandboxamounts"


def create(ctx: Context) -> Obj:
    """`POST /v1/invoiceitems`: an amount, or a price and a quantity."""
    params = ctx.params
    if "customer" not in params:
        raise missing_param("customer")
    customer = ctx.named("customer", params["customer"], param="customer", status=400)
    now = ctx.world.now_of(customer)
    item = new_item(ctx.world, customer, amount=0, currency="usd", now=now)
    _fill(ctx, item, params)
    if params.get("subscription"):
        found = ctx.named("subscription", params["subscription"], param="subscription", status=400)
        item["_subscription"] = found["id"]
        item["parent"] = parent_of(found["id"], None)
    ctx.world.store.put(item, "invoiceitem.created")
    invoice_id = params.get("invoice")
    if invoice_id:
        add_item(ctx.world, ctx.named("invoice", invoice_id, param="invoice"), item["id"])
    return ctx.world.store.need("invoiceitem", item["id"])


def _fill(ctx: Context, item: Obj, params: dict[str, Any]) -> None:
    set_fields(item, params, "description discountable")
    set_metadata(item, params)
    if "period" in params:
        item["period"] = {"end": params["period"]["end"], "start": params["period"]["start"]}
    item["quantity"] = params.get("quantity", item["quantity"])
    item["quantity_decimal"] = str(item["quantity"])
    price_id = (params.get("pricing") or {}).get("price")
    data = params.get("price_data")
    if price_id:
        price = ctx.world.store.get("price", price_id)
        if price is None:
            raise no_such("price", price_id, "pricing[price]", 400)
        item["currency"] = price["currency"]
        item["pricing"] = pricing_of(price, unit=True)
        item["amount"] = half_up(line_amount(price, item["quantity"]))
        product = ctx.world.store.need("product", price["product"])
        item["description"] = item["description"] or product["name"]
    elif data:
        price = price_from_data(ctx, data)
        item["currency"] = price["currency"]
        item["pricing"] = pricing_of(price, unit=True)
        item["amount"] = half_up(line_amount(price, item["quantity"]))
    elif "unit_amount_decimal" in params:
        item["currency"] = (params.get("currency") or item["currency"]).lower()
        item["amount"] = half_up(Fraction(params["unit_amount_decimal"]) * item["quantity"])
    elif "amount" in params:
        item["currency"] = (params.get("currency") or item["currency"]).lower()
        item["amount"] = params["amount"]
        item["pricing"] = pricing_of(_price_of_amount(ctx, item), unit=True)
    item["net_amount"] = item["amount"]


def _price_of_amount(ctx: Context, item: Obj) -> Obj:
    """The price that Stripe makes up for a bare amount, the same one for the same amount."""
    store = ctx.world.store
    if store.get("product", _AMOUNTS) is None:
        hidden = {"name": "Invoice items", "active": False}
        store.put(new_product(ctx.world, _AMOUNTS, hidden))
    wanted = (item["amount"], item["currency"])
    for price in store.all("price", ("product", _AMOUNTS)):
        if (price["unit_amount"], price["currency"]) == wanted:
            return price
    data = {"product": _AMOUNTS, "unit_amount": wanted[0], "currency": wanted[1]}
    return price_from_data(ctx, data)


def update(ctx: Context) -> Obj:
    """`POST /v1/invoiceitems/:id`: while it waits, or sits on a draft."""
    found = ctx.the("invoiceitem", what="invoiceitem")
    invoice = found["invoice"] and ctx.world.store.get("invoice", found["invoice"])
    if invoice and invoice["status"] != "draft":
        raise bad_request("This invoice item is on a finalized invoice and can't be changed.")
    if found["frozen_fields"] and {"quantity", "pricing", "price_data"} & set(ctx.params):
        raise bad_request("Prorations can't be changed: delete them instead.", "quantity")
    item = ctx.world.store.edit("invoiceitem", found["id"])
    _fill(ctx, item, ctx.params)
    ctx.world.store.put(item)
    if invoice:
        refresh_item(ctx.world, invoice["id"], item)
    return item


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/invoiceitems/:id`."""
    found = ctx.the("invoiceitem", what="invoiceitem")
    invoice = found["invoice"] and ctx.world.store.get("invoice", found["invoice"])
    if invoice and invoice["status"] != "draft":
        raise bad_request("This invoice item is on a finalized invoice and can't be deleted.")
    ctx.world.store.delete("invoiceitem", found["id"], "invoiceitem.deleted")
    if invoice:
        drop_item(ctx.world, invoice["id"], found["id"])
    return {"id": found["id"], "object": "invoiceitem", "deleted": True}


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/invoiceitems/:id`."""
    return ctx.the("invoiceitem", what="invoiceitem")


def list_items(ctx: Context) -> Obj | bytes:
    """`GET /v1/invoiceitems`."""
    params = ctx.params
    wanted = params.get("pending")

    def keep(row: Row) -> bool:
        waits = peek(row, "invoice") is None
        return (wanted is None or waits == wanted) and (
            "invoice" not in params or peek(row, "invoice") == params["invoice"]
        )

    customer = params.get("customer")
    by = ("customer", customer) if customer is not None else None
    return list_page(ctx, "invoiceitem", by=by, keep=keep)


_FILL = "description discountable metadata period quantity pricing price_data "
_FILL += "unit_amount_decimal amount"
ROUTES = (
    Route(
        "POST",
        "/v1/invoiceitems",
        create,
        "InvoiceItemCreateParams",
        f"{_FILL} customer currency invoice subscription",
    ),
    Route("GET", "/v1/invoiceitems", list_items, "InvoiceItemListParams"),
    Route("GET", "/v1/invoiceitems/:id", retrieve, "InvoiceItemRetrieveParams"),
    Route("POST", "/v1/invoiceitems/:id", update, "InvoiceItemUpdateParams", _FILL),
    Route("DELETE", "/v1/invoiceitems/:id", delete, "InvoiceItemDeleteParams"),
)
