"""What time brings: renewals, retries, ends, trials, pauses. By test clock and by the own clock."""

from typing import Any

import pytest

from tests.sandbox.client import Api
from tests.sandbox.shop import DAY, START, Shop

HOUR = 3600


@pytest.fixture
def shop(api: Api) -> Shop:
    """A customer who can pay."""
    return Shop(api)


def test_a_renewal_is_drafted_and_charged_an_hour_later(shop: Shop) -> None:
    """The draft comes with the period's end, pending items on it."""
    subscription = shop.subscribe((shop.price(1000), 2))
    shop.to(15)
    shop.change(subscription, 3, proration_behavior="create_prorations")
    shop.to(30)
    renewed = shop.read(subscription)
    draft = renewed["latest_invoice"]
    assert (draft["status"], draft["billing_reason"]) == ("draft", "subscription_cycle")
    assert (draft["created"], draft["period_start"], draft["period_end"]) == (
        START + 30 * DAY,
        START,
        START + 30 * DAY,
    )
    assert draft["automatically_finalizes_at"] == draft["created"] + HOUR
    assert shop.lines(draft) == [
        (-1000, "Unused time on 2 × Seat after 06 Oct 2026"),
        (1500, "Remaining time on 3 × Seat after 06 Oct 2026"),
        (3000, "3 × Seat (at $10.00 / month)"),
    ]
    item = renewed["items"]["data"][0]
    assert item["current_period_start"] == START + 30 * DAY
    assert item["current_period_end"] == START + 61 * DAY  # 21 October to 21 November
    shop.to(30 + 1 / 24)
    paid = shop.read(subscription)["latest_invoice"]
    assert (paid["status"], paid["total"], paid["amount_paid"]) == ("paid", 3500, 3500)


def test_nothing_is_billed_twice_by_small_steps(shop: Shop) -> None:
    """Many small advances bring the same invoices as one large one."""
    subscription = shop.subscribe((shop.price(1000), 1))
    for day in range(5, 60, 5):
        shop.to(day)
    invoices = shop.api.get("/v1/invoices", {"subscription": subscription["id"]})["data"]
    assert [one["billing_reason"] for one in invoices] == [
        "subscription_cycle",
        "subscription_create",
    ]


@pytest.mark.parametrize(
    ("fate", "status"), [("unpaid", "unpaid"), ("past_due", "past_due"), ("cancel", "canceled")]
)
def test_retries_and_what_comes_after_them(shop: Shop, fate: str, status: str) -> None:
    """Past due at the first failure; after 3, 5 and 7 more days the account's setting."""
    shop.api.control("POST", "settings", {"after_retries": fate})
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.pay_with("pm_card_chargeCustomerFail")
    shop.to(31)
    assert shop.read(subscription)["status"] == "past_due"
    tried = []
    for day in (34, 39, 45, 46, 58):
        shop.to(day)
        tried.append(shop.read(subscription)["latest_invoice"]["attempt_count"])
    assert tried == [2, 3, 3, 4, 4]
    assert shop.read(subscription)["status"] == status
    assert len(shop.events("invoice.payment_failed")) == 4


def test_paying_the_late_invoice_makes_it_active_again(shop: Shop) -> None:
    """A new card and the payment of what is open."""
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.pay_with("pm_card_chargeCustomerFail")
    shop.to(31)
    late = shop.read(subscription)["latest_invoice"]
    shop.pay_with("pm_card_visa")
    shop.api.post(f"/v1/invoices/{late['id']}/pay")
    assert shop.read(subscription)["status"] == "active"


def test_without_a_card_a_renewal_is_past_due(shop: Shop) -> None:
    """Nothing to charge counts as a failed attempt."""
    subscription = shop.subscribe((shop.price(1000), 1))
    empty = {"invoice_settings": {"default_payment_method": ""}}
    shop.api.post(f"/v1/customers/{shop.customer}", empty)
    shop.to(31)
    after = shop.read(subscription)
    assert after["status"] == "past_due"
    assert (after["latest_invoice"]["status"], after["latest_invoice"]["attempt_count"]) == (
        "open",
        1,
    )


