"""Checkout: a session is a promise until the buyer pays."""

from typing import Any

import pytest

from tests.sandbox.client import Api

SESSIONS = "/v1/checkout/sessions"


@pytest.fixture
def price(api: Api) -> str:
    product = api.post("/v1/products", {"name": "Base seat"})["id"]
    form = {
        "product": product,
        "currency": "usd",
        "unit_amount": 1900,
        "recurring": {"interval": "month"},
    }
    made: str = api.post("/v1/prices", form)["id"]
    return made


def session(api: Api, price: str, **more: Any) -> dict[str, Any]:
    form = {
        "mode": "subscription",
        "success_url": "https://example.com/thanks",
        "line_items": [{"price": price, "quantity": 3}],
        **more,
    }
    return api.post(SESSIONS, form)


def test_paying_makes_customer_card_subscription_and_invoice(api: Api, price: str) -> None:
    made = session(api, price, subscription_data={"metadata": {"org": "o1"}}, metadata={"a": "b"})
    assert (made["status"], made["amount_total"], made["subscription"]) == ("open", 5700, None)
    paid = api.control("POST", f"checkout/{made['id']}/complete", {"email": "a@example.com"})
    bought = api.get(f"/v1/subscriptions/{paid['subscription']}")
    assert (paid["status"], paid["payment_status"], paid["url"]) == ("complete", "paid", None)
    assert (bought["status"], bought["quantity"]) == ("active", 3)
    assert (bought["metadata"], paid["metadata"]) == ({"org": "o1"}, {"a": "b"})
    assert api.get(f"/v1/invoices/{paid['invoice']}")["amount_paid"] == 5700
    assert api.get(f"/v1/customers/{paid['customer']}")["email"] == "a@example.com"
    assert api.get(f"{SESSIONS}/{made['id']}") == paid
    assert "checkout.session.completed" in [e["type"] for e in api.get("/v1/events")["data"]]


def test_a_declined_card_leaves_the_session_open_and_nothing_behind(api: Api, price: str) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})["id"]
    made = session(api, price, customer=customer)
    path = f"/_sandbox/checkout/{made['id']}/complete"
    refused = api.call("POST", path, json={"card": "chargeCustomerFail"})
    assert (refused.status, refused.error["code"]) == (402, "card_declined")
    assert api.get(f"{SESSIONS}/{made['id']}") == made
    assert api.get("/v1/subscriptions", {"status": "all"})["data"] == []
    assert api.call("POST", path, json={}).status == 200


def test_line_items_are_listed_and_shown_on_demand(api: Api, price: str) -> None:
    made = session(api, price)
    assert "line_items" not in made
    (item,) = api.get(f"{SESSIONS}/{made['id']}/line_items")["data"]
    assert (item["price"]["id"], item["quantity"], item["amount_total"]) == (price, 3, 5700)
    shown = api.get(f"{SESSIONS}/{made['id']}", {"expand": ["line_items"]})
    assert shown["line_items"]["data"] == [item]


def test_an_expired_or_paid_session_takes_no_payment(api: Api, price: str) -> None:
    expired = session(api, price)["id"]
    assert api.post(f"{SESSIONS}/{expired}/expire")["status"] == "expired"
    paid = session(api, price)["id"]
    api.control("POST", f"checkout/{paid}/complete")
    for one in (expired, paid):
        assert api.call("POST", f"/_sandbox/checkout/{one}/complete", json={}).status == 400
        refused = api.call("POST", f"{SESSIONS}/{one}/expire")
        assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
        assert refused.error["message"].startswith("Only Checkout Sessions with a status in")
    (told,) = api.get("/v1/events", {"type": "checkout.session.expired"})["data"]
    assert told["data"]["object"]["id"] == expired
    found = api.get(SESSIONS, {"status": "complete"})["data"]
    assert [one["id"] for one in found] == [paid]
