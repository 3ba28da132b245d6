"""Changing a subscription: what is charged, what is refused, what waits for a payment."""

from typing import Any

import pytest

from tests.sandbox.client import Api
from tests.sandbox.shop import DAY, START, Shop

DECLINING = "pm_card_chargeCustomerFail"
THREE_DS = "pm_card_threeDSecure2Required"


@pytest.fixture
def shop(api: Api) -> Shop:
    """A customer who can pay."""
    return Shop(api)


def test_a_new_price_without_a_quantity_is_one_seat(shop: Shop) -> None:
    """Stripe's trap: the quantity of the old price is not kept."""
    subscription = shop.subscribe((shop.price(), 5))
    item = subscription["items"]["data"][0]["id"]
    changes = {"items": [{"id": item, "price": shop.price(2000)}]}
    after = shop.api.post(f"/v1/subscriptions/{subscription['id']}", changes)
    assert [one["quantity"] for one in after["items"]["data"]] == [1]


def test_leaving_out_the_item_id_adds_an_item(shop: Shop) -> None:
    """Stripe's other trap."""
    subscription = shop.subscribe((shop.price(), 5))
    changes = {"items": [{"price": shop.price(2000), "quantity": 2}]}
    after = shop.api.post(f"/v1/subscriptions/{subscription['id']}", changes)
    assert [one["quantity"] for one in after["items"]["data"]] == [5, 2]
    assert after["quantity"] is None


def test_a_mixed_change_is_one_invoice(shop: Shop) -> None:
    """B4: +2 of one and -1 of the other at half time are netted in one update."""
    subscription = shop.subscribe((shop.price(1000), 5), (shop.price(400), 3))
    first, second = (one["id"] for one in subscription["items"]["data"])
    shop.to(15)
    after = shop.api.post(
        f"/v1/subscriptions/{subscription['id']}",
        {
            "items": [{"id": first, "quantity": 7}, {"id": second, "quantity": 2}],
            "proration_behavior": "always_invoice",
            "expand": ["latest_invoice"],
        },
    )
    invoice = after["latest_invoice"]
    assert sorted(amount for amount, _ in shop.lines(invoice)) == [-2500, -600, 400, 3500]
    assert invoice["total"] == invoice["amount_paid"] == 800


def test_seats_added_for_nothing_earn_nothing(shop: Shop) -> None:
    """Flexible: what was never debited is not credited when it is given back."""
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.to(6)
    shop.change(subscription, 3, proration_behavior="none")
    shop.to(15)
    after = shop.change(subscription, 1).body
    assert after["latest_invoice"]["total"] == 0


def test_classic_credits_what_the_item_says(api: Api) -> None:
    """The same steps in classic mode give two seats' money back."""
    shop = Shop(api, mode="classic")
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.to(6)
    shop.change(subscription, 3, proration_behavior="none")
    shop.to(15)
    after = shop.change(subscription, 1).body
    assert after["latest_invoice"]["total"] == -1000


def test_each_debit_is_credited_once(shop: Shop) -> None:
    """Up, up, down, down again: every invoice takes back only what still stands."""
    subscription = shop.subscribe((shop.price(1000), 1))
    totals = []
    for day, quantity in ((6, 3), (12, 6), (18, 2), (24, 1)):
        shop.to(day)
        totals.append(shop.change(subscription, quantity).body["latest_invoice"]["total"])
    assert totals == [1600, 1800, -1600, -200]


def test_discounts_are_folded_into_prorations(shop: Shop) -> None:
    """A percentage off: prorations carry it inside, the renewal shows it."""
    coupon = shop.api.post("/v1/coupons", {"percent_off": 25, "duration": "forever"})["id"]
    subscription = shop.subscribe((shop.price(1000), 2), discounts=[{"coupon": coupon}])
    assert shop.read(subscription)["latest_invoice"]["total"] == 1500
    shop.to(15)
    after = shop.change(subscription, 4).body
    lines = after["latest_invoice"]["lines"]["data"]
    assert [line["amount"] for line in lines] == [-750, 1500]
    assert not any(line["discountable"] or line["discount_amounts"] for line in lines)
    shop.to(31)
    renewal = shop.read(subscription)["latest_invoice"]
    assert (renewal["subtotal"], renewal["total"]) == (4000, 3000)


def test_a_coupon_for_once_is_gone_after_the_first_invoice(shop: Shop) -> None:
    """Then nothing is folded any more, but what was debited with it is credited with it."""
    coupon = shop.api.post("/v1/coupons", {"amount_off": 400, "currency": "usd"})["id"]
    subscription = shop.subscribe((shop.price(1000), 2), discounts=[{"coupon": coupon}])
    assert shop.read(subscription)["latest_invoice"]["total"] == 1600
    assert subscription["discounts"] == []
    shop.to(15)
    after = shop.change(subscription, 4).body
    assert [amount for amount, _ in shop.lines(after["latest_invoice"])] == [-800, 2000]


