"""Invoices by hand, and the balance between them; the numbers are those of Stripe's answers."""

from typing import Any

import pytest

from tests.sandbox.client import Api

NOW = 1_790_000_000
Json = dict[str, Any]


@pytest.fixture
def customer(api: Api) -> str:
    """A customer who can pay, at a fixed time."""
    api.control("POST", "clock", {"now": NOW, "frozen": True})
    card = "pm_card_visa"
    settings = {"default_payment_method": card}
    made = api.post("/v1/customers", {"payment_method": card, "invoice_settings": settings})
    return str(made["id"])


def add(api: Api, customer: str, amount: int, **extra: Any) -> Json:
    """A pending invoice item."""
    sent = {"customer": customer, "amount": amount, "currency": "usd", **extra}
    return api.post("/v1/invoiceitems", sent)


def draft(api: Api, customer: str, **extra: Any) -> Json:
    """A draft with everything that is pending."""
    sent = {"customer": customer, "pending_invoice_items_behavior": "include", **extra}
    return api.post("/v1/invoices", sent)


def test_a_draft_leaves_pending_items_alone(api: Api, customer: str) -> None:
    """Unless it is told to include them; newest first; nothing happens by itself."""
    add(api, customer, 500, description="first")
    add(api, customer, 300, description="second")
    empty = api.post("/v1/invoices", {"customer": customer})
    assert (empty["total"], empty["auto_advance"]) == (0, False)
    full = draft(api, customer)
    assert [line["description"] for line in full["lines"]["data"]] == ["second", "first"]
    assert (full["total"], full["number"], full["ending_balance"]) == (800, None, None)


def test_an_automatic_draft_is_charged_an_hour_after_it_was_made(api: Api, customer: str) -> None:
    """Finalized a second after the hour; switching it on later counts from the creation."""
    add(api, customer, 500)
    made = draft(api, customer, auto_advance=True)
    assert made["automatically_finalizes_at"] == NOW + 3601
    assert made["next_payment_attempt"] == NOW + 3600
    path = f"/v1/invoices/{made['id']}"
    off = api.post(path, {"auto_advance": False})
    assert off["automatically_finalizes_at"] is off["next_payment_attempt"] is None
    api.control("POST", "clock", {"advance": 60})
    assert api.post(path, {"auto_advance": True})["automatically_finalizes_at"] == NOW + 3601
    api.control("POST", "clock", {"now": NOW + 3601})
    assert api.get(path)["status"] == "paid"


def test_numbers_are_given_at_finalization(api: Api, customer: str) -> None:
    """A deleted draft uses none, and takes its items with it."""
    add(api, customer, 500)
    gone = draft(api, customer)
    assert api.delete(f"/v1/invoices/{gone['id']}")["deleted"] is True
    assert api.get("/v1/invoiceitems", {"customer": customer, "pending": True})["data"] == []
    add(api, customer, 700)
    paid = api.post(f"/v1/invoices/{draft(api, customer)['id']}/pay")
    assert paid["number"].endswith("-0001")
    assert (paid["status"], paid["amount_paid"], paid["attempt_count"]) == ("paid", 700, 1)


def test_nothing_due_is_paid_by_finalizing(api: Api, customer: str) -> None:
    """No charge, no attempt."""
    made = api.post("/v1/invoices", {"customer": customer})
    done = api.post(f"/v1/invoices/{made['id']}/finalize")
    assert (done["status"], done["attempt_count"], done["attempted"]) == ("paid", 0, True)


def test_less_than_the_minimum_waits_on_the_balance(api: Api, customer: str) -> None:
    """4 is not charged but owed; the next invoice of 1000 collects 1004."""
    add(api, customer, 4)
    small = api.post(f"/v1/invoices/{draft(api, customer)['id']}/finalize")
    assert (small["status"], small["amount_due"], small["ending_balance"]) == ("paid", 0, 4)
    add(api, customer, 1000)
    large = api.post(f"/v1/invoices/{draft(api, customer)['id']}/pay")
    assert (large["starting_balance"], large["total"], large["amount_due"]) == (4, 1000, 1004)
    assert api.get(f"/v1/customers/{customer}")["balance"] == 0


def test_a_negative_invoice_is_credit(api: Api, customer: str) -> None:
    """Recorded: one transaction of the invoice's amount, without a description."""
    add(api, customer, -334)
    made = api.post(f"/v1/invoices/{draft(api, customer)['id']}/finalize")
    assert (made["status"], made["amount_due"], made["ending_balance"]) == ("paid", 0, -334)
    path = f"/v1/customers/{customer}/balance_transactions"
    (transaction,) = api.get(path)["data"]
    assert (transaction["type"], transaction["amount"]) == ("applied_to_invoice", -334)
    assert transaction["description"] is None
    assert api.get(f"{path}/{transaction['id']}") == transaction


def test_a_void_invoice_gives_its_credit_back(api: Api, customer: str) -> None:
    """And still shows what was open."""
    api.post(f"/v1/customers/{customer}/balance_transactions", {"amount": -300, "currency": "usd"})
    add(api, customer, 1000)
    path = f"/v1/invoices/{draft(api, customer)['id']}"
    opened = api.post(f"{path}/finalize")
    assert (opened["amount_due"], opened["starting_balance"]) == (700, -300)
    assert api.get(f"/v1/customers/{customer}")["balance"] == 0
    void = api.post(f"{path}/void")
    assert (void["status"], void["amount_remaining"]) == ("void", 700)
    assert api.get(f"/v1/customers/{customer}")["balance"] == -300


