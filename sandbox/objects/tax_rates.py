"""Tax rates: a percentage on top of a line's amount. Inclusive rates are refused."""

from __future__ import annotations

from fractions import Fraction

from sandbox.billing.proration import half_up
from sandbox.http.errors import unsupported_param
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.world import World

_FIELDS = "active country description display_name jurisdiction state tax_type"


def create(ctx: Context) -> Obj:
    """`POST /v1/tax_rates`."""
    params = ctx.params
    if params["inclusive"]:
        raise unsupported_param("inclusive")
    rate: Obj = {
        "id": ctx.world.store.new_id("tax_rate"),
        "object": "tax_rate",
        "active": True,
        "country": None,
        "created": ctx.world.now(),
        "description": None,
        "display_name": "",
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": False,
        "jurisdiction": None,
        "jurisdiction_level": None,
        "livemode": False,
        "metadata": {},
        "percentage": params["percentage"],
        "rate_type": "percentage",
        "state": None,
        "tax_type": None,
    }
    set_fields(rate, params, _FIELDS)
    set_metadata(rate, params)
    return ctx.world.store.put(rate, "tax_rate.created")


def update(ctx: Context) -> Obj:
    """`POST /v1/tax_rates/:id`: the percentage never changes."""
    before = ctx.the("tax_rate")
    rate = ctx.world.store.edit("tax_rate", before["id"])
    set_fields(rate, ctx.params, _FIELDS)
    set_metadata(rate, ctx.params)
    if changed(before, rate):
        ctx.world.store.put(rate, "tax_rate.updated")
    return rate


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/tax_rates/:id`."""
    return ctx.the("tax_rate")


def list_rates(ctx: Context) -> Obj | bytes:
    """`GET /v1/tax_rates`."""
    return list_page(ctx, "tax_rate")


def taxes(world: World, ids: list[str], taxable_minor: int) -> list[Obj]:
    """The taxes of one line, as lines and invoices show them."""
    return [
        {
            "amount": half_up(
                Fraction(str(world.store.need("tax_rate", one)["percentage"])) * taxable_minor / 100
            ),
            "tax_behavior": "exclusive",
            "tax_rate_details": {"tax_rate": one},
            "taxability_reason": "standard_rated",
            "taxable_amount": taxable_minor,
            "type": "tax_rate_details",
        }
        for one in ids
    ]


ROUTES = (
    Route(
        "POST",
        "/v1/tax_rates",
        create,
        "TaxRateCreateParams",
        f"{_FIELDS} inclusive metadata percentage",
    ),
    Route(
        "GET",
        "/v1/tax_rates",
        list_rates,
        "TaxRateListParams",
        "limit starting_after ending_before created",
    ),
    Route("GET", "/v1/tax_rates/:id", retrieve, "TaxRateRetrieveParams"),
    Route("POST", "/v1/tax_rates/:id", update, "TaxRateUpdateParams", f"{_FIELDS} metadata"),
)