def test_tax_is_on_every_line(shop: Shop) -> None:
    """10 percent on top, prorations included."""
    rate = shop.api.post(
        "/v1/tax_rates", {"display_name": "VAT", "percentage": 10, "inclusive": False}
    )["id"]
    subscription = shop.subscribe((shop.price(1000), 2), default_tax_rates=[rate])
    assert shop.read(subscription)["latest_invoice"]["total"] == 2200
    shop.to(15)
    invoice = shop.change(subscription, 4).body["latest_invoice"]
    assert (invoice["subtotal"], invoice["total"]) == (1000, 1100)
    assert invoice["total_taxes"][0]["amount"] == 100


TIERS = [{"up_to": 5, "unit_amount": 1000}, {"up_to": "inf", "unit_amount": 700}]


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [("volume", 5000, 4200), ("graduated", 5000, 5700)],
)
def test_tiers(shop: Shop, mode: str, before: int, after: int) -> None:
    """Volume: the sixth seat makes all of them cheaper; graduated: only itself."""
    price = shop.price(billing_scheme="tiered", tiers_mode=mode, tiers=TIERS)
    subscription = shop.subscribe((price, 5))
    assert shop.read(subscription)["latest_invoice"]["total"] == before
    invoice = shop.change(subscription, 6).body["latest_invoice"]
    assert invoice["total"] == after - before
    assert len(invoice["lines"]["data"]) == 2


@pytest.mark.parametrize("card", [DECLINING, THREE_DS])
class TestUnpaid:
    """A raise that the card does not pay, by `payment_behavior`."""

    @pytest.fixture
    def subscription(self, shop: Shop, card: str) -> dict[str, Any]:
        """Two seats, paid with a good card; then the card is one that fails."""
        subscription = shop.subscribe((shop.price(1000), 2))
        shop.pay_with(card)
        return subscription

    def test_allowed(self, shop: Shop, subscription: dict[str, Any], card: str) -> None:
        """Default: applied, and past due."""
        after = shop.change(subscription, 4).body
        assert (after["status"], after["quantity"]) == ("past_due", 4)
        assert after["latest_invoice"]["status"] == "open"
        assert "invoice.payment_failed" in shop.events()

    def test_default_incomplete(self, shop: Shop, subscription: dict[str, Any], card: str) -> None:
        """Applied and past due without an attempt."""
        after = shop.change(subscription, 4, payment_behavior="default_incomplete").body
        assert (after["status"], after["quantity"]) == ("past_due", 4)
        assert after["latest_invoice"]["attempt_count"] == 0

    def test_an_error(self, shop: Shop, subscription: dict[str, Any], card: str) -> None:
        """402, and nothing happened: no invoice, no number used, no event."""
        before, events = shop.read(subscription), shop.events()
        answer = shop.change(subscription, 4, payment_behavior="error_if_incomplete")
        assert answer.status == 402
        assert answer.error["type"] == "card_error"
        declined = card == DECLINING
        assert answer.error["code"] == (
            "card_declined" if declined else "subscription_payment_intent_requires_action"
        )
        assert answer.error.get("decline_code") == ("generic_decline" if declined else None)
        assert shop.read(subscription) == before
        assert shop.events() == events

    def test_pending(self, shop: Shop, subscription: dict[str, Any], card: str) -> None:
        """The old quantity stays; the invoice's payment brings the new one, metadata too."""
        after = shop.change(
            subscription, 4, payment_behavior="pending_if_incomplete", metadata={"why": "growth"}
        ).body
        assert (after["status"], after["quantity"], after["metadata"]) == ("active", 2, {})
        pending = after["pending_update"]
        assert pending["expires_at"] == START + 23 * 3600
        assert [one["quantity"] for one in pending["subscription_items"]] == [4]
        good = shop.pay_with("pm_card_visa")
        invoice = after["latest_invoice"]["id"]
        shop.api.post(f"/v1/invoices/{invoice}/pay", {"payment_method": good})
        paid = shop.read(subscription)
        assert (paid["quantity"], paid["pending_update"]) == (4, None)
        assert paid["metadata"] == {"why": "growth"}
        assert "customer.subscription.pending_update_applied" in shop.events()
        shop.to(15)
        credit = shop.change(subscription, 2).body["latest_invoice"]
        assert credit["total"] == -1000

    def test_pending_expires(self, shop: Shop, subscription: dict[str, Any], card: str) -> None:
        """After 23 hours the invoice is void and the update forgotten."""
        after = shop.change(subscription, 4, payment_behavior="pending_if_incomplete").body
        shop.to(1)
        later = shop.read(subscription)
        assert (later["status"], later["quantity"], later["pending_update"]) == ("active", 2, None)
        assert later["latest_invoice"]["id"] == after["latest_invoice"]["id"]
        assert later["latest_invoice"]["status"] == "void"
        assert "customer.subscription.pending_update_expired" in shop.events()
        shop.pay_with("pm_card_visa")
        assert shop.change(subscription, 4).body["latest_invoice"]["total"] == 1934