def test_the_first_invoice_waits_for_23_hours(shop: Shop) -> None:
    """Incomplete until then; expired and void after."""
    shop.pay_with("pm_card_chargeCustomerFail")
    subscription = shop.subscribe((shop.price(1000), 1))
    assert subscription["status"] == "incomplete"
    shop.to(22 / 24)
    assert shop.read(subscription)["status"] == "incomplete"
    shop.to(23 / 24)
    after = shop.read(subscription)
    assert (after["status"], after["latest_invoice"]["status"]) == ("incomplete_expired", "void")


def test_cancel_at_period_end_ends_with_what_is_pending(shop: Shop) -> None:
    """No new period; open prorations are invoiced one last time."""
    subscription = shop.subscribe((shop.price(1000), 1))
    path = f"/v1/subscriptions/{subscription['id']}"
    shop.to(15)
    shop.change(subscription, 2, proration_behavior="create_prorations")
    asked = shop.api.post(path, {"cancel_at_period_end": True})
    assert asked["cancel_at"] == START + 30 * DAY
    shop.to(31)
    ended = shop.read(subscription)
    assert (ended["status"], ended["ended_at"], ended["canceled_at"]) == (
        "canceled",
        START + 30 * DAY,
        START + 15 * DAY,
    )
    assert ended["latest_invoice"]["total"] == 500
    assert shop.events("customer.subscription.deleted")
    shop.to(80)
    assert len(shop.api.get("/v1/invoices", {"subscription": subscription["id"]})["data"]) == 2


def test_taking_the_cancellation_back_renews(shop: Shop) -> None:
    """As if it was never asked for."""
    subscription = shop.subscribe((shop.price(1000), 1))
    path = f"/v1/subscriptions/{subscription['id']}"
    shop.api.post(path, {"cancel_at_period_end": True})
    shop.api.post(path, {"cancel_at_period_end": False})
    shop.to(31)
    assert shop.read(subscription)["status"] == "active"


@pytest.mark.parametrize(
    ("card", "fate", "status", "paid"),
    [
        ("pm_card_visa", "pause", "active", 2000),
        (None, "create_invoice", "past_due", 0),
        (None, "pause", "paused", 0),
        (None, "cancel", "canceled", 0),
    ],
)
def test_a_trial_ends(api: Api, card: str | None, fate: str, status: str, paid: int) -> None:
    """Announced three days before; charged, or what the trial's settings say."""
    shop = Shop(api, card=card)
    subscription = shop.subscribe(
        (shop.price(1000), 1),
        trial_end=START + 14 * DAY,
        trial_settings={"end_behavior": {"missing_payment_method": fate}},
    )
    assert subscription["status"] == "trialing"
    shop.to(5)
    raised = shop.change(subscription, 2).body
    assert raised["latest_invoice"]["total"] == 0
    assert not shop.events("customer.subscription.trial_will_end")
    shop.to(11)
    assert shop.events("customer.subscription.trial_will_end")
    shop.to(15)
    after = shop.read(subscription)
    assert (after["status"], after["latest_invoice"]["amount_paid"]) == (status, paid)
    assert after["trial_end"] == START + 14 * DAY


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")],
)
def test_paused_collection(shop: Shop, behavior: str, status: str) -> None:
    """Invoices are made and nobody is charged; the subscription stays active; then it resumes."""
    subscription = shop.subscribe((shop.price(1000), 1))
    path = f"/v1/subscriptions/{subscription['id']}"
    pause = {"behavior": behavior, "resumes_at": START + 40 * DAY}
    shop.api.post(path, {"pause_collection": pause})
    shop.to(35)
    paused = shop.read(subscription)
    assert (paused["status"], paused["latest_invoice"]["status"]) == ("active", status)
    shop.to(62)
    resumed = shop.read(subscription)
    assert resumed["pause_collection"] is None
    assert resumed["latest_invoice"]["status"] == "paid"


