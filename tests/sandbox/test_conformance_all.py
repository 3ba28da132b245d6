"""Every call that reads is made on a world in which every kind of object exists.

The client judges each answer, so this is the proof that nothing the sandbox shows differs from
the SDK's classes: single objects, lists, and events of every type that came up on the way.
"""

from typing import Any

import pytest

from sandbox.api import build
from tests.sandbox.client import Api, Box

START = 1767225600  # 2026-01-01
READS = sorted(
    route.path
    for route in build().routes
    if route.method == "GET" and not route.path.startswith("/_sandbox")
)
# Objects whose path is not their name with an s.
NAMES = {
    "/v1/billing_portal/configurations": "billing_portal.configuration",
    "/v1/checkout/sessions": "checkout.session",
    "/v1/test_helpers/test_clocks": "test_helpers.test_clock",
    "/v2/core/event_destinations": "v2.core.event_destination",
    "/v2/core/events": "v2.core.event",
}
# What only some customers have: the last part of the path, and the table to find one in.
OWNED = {
    "balance_transactions": "customer_balance_transaction",
    "payment_methods": "payment_method",
}
EXPANDED = {
    "/v1/invoices": ["data.customer", "data.payments", "data.lines.data.pricing"],
    "/v1/subscriptions": ["data.customer", "data.latest_invoice", "data.default_payment_method"],
    "/v1/prices": ["data.product", "data.tiers"],
    "/v1/checkout/sessions": ["data.line_items", "data.subscription"],
}


def price(api: Api, product: str, **more: Any) -> str:
    form = {
        "product": product,
        "currency": "usd",
        "recurring": {"interval": "month"},
        **({} if "tiers" in more else {"unit_amount": 1000}),
        **more,
    }
    made: str = api.post("/v1/prices", form)["id"]
    return made


def subscribe(api: Api, customer: str, price_id: str, **more: Any) -> dict[str, Any]:
    items = [{"price": price_id, "quantity": 3}]
    return api.post("/v1/subscriptions", {"customer": customer, "items": items, **more})


def buyer(api: Api, card: str = "pm_card_visa", **more: Any) -> str:
    form = {
        "email": "buyer@example.com",
        "payment_method": card,
        "invoice_settings": {"default_payment_method": card},
        **more,
    }
    made: str = api.post("/v1/customers", form)["id"]
    return made


def live(api: Api) -> None:
    """A little of everything: prices, discounts, taxes, seats up and down, trouble, an end."""
    product = api.post("/v1/products", {"name": "Base seat"})["id"]
    plain = price(api, product, lookup_key="base")
    tiers = [{"up_to": 5, "unit_amount": 900}, {"up_to": "inf", "unit_amount": 800}]
    volume = price(api, product, billing_scheme="tiered", tiers_mode="volume", tiers=tiers)
    coupon = api.post("/v1/coupons", {"percent_off": 10, "duration": "forever"})["id"]
    rate = api.post("/v1/tax_rates", {"display_name": "VAT", "inclusive": False, "percentage": 20})[
        "id"
    ]
    first = buyer(api, balance=-500)
    seats = subscribe(api, first, volume, discounts=[{"coupon": coupon}], default_tax_rates=[rate])
    item = seats["items"]["data"][0]["id"]
    for quantity, behavior in ((7, "always_invoice"), (4, "create_prorations"), (5, "none")):
        change = {"items": [{"id": item, "quantity": quantity}], "proration_behavior": behavior}
        api.post(f"/v1/subscriptions/{seats['id']}", change)
    api.post(f"/v1/subscriptions/{seats['id']}", {"cancel_at_period_end": True})
    trial = subscribe(api, api.post("/v1/customers", {})["id"], plain, trial_period_days=30)
    api.post(f"/v1/subscriptions/{trial['id']}", {"pause_collection": {"behavior": "void"}})
    late = subscribe(api, buyer(api, "pm_card_chargeCustomerFail"), plain)
    assert late["status"] == "incomplete"
    waiting(api, subscribe(api, buyer(api), plain))
    scheduled(api, plain)
    api.delete(f"/v1/subscriptions/{subscribe(api, buyer(api), plain)['id']}")
    bought = {
        "mode": "subscription",
        "success_url": "https://example.com",
        "line_items": [{"price": plain, "quantity": 1}],
    }
    session = api.post("/v1/checkout/sessions", bought)["id"]
    api.control("POST", f"checkout/{session}/complete")
    history = {"invoice_history": {"enabled": True}}
    api.post("/v1/billing_portal/configurations", {"features": history})
    api.post("/v1/billing_portal/sessions", {"customer": first})
    api.post("/v1/invoiceitems", {"customer": first, "amount": 250, "currency": "usd"})