def test_pending_takes_only_some_parameters(shop: Shop) -> None:
    """What can't wait for a payment is refused with it."""
    subscription = shop.subscribe((shop.price(), 2))
    answer = shop.change(subscription, 3, payment_behavior="pending_if_incomplete", description="x")
    assert (answer.status, answer.error["param"]) == (400, "description")


@pytest.mark.parametrize("offset", [-1, 30 * DAY + 1])
def test_a_proration_date_outside_the_period_is_refused(shop: Shop, offset: int) -> None:
    """It has to lie within the current period."""
    subscription = shop.subscribe((shop.price(), 2))
    answer = shop.change(subscription, 3, proration_date=START + offset)
    assert (answer.status, answer.error["param"]) == (400, "proration_date")


def test_a_proration_date_without_proration_is_refused(shop: Shop) -> None:
    """`none` has no date."""
    subscription = shop.subscribe((shop.price(), 2))
    answer = shop.change(subscription, 3, proration_behavior="none", proration_date=START)
    assert (answer.status, answer.error["param"]) == (400, "proration_date")


def test_a_parameter_the_sandbox_does_not_implement_is_refused(shop: Shop) -> None:
    """Known to Stripe but not to us: never ignored."""
    subscription = shop.subscribe((shop.price(), 2))
    path = f"/v1/subscriptions/{subscription['id']}"
    answer = shop.api.call("POST", path, {"automatic_tax": {"enabled": True}})
    assert (answer.status, answer.error["code"]) == (400, "sandbox_unsupported")


def test_a_preview_changes_nothing(shop: Shop) -> None:
    """Not an event, not an id, not a number is used up, and the real thing costs the same."""
    subscription = shop.subscribe((shop.price(), 2))
    before, events = shop.read(subscription), shop.events()
    customer = shop.api.get(f"/v1/customers/{shop.customer}")
    item = subscription["items"]["data"][0]["id"]
    details = {
        "items": [{"id": item, "quantity": 1}],
        "proration_behavior": "always_invoice",
        "proration_date": START + 10 * DAY,
    }
    asked = {"subscription": subscription["id"], "subscription_details": details}
    preview = shop.api.post("/v1/invoices/create_preview", asked)
    assert shop.read(subscription) == before
    assert shop.events() == events
    assert shop.api.get(f"/v1/customers/{shop.customer}") == customer
    assert (preview["total"], preview["amount_due"], preview["ending_balance"]) == (-666, 0, -666)
    answer = shop.api.call("GET", f"/v1/invoices/{preview['id']}")
    assert answer.status == 404
    after = shop.change(subscription, 1, proration_date=START + 10 * DAY).body
    assert after["latest_invoice"]["total"] == -666
    assert shop.api.get(f"/v1/customers/{shop.customer}")["balance"] == -666


def test_the_credit_is_used_by_the_next_invoice(shop: Shop) -> None:
    """B3: never a refund, always the balance."""
    subscription = shop.subscribe((shop.price(), 2))
    shop.to(10)
    shop.change(subscription, 1)
    shop.to(31)
    renewal = shop.read(subscription)["latest_invoice"]
    assert (renewal["total"], renewal["starting_balance"], renewal["amount_paid"]) == (
        1000,
        -666,
        334,
    )
    assert shop.api.get(f"/v1/customers/{shop.customer}")["balance"] == 0
    path = f"/v1/customers/{shop.customer}/balance_transactions"
    assert [(one["type"], one["amount"]) for one in shop.api.get(path)["data"]] == [
        ("applied_to_invoice", 666),
        ("applied_to_invoice", -666),
    ]


@pytest.mark.parametrize("limit", [{"max_redemptions": 1}, {"redeem_by": START - 1}])
def test_a_coupon_that_is_used_up(shop: Shop, limit: dict[str, int]) -> None:
    """Refused, and the first use counted."""
    coupon = shop.api.post("/v1/coupons", {"percent_off": 10, **limit})["id"]
    price, wanted = shop.price(), [{"coupon": coupon}]
    if "max_redemptions" in limit:
        shop.subscribe((price, 1), discounts=wanted)
        assert shop.api.get(f"/v1/coupons/{coupon}")["valid"] is False
    answer = shop.try_subscribe((price, 1), discounts=wanted)
    assert (answer.status, answer.error["code"]) == (400, "coupon_expired")