def test_a_sent_invoice_that_is_not_paid_is_overdue(shop: Shop) -> None:
    """Nobody is charged; the due date makes it past due."""
    subscription = shop.subscribe(
        (shop.price(1000), 1), collection_method="send_invoice", days_until_due=10
    )
    assert shop.read(subscription)["latest_invoice"]["status"] == "draft"
    shop.to(9)
    assert shop.read(subscription)["latest_invoice"]["status"] == "open"
    assert shop.read(subscription)["status"] == "active"
    shop.to(11)
    assert shop.read(subscription)["status"] == "past_due"
    assert shop.events("invoice.overdue")


def test_the_31st_comes_back_after_a_short_month(api: Api) -> None:
    """The anchor's day is kept, not the last period's."""
    clock = {"now": 1_798_711_200, "frozen": True}  # 31 December 2026, 10:00 UTC
    api.control("POST", "clock", clock)
    customer = api.post("/v1/customers", {"payment_method": "pm_card_visa"})
    method = api.get("/v1/payment_methods", {"customer": customer["id"]})["data"][0]["id"]
    api.post(
        f"/v1/customers/{customer['id']}",
        {"invoice_settings": {"default_payment_method": method}},
    )
    product = api.post("/v1/products", {"name": "Seat"})["id"]
    price = api.post(
        "/v1/prices",
        {
            "product": product,
            "unit_amount": 500,
            "currency": "usd",
            "recurring": {"interval": "month"},
        },
    )["id"]
    made = {"customer": customer["id"], "items": [{"price": price}]}
    subscription = api.post("/v1/subscriptions", made)
    ends = []
    for _ in range(4):
        item = api.get(f"/v1/subscriptions/{subscription['id']}")["items"]["data"][0]
        ends.append(item["current_period_end"])
        api.control("POST", "clock", {"now": item["current_period_end"] + 7200})
    # 31 January, 28 February, 31 March, 30 April 2027
    assert ends == [1_801_389_600, 1_803_808_800, 1_806_487_200, 1_809_079_200]
    invoices = api.get("/v1/invoices", {"subscription": subscription["id"]})["data"]
    assert [one["status"] for one in invoices] == ["paid"] * 5


def test_a_test_clock_moves_only_its_own(shop: Shop) -> None:
    """Another customer lives in the sandbox's time; lists leave test clocks out."""
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.to(31)
    assert len(shop.api.get("/v1/invoices", {"subscription": subscription["id"]})["data"]) == 2
    assert shop.api.get("/v1/subscriptions")["data"] == []
    assert len(shop.api.get("/v1/subscriptions", {"test_clock": shop.clock})["data"]) == 1


@pytest.mark.parametrize("days", [0, -1, 80])
def test_a_test_clock_goes_forward_by_two_intervals_at_most(shop: Shop, days: int) -> None:
    """Stripe's own bounds."""
    shop.subscribe((shop.price(1000), 1))
    path = f"/v1/test_helpers/test_clocks/{shop.clock}/advance"
    answer = shop.api.call("POST", path, {"frozen_time": START + days * DAY})
    assert (answer.status, answer.error["param"]) == (400, "frozen_time")


def test_an_advance_is_answered_as_advancing(shop: Shop) -> None:
    """And is over when it is read."""
    path = f"/v1/test_helpers/test_clocks/{shop.clock}"
    moved = shop.api.post(f"{path}/advance", {"frozen_time": START + DAY})
    assert moved["status"] == "advancing"
    now: dict[str, Any] = shop.api.get(path)
    assert (now["status"], now["frozen_time"]) == ("ready", START + DAY)
    shop.api.delete(path)
    assert shop.api.get(f"/v1/customers/{shop.customer}")["deleted"] is True