def waiting(api: Api, subscription: dict[str, Any]) -> None:
    """A raise that waits for a payment that was declined."""
    api.control(
        "POST", "declines", {"customer": subscription["customer"], "code": "generic_decline"}
    )
    item = subscription["items"]["data"][0]["id"]
    raised = {
        "items": [{"id": item, "quantity": 9}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    held = api.post(f"/v1/subscriptions/{subscription['id']}", raised)
    assert held["pending_update"]["subscription_items"][0]["quantity"] == 9


def scheduled(api: Api, price_id: str) -> None:
    """A customer on a test clock, under a schedule, two renewals on."""
    clock = api.post("/v1/test_helpers/test_clocks", {"frozen_time": START, "name": "c"})["id"]
    seats = subscribe(api, buyer(api, test_clock=clock), price_id)
    api.post("/v1/subscription_schedules", {"from_subscription": seats["id"]})
    path = f"/v1/test_helpers/test_clocks/{clock}/advance"
    api.post(path, {"frozen_time": START + 40 * 86400})
    assert api.get("/v1/customers", {"test_clock": clock})["data"]


def destinations(api: Api) -> None:
    """Somebody to tell, who does not listen."""
    url = "http://127.0.0.1:1/nobody"
    api.post("/v1/webhook_endpoints", {"url": url, "enabled_events": ["invoice.voided"]})
    body = {
        "name": "thin",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.invoice.voided"],
        "webhook_endpoint": {"url": url},
    }
    assert api.call("POST", "/v2/core/event_destinations", json=body).status == 200


def one_of(box: Box, name: str) -> dict[str, Any]:
    """Any stored object of a type."""
    row: Any = next(iter(box.world.store.tables[name].rows.values()))
    found: dict[str, Any] = row if isinstance(row, dict) else row.load()
    return found


def filled(box: Box, path: str) -> str:
    """A path with ids of objects that exist."""
    collection, has_id, rest = path.partition("/:id")
    if not has_id:
        return path
    owned = OWNED.get(rest.strip("/").partition("/")[0])
    if owned is not None:
        owner, part = one_of(box, owned), rest.partition("/:")[0]
        last = f"/{owner['id']}" if "/:" in rest else ""
        return f"{collection}/{owner['customer']}{part}{last}"
    if collection == "/v1/subscription_items":
        return f"{collection}/{one_of(box, 'subscription')['items'][0]['id']}"
    name = NAMES.get(collection, collection.rpartition("/")[2].removesuffix("s"))
    return f"{collection}/{one_of(box, name)['id']}{rest}"


@pytest.fixture
def busy(api: Api, box: Box) -> Box:
    live(api)
    destinations(api)
    return box


def test_every_reading_call_answers_in_the_shapes_of_the_sdk(api: Api, busy: Box) -> None:
    for path in READS:
        query: dict[str, Any] = {"expand": EXPANDED[path]} if path in EXPANDED else {}
        if path == "/v1/subscription_items":
            query["subscription"] = one_of(busy, "subscription")["id"]
        answer = api.get(filled(busy, path), query)
        if "data" in answer:
            assert answer["data"], f"{path}: nothing there that could be judged"


def test_every_event_that_came_up_is_one_of_stripes(api: Api, busy: Box) -> None:
    types: set[str] = set()
    after: dict[str, Any] = {}
    while True:
        page = api.get("/v1/events", {"limit": 100, **after})
        types |= {event["type"] for event in page["data"]}
        if not page["has_more"]:
            break
        after = {"starting_after": page["data"][-1]["id"]}
    assert {
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
        "invoiceitem.created",
        "customer.discount.created",
        "subscription_schedule.created",
    } <= types