def test_an_incomplete_subscription_is_completed_by_confirming(shop: Shop) -> None:
    """What a checkout page does with the invoice's payment intent."""
    subscription = shop.subscribe(
        (shop.price(1000), 1),
        payment_behavior="default_incomplete",
        expand=["latest_invoice.payments"],
    )
    assert subscription["status"] == "incomplete"
    intent = subscription["latest_invoice"]["payments"]["data"][0]["payment"]["payment_intent"]
    path = f"/v1/payment_intents/{intent}/confirm"
    refused = shop.api.call("POST", path, {"payment_method": DECLINING})
    assert (refused.status, refused.error["decline_code"]) == (402, "generic_decline")
    assert shop.api.post(path, {"payment_method": "pm_card_visa"})["status"] == "succeeded"
    assert shop.read(subscription)["status"] == "active"
    assert shop.api.call("POST", path).error["code"] == "payment_intent_unexpected_state"


def test_a_change_of_settings_survives_a_postponed_update(shop: Shop) -> None:
    """Only what the update named waits for the payment."""
    subscription = shop.subscribe((shop.price(1000), 2))
    shop.pay_with(DECLINING)
    waiting = shop.change(subscription, 4, payment_behavior="pending_if_incomplete").body
    path = f"/v1/subscriptions/{subscription['id']}"
    shop.api.post(path, {"cancel_at_period_end": True})
    good = shop.pay_with("pm_card_visa")
    invoice = waiting["latest_invoice"]["id"]
    shop.api.post(f"/v1/invoices/{invoice}/pay", {"payment_method": good})
    after = shop.read(subscription)
    assert (after["quantity"], after["cancel_at_period_end"]) == (4, True)


def test_a_finalized_event_shows_an_open_invoice(shop: Shop) -> None:
    """Each event shows the invoice as it was then, not as it became."""
    shop.subscribe((shop.price(0), 1))
    events = shop.api.get("/v1/events", {"types": ["invoice.finalized", "invoice.paid"]})["data"]
    assert [(e["type"], e["data"]["object"]["status"]) for e in events] == [
        ("invoice.paid", "paid"),
        ("invoice.finalized", "open"),
    ]


def test_an_end_inside_a_period_is_refused(shop: Shop) -> None:
    """It would prorate when it comes, which is not implemented."""
    subscription = shop.subscribe((shop.price(1000), 2))
    path = f"/v1/subscriptions/{subscription['id']}"
    refused = shop.api.call("POST", path, {"cancel_at": START + 10 * DAY})
    assert refused.error["code"] == "sandbox_unsupported"
    unprorated = {"cancel_at": START + 10 * DAY, "proration_behavior": "none"}
    shop.api.post(path, unprorated)
    shop.to(11)
    ended = shop.read(subscription)
    assert (ended["status"], ended["ended_at"]) == ("canceled", START + 10 * DAY)


@pytest.mark.parametrize(("days", "amount"), [(4 / DAY, 0), (12, 419)])
def test_a_new_anchor_owes_only_the_added_time(shop: Shop, days: float, amount: int) -> None:
    """Flexible: one pending debit from the old end to the new one, and no credit (recorded).

    12 days in, that is 13 days of the 31 that begin on 3 October.
    """
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.to(days)
    path = f"/v1/subscriptions/{subscription['id']}"
    moved = shop.api.post(path, {"billing_cycle_anchor": {"type": "now"}})
    now = START + int(days * DAY)
    assert moved["billing_cycle_anchor"] == now
    assert moved["latest_invoice"] == subscription["latest_invoice"]
    waiting = {"customer": shop.customer, "pending": True}
    (item,) = shop.api.get("/v1/invoiceitems", waiting)["data"]
    assert (item["amount"], item["period"]) == (
        amount,
        {"start": START + 30 * DAY, "end": now + 30 * DAY if days < 1 else now + 31 * DAY},
    )


def test_a_new_anchor_in_classic_mode_starts_over(api: Api) -> None:
    """The unused time is credited and a whole period is charged at once."""
    shop = Shop(api, mode="classic")
    subscription = shop.subscribe((shop.price(1000), 1))
    shop.to(12)
    path = f"/v1/subscriptions/{subscription['id']}"
    moved = shop.api.post(path, {"billing_cycle_anchor": {"type": "now"}})
    assert sorted(amount for amount, _ in shop.lines(moved["latest_invoice"])) == [-600, 1000]
    assert moved["items"]["data"][0]["current_period_start"] == START + 12 * DAY