def test_an_uncollectible_invoice_can_still_be_paid(api: Api, customer: str) -> None:
    """It keeps what is open until then."""
    add(api, customer, 1000)
    path = f"/v1/invoices/{draft(api, customer)['id']}"
    api.post(f"{path}/finalize")
    lost = api.post(f"{path}/mark_uncollectible")
    assert (lost["status"], lost["amount_remaining"]) == ("uncollectible", 1000)
    assert api.post(f"{path}/pay")["status"] == "paid"


def test_paid_outside(api: Api, customer: str) -> None:
    """No attempt was made."""
    add(api, customer, 1000)
    path = f"/v1/invoices/{draft(api, customer)['id']}"
    paid = api.post(f"{path}/pay", {"paid_out_of_band": True})
    assert (paid["status"], paid["attempted"], paid["attempt_count"]) == ("paid", False, 0)


def test_a_declined_payment_stays_on_record(api: Api, customer: str) -> None:
    """402, and the attempt and its events are there all the same."""
    add(api, customer, 1000)
    path = f"/v1/invoices/{draft(api, customer)['id']}"
    bad = "pm_card_chargeCustomerFail"
    answer = api.call("POST", f"{path}/pay", {"payment_method": bad})
    assert (answer.status, answer.error["code"]) == (402, "card_declined")
    after = api.get(path, {"expand": ["payments.data.payment.payment_intent"]})
    assert (after["status"], after["attempt_count"]) == ("open", 1)
    intent = after["payments"]["data"][0]["payment"]["payment_intent"]
    assert intent["last_payment_error"]["decline_code"] == "generic_decline"
    types = [one["type"] for one in api.get("/v1/events")["data"]]
    assert "invoice.payment_failed" in types


def test_a_finalized_invoice_takes_metadata_only(api: Api, customer: str) -> None:
    """Anything else is refused."""
    add(api, customer, 1000)
    path = f"/v1/invoices/{draft(api, customer)['id']}"
    api.post(f"{path}/finalize")
    assert api.post(path, {"metadata": {"a": "b"}})["metadata"] == {"a": "b"}
    assert api.call("POST", path, {"description": "x"}).status == 400


@pytest.mark.parametrize(
    ("method", "rest", "param"),
    [
        ("GET", "", "invoice"),
        ("DELETE", "", "invoice"),
        ("POST", "/send", "invoice"),
        ("POST", "", "id"),
        ("POST", "/pay", "id"),
        ("POST", "/finalize", "id"),
        ("POST", "/void", "id"),
        ("POST", "/mark_uncollectible", "id"),
    ],
)
def test_a_missing_invoice(api: Api, method: str, rest: str, param: str) -> None:
    """Stripe blames another parameter in different calls."""
    answer = api.call(method, f"/v1/invoices/in_nope{rest}")
    assert (answer.status, answer.error["code"]) == (404, "resource_missing")
    assert (answer.error["param"], answer.error["message"]) == (
        param,
        "No such invoice: 'in_nope'",
    )


def test_an_unknown_customer_is_a_400_here(api: Api) -> None:
    """Other than on subscriptions."""
    answer = api.call("POST", "/v1/invoices", {"customer": "cus_nope"})
    assert (answer.status, answer.error["param"]) == (400, "customer")


def test_an_item_on_a_draft_can_change(api: Api, customer: str) -> None:
    """The draft follows, and a dropped item leaves it."""
    first = add(api, customer, 500)
    made = draft(api, customer)
    path = f"/v1/invoices/{made['id']}"
    late = add(api, customer, 200, invoice=made["id"])
    assert api.get(path)["total"] == 700
    api.post(f"/v1/invoiceitems/{first['id']}", {"amount": 600})
    assert api.get(path)["total"] == 800
    api.delete(f"/v1/invoiceitems/{late['id']}")
    assert api.get(path)["total"] == 600


def test_more_lines_than_are_embedded(api: Api, customer: str) -> None:
    """Ten on the invoice, the rest by pages."""
    for number in range(12):
        add(api, customer, 100 + number)
    made = draft(api, customer)
    assert len(made["lines"]["data"]) == 10
    assert (made["lines"]["has_more"], made["lines"]["total_count"]) == (True, 12)
    path = f"/v1/invoices/{made['id']}/lines"
    page = api.get(path, {"limit": 10, "starting_after": made["lines"]["data"][-1]["id"]})
    assert [line["amount"] for line in page["data"]] == [101, 100]
    assert page["has_more"] is False


def test_a_bare_amount_has_a_made_up_price(api: Api, customer: str) -> None:
    """Inactive, and the same for the same amount."""
    first, second = add(api, customer, 500), add(api, customer, 500)
    price = first["pricing"]["price_details"]["price"]
    assert second["pricing"]["price_details"]["price"] == price
    shown = api.get(f"/v1/prices/{price}")
    assert (shown["active"], shown["unit_amount"]) == (False, 500)


def test_a_deleted_customer_ends_everything(api: Api, customer: str) -> None:
    """Subscriptions are canceled, and time goes on without them."""
    product = api.post("/v1/products", {"name": "Seat"})["id"]
    price = api.post(
        "/v1/prices",
        {
            "product": product,
            "currency": "usd",
            "unit_amount": 1000,
            "recurring": {"interval": "month"},
        },
    )["id"]
    made = api.post("/v1/subscriptions", {"customer": customer, "items": [{"price": price}]})
    add(api, customer, 900)
    draft(api, customer, auto_advance=True)
    api.delete(f"/v1/customers/{customer}")
    assert api.get(f"/v1/subscriptions/{made['id']}")["status"] == "canceled"
    api.control("POST", "clock", {"advance": 90 * 86400})
    assert api.get(f"/v1/customers/{customer}")["deleted"] is True
