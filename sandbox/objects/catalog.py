"""Products and prices: what can be sold, per unit or in tiers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.http.errors import bad_request, missing_param, no_such
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj, peek
from sandbox.world import World

_PRODUCT = "active description images marketing_features name statement_descriptor unit_label url"
_PRICE = "active lookup_key metadata nickname tax_behavior"


def create_product(ctx: Context) -> Obj:
    """`POST /v1/products`; the client may choose the id."""
    params = ctx.params
    product_id = params.get("id") or ctx.world.store.new_id("product")
    if ctx.world.store.get("product", product_id) is not None:
        raise bad_request(
            f"Product already exists with id: {product_id}", "id", "resource_already_exists"
        )
    product = new_product(ctx.world, product_id, params)
    ctx.world.store.put(product, "product.created")
    data = params.get("default_price_data")
    if data:
        price = _new_price(ctx, {**data, "product": product_id})
        product = {**product, "default_price": price["id"]}
        ctx.world.store.put(product)
    return product


def new_product(world: World, product_id: str, params: dict[str, Any]) -> Obj:
    """A product; not stored."""
    now = world.now()
    product: Obj = {
        "id": product_id,
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": "",
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    set_fields(product, params, _PRODUCT)
    set_metadata(product, params)
    return product


def update_product(ctx: Context) -> Obj:
    """`POST /v1/products/:id`."""
    before = ctx.the("product")
    product = ctx.world.store.edit("product", before["id"])
    set_fields(product, ctx.params, f"{_PRODUCT} default_price")
    set_metadata(product, ctx.params)
    if changed(before, product):
        product["updated"] = ctx.world.now()
        ctx.world.store.put(product, "product.updated")
    return product


def retrieve_product(ctx: Context) -> Obj:
    """`GET /v1/products/:id`."""
    return ctx.the("product")


def delete_product(ctx: Context) -> Obj:
    """`DELETE /v1/products/:id`: only while it has no prices."""
    product = ctx.the("product")
    if ctx.world.store.tables["price"].ids(("product", product["id"])):
        raise bad_request(
            "This product cannot be deleted because it has one or more user-created prices."
        )
    ctx.world.store.delete("product", product["id"], "product.deleted")
    return {"id": product["id"], "object": "product", "deleted": True}


def list_products(ctx: Context) -> Obj | bytes:
    """`GET /v1/products`."""
    active, ids = ctx.params.get("active"), ctx.params.get("ids")
    return list_page(
        ctx,
        "product",
        keep=lambda row: (
            active in (None, peek(row, "active")) and (ids is None or peek(row, "id") in ids)
        ),
    )


def create_price(ctx: Context) -> Obj:
    """`POST /v1/prices`."""
    params = dict(ctx.params)
    data = params.pop("product_data", None)
    if data is not None:
        product = new_product(ctx.world, data.get("id") or ctx.world.store.new_id("product"), data)
        params["product"] = ctx.world.store.put(product, "product.created")["id"]
    if "product" not in params:
        raise missing_param("product")
    return _new_price(ctx, params)


def price_from_data(ctx: Context, data: dict[str, Any]) -> Obj:
    """An inline price (`price_data`), stored inactive as Stripe does."""
    return _new_price(ctx, {**data, "active": False})


def _new_price(ctx: Context, params: dict[str, Any]) -> Obj:
    if ctx.world.store.get("product", params["product"]) is None:
        raise no_such("product", params["product"], "product", 400)
    recurring = params.get("recurring")
    price: Obj = {
        "id": ctx.world.store.new_id("price"),
        "object": "price",
        "active": True,
        "billing_scheme": params.get("billing_scheme", "per_unit"),
        "created": ctx.world.now(),
        "currency": params["currency"].lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": params["product"],
        "recurring": _recurring(recurring) if recurring else None,
        "tax_behavior": "unspecified",
        "tiers": None,
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": None,
        "unit_amount_decimal": None,
    }
    set_fields(price, params, "active nickname tax_behavior")
    set_metadata(price, params)
    if price["billing_scheme"] == "tiered":
        price["tiers"] = _tiers(params)
    else:
        _set_unit_amount(price, params)
    _take_lookup_key(ctx, price, params)
    return ctx.world.store.put(price, "price.created")


def _recurring(sent: dict[str, Any]) -> Obj:
    if sent.get("usage_type", "licensed") == "metered" and not sent.get("meter"):
        raise bad_request(
            "Metered prices must be backed by a meter. Use the `meter` parameter.",
            "recurring[meter]",
        )
    return {
        "interval": sent["interval"],
        "interval_count": sent.get("interval_count", 1),
        "meter": sent.get("meter"),
        "trial_period_days": sent.get("trial_period_days"),
        "usage_type": sent.get("usage_type", "licensed"),
    }


def _set_unit_amount(price: Obj, params: dict[str, Any]) -> None:
    if "unit_amount" in params:
        amount = Decimal(params["unit_amount"])
    elif "unit_amount_decimal" in params:
        amount = Decimal(params["unit_amount_decimal"])
    else:
        raise missing_param("unit_amount")
    whole = amount == amount.to_integral_value()
    price["unit_amount"] = int(amount) if whole else None
    price["unit_amount_decimal"] = str(int(amount)) if whole else format(amount.normalize(), "f")


def _tiers(params: dict[str, Any]) -> list[Obj]:
    if params.get("tiers_mode") is None:
        raise missing_param("tiers_mode")
    tiers = params.get("tiers") or []
    if not tiers or tiers[-1]["up_to"] != "inf":
        raise bad_request("The last tier must be open: its `up_to` has to be `inf`.", "tiers")
    shown = []
    for tier in tiers:
        flat = tier.get("flat_amount_decimal", tier.get("flat_amount"))
        unit = tier.get("unit_amount_decimal", tier.get("unit_amount"))
        if flat is None and unit is None:
            raise bad_request("A tier needs `unit_amount` or `flat_amount`.", "tiers")
        shown.append(
            {
                "flat_amount": tier.get("flat_amount"),
                "flat_amount_decimal": None if flat is None else str(flat),
                "unit_amount": tier.get("unit_amount"),
                "unit_amount_decimal": None if unit is None else str(unit),
                "up_to": None if tier["up_to"] == "inf" else int(tier["up_to"]),
            }
        )
    return shown


def _take_lookup_key(ctx: Context, price: Obj, params: dict[str, Any]) -> None:
    """A lookup key names one price; it moves only when the caller says so."""
    key = params.get("lookup_key")
    if not key:
        return
    for other in list(ctx.world.store.all("price", ("lookup_key", key))):
        if other["id"] == price["id"]:
            continue
        if not params.get("transfer_lookup_key"):
            raise bad_request(
                f"A price (`{other['id']}`) already uses that lookup key.", "lookup_key"
            )
        ctx.world.store.put({**other, "lookup_key": None}, "price.updated")
    price["lookup_key"] = key


def update_price(ctx: Context) -> Obj:
    """`POST /v1/prices/:id`: amounts never change."""
    before = ctx.the("price")
    price = ctx.world.store.edit("price", before["id"])
    set_fields(price, ctx.params, "active nickname tax_behavior lookup_key")
    set_metadata(price, ctx.params)
    _take_lookup_key(ctx, price, ctx.params)
    if changed(before, price):
        ctx.world.store.put(price, "price.updated")
    return price


def retrieve_price(ctx: Context) -> Obj:
    """`GET /v1/prices/:id`."""
    return ctx.the("price")


def list_prices(ctx: Context) -> Obj | bytes:
    """`GET /v1/prices`."""
    params = ctx.params
    product, keys = params.get("product"), params.get("lookup_keys")
    recurring = params.get("recurring") or {}

    def keep(row: Any) -> bool:
        return (
            params.get("active") in (None, peek(row, "active"))
            and params.get("type") in (None, peek(row, "type"))
            and params.get("currency") in (None, peek(row, "currency"))
            and (keys is None or peek(row, "lookup_key") in keys)
            and all(peek(row, f"recurring.{name}") == want for name, want in recurring.items())
        )

    by = ("product", product) if product is not None else None
    return list_page(ctx, "price", by=by, keep=keep)


def tiers_of(world: World, price: Obj) -> Any:
    """`price.tiers`, which Stripe shows only when it is expanded."""
    return world.store.need("price", price["id"])["tiers"]


ROUTES = (
    Route(
        "POST",
        "/v1/products",
        create_product,
        "ProductCreateParams",
        f"{_PRODUCT} id metadata type default_price_data shippable",
    ),
    Route("GET", "/v1/products", list_products, "ProductListParams"),
    Route("GET", "/v1/products/:id", retrieve_product, "ProductRetrieveParams"),
    Route(
        "POST",
        "/v1/products/:id",
        update_product,
        "ProductUpdateParams",
        f"{_PRODUCT} metadata default_price",
    ),
    Route("DELETE", "/v1/products/:id", delete_product, "ProductDeleteParams"),
    Route(
        "POST",
        "/v1/prices",
        create_price,
        "PriceCreateParams",
        f"{_PRICE} product product_data currency recurring unit_amount unit_amount_decimal "
        "billing_scheme tiers tiers_mode transform_quantity transfer_lookup_key",
    ),
    Route("GET", "/v1/prices", list_prices, "PriceListParams"),
    Route("GET", "/v1/prices/:id", retrieve_price, "PriceRetrieveParams"),
    Route(
        "POST",
        "/v1/prices/:id",
        update_price,
        "PriceUpdateParams",
        f"{_PRICE} transfer_lookup_key",
    ),
)
INCLUDES = {"price.tiers": tiers_of}
