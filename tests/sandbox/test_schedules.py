"""Subscription schedules: changes agreed on for later happen then, and not before."""

from typing import Any

import pytest

from tests.sandbox.client import Api

SCHEDULES = "/v1/subscription_schedules"
START = 1767225600  # 2026-01-01
FEBRUARY, MARCH, APRIL = 1769904000, 1772323200, 1775001600
SEAT_MINOR = 1000


class Shop:
    """A customer with a card on a test clock, one monthly price, and what time does to them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        clock = api.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
        self.clock: str = clock["id"]
        form = {
            "test_clock": self.clock,
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
        self.customer: str = api.post("/v1/customers", form)["id"]
        self.price = self.new_price(SEAT_MINOR)

    def new_price(self, amount_minor: int) -> str:
        product = self.api.post("/v1/products", {"name": "Base seat"})["id"]
        form = {
            "product": product,
            "currency": "usd",
            "unit_amount": amount_minor,
            "recurring": {"interval": "month"},
        }
        made: str = self.api.post("/v1/prices", form)["id"]
        return made

    def phase(self, quantity: int, **more: Any) -> dict[str, Any]:
        return {"items": [{"price": self.price, "quantity": quantity}], **more}

    def buy(self, quantity: int) -> dict[str, Any]:
        form = {
            "customer": self.customer,
            "items": [{"price": self.price, "quantity": quantity}],
        }
        return self.api.post("/v1/subscriptions", form)

    def until(self, epoch_s: int) -> None:
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.api.post(path, {"frozen_time": epoch_s})

    def quantity(self, subscription: str) -> int:
        found: int = self.api.get(f"/v1/subscriptions/{subscription}")["quantity"]
        return found

    def totals(self, subscription: str) -> list[int]:
        found = self.api.get("/v1/invoices", {"subscription": subscription})["data"]
        return [invoice["total"] for invoice in reversed(found)]


@pytest.fixture
def shop(api: Api) -> Shop:
    return Shop(api)


def contract(api: Api, shop: Shop) -> dict[str, Any]:
    """A running subscription of 5 under a schedule that goes to 8 at the turn of the period."""
    bought = shop.buy(5)
    made = api.post(SCHEDULES, {"from_subscription": bought["id"]})
    phases = [
        shop.phase(5, start_date=START, end_date=FEBRUARY),
        shop.phase(8, duration={"interval": "month"}),
    ]
    return api.post(f"{SCHEDULES}/{made['id']}", {"phases": phases})


def test_a_schedule_made_from_a_subscription_says_what_it_is(api: Api, shop: Shop) -> None:
    bought = shop.buy(5)
    made = api.post(SCHEDULES, {"from_subscription": bought["id"]})
    assert (made["status"], made["subscription"]) == ("active", bought["id"])
    assert made["current_phase"] == {"start_date": START, "end_date": FEBRUARY}
    (phase,) = made["phases"]
    assert [(item["price"], item["quantity"]) for item in phase["items"]] == [(shop.price, 5)]
    assert api.get(f"/v1/subscriptions/{bought['id']}")["schedule"] == made["id"]
    again = api.call("POST", SCHEDULES, {"from_subscription": bought["id"]})
    assert again.status == 400


def test_the_next_phase_begins_with_the_period_and_prorates_nothing(api: Api, shop: Shop) -> None:
    agreed = contract(api, shop)
    assert shop.quantity(agreed["subscription"]) == 5
    shop.until(FEBRUARY + 7200)
    assert shop.quantity(agreed["subscription"]) == 8
    assert shop.totals(agreed["subscription"]) == [5 * SEAT_MINOR, 8 * SEAT_MINOR]
    invoice = api.get("/v1/invoices", {"subscription": agreed["subscription"]})["data"][0]
    assert [line["amount"] for line in invoice["lines"]["data"]] == [8 * SEAT_MINOR]
    moved = api.get(f"{SCHEDULES}/{agreed['id']}")
    assert moved["current_phase"] == {"start_date": FEBRUARY, "end_date": MARCH}


def test_at_its_end_it_lets_the_subscription_go_on_alone(api: Api, shop: Shop) -> None:
    agreed = contract(api, shop)
    shop.until(FEBRUARY + 7200)
    shop.until(MARCH + 7200)
    done = api.get(f"{SCHEDULES}/{agreed['id']}")
    assert (done["status"], done["subscription"]) == ("completed", None)
    assert done["released_subscription"] == agreed["subscription"]
    shop.until(APRIL + 7200)
    alone = api.get(f"/v1/subscriptions/{agreed['subscription']}")
    assert (alone["status"], alone["schedule"], alone["quantity"]) == ("active", None, 8)


def test_or_it_cancels_and_tells_of_it_a_week_before(api: Api, shop: Shop) -> None:
    form = {
        "customer": shop.customer,
        "start_date": "now",
        "end_behavior": "cancel",
        "phases": [shop.phase(3, duration={"interval": "month"})],
    }
    made = api.post(SCHEDULES, form)

    def told() -> list[str]:
        found = api.get("/v1/events", {"type": "subscription_schedule.*"})["data"]
        return [event["type"].rpartition(".")[2] for event in reversed(found)]

    shop.until(FEBRUARY - 8 * 86400)
    assert told() == ["created"]
    shop.until(FEBRUARY - 6 * 86400)
    assert told() == ["created", "expiring"]
    shop.until(FEBRUARY + 7200)
    assert told() == ["created", "expiring", "completed"]
    ended = api.get(f"/v1/subscriptions/{made['subscription']}")
    assert (ended["status"], shop.totals(ended["id"])) == ("canceled", [3 * SEAT_MINOR])


def test_a_changed_present_phase_changes_the_subscription_at_once(api: Api, shop: Shop) -> None:
    bought = shop.buy(5)
    made = api.post(SCHEDULES, {"from_subscription": bought["id"]})
    shop.until(START + (FEBRUARY - START) // 2)
    phases = [shop.phase(7, start_date=START, end_date=FEBRUARY)]
    form = {"phases": phases, "proration_behavior": "always_invoice"}
    api.post(f"{SCHEDULES}/{made['id']}", form)
    assert shop.quantity(bought["id"]) == 7
    assert shop.totals(bought["id"]) == [5 * SEAT_MINOR, SEAT_MINOR]


def test_a_schedule_may_wait_for_its_start(api: Api, shop: Shop) -> None:
    phases = [shop.phase(2, duration={"interval": "month"})]
    form = {"customer": shop.customer, "start_date": FEBRUARY, "phases": phases}
    made = api.post(SCHEDULES, form)
    assert (made["status"], made["subscription"]) == ("not_started", None)
    shop.until(FEBRUARY + 7200)
    started = api.get(f"{SCHEDULES}/{made['id']}")
    assert started["status"] == "active"
    assert shop.quantity(started["subscription"]) == 2
    assert shop.totals(started["subscription"]) == [2 * SEAT_MINOR]


def test_release_and_cancel_end_it_for_good(api: Api, shop: Shop) -> None:
    released = contract(api, shop)
    gone = api.post(f"{SCHEDULES}/{released['id']}/release")
    assert (gone["status"], gone["released_subscription"]) == ("released", released["subscription"])
    assert api.get(f"/v1/subscriptions/{released['subscription']}")["status"] == "active"
    canceled = contract(api, shop)
    api.post(f"{SCHEDULES}/{canceled['id']}/cancel")
    assert api.get(f"/v1/subscriptions/{canceled['subscription']}")["status"] == "canceled"
    for one in (released, canceled):
        assert api.call("POST", f"{SCHEDULES}/{one['id']}/release").status == 400
    found = api.get(SCHEDULES, {"customer": shop.customer})["data"]
    assert [one["status"] for one in found] == ["canceled", "released"]


def test_phases_that_make_no_sense_are_refused(api: Api, shop: Shop) -> None:
    base = {"customer": shop.customer, "start_date": "now"}
    gap = [
        shop.phase(1, end_date=FEBRUARY),
        shop.phase(2, start_date=MARCH, end_date=APRIL),
    ]
    endless = [shop.phase(1), shop.phase(2)]
    backwards = [shop.phase(1, end_date=START - 1)]
    for phases in (gap, endless, backwards):
        assert api.call("POST", SCHEDULES, {**base, "phases": phases}).status == 400
    assert api.get(SCHEDULES)["data"] == []
