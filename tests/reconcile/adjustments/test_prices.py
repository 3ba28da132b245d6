"""Prices of every kind: the preview shows what Stripe will do, and the model raises no false alarm.

Time is a test clock: in the first second of a period a proration is the whole price, in its middle
exactly half of it. The figures are worked out by hand from that.
"""

from dataclasses import replace
from typing import Any

import pytest

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.quote import Quote
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.catalog import Catalog
from reconcile.nights import checks
from reconcile.policy.proration import PriceModel, Tier, TiersMode
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Refuse
from reconcile.stripe_api import StripeApi
from tests.support.shop import Shop, create_price, with_catalog

ADA = Actor("token:tok_1", "tok_1")
# Noon of the first of April 2026: a period of thirty days.
START = 1_775_044_800
DAY_S = 24 * 3600
GRADUATED = PriceModel(
    tiers_mode=TiersMode.GRADUATED,
    tiers=(
        Tier(up_to=5, unit_minor=1000, flat_minor=500),
        Tier(up_to=10, unit_minor=800),
        Tier(up_to=None, unit_minor=600),
    ),
)

VOLUME = PriceModel(
    tiers_mode=TiersMode.VOLUME,
    tiers=(Tier(up_to=10, unit_minor=5000), Tier(up_to=None, unit_minor=4500)),
)


def priced(shop: Shop, currency: str, model: PriceModel) -> Shop:
    """The same shop, the team's seats at this price a month."""
    catalog = shop.services.catalog
    plan = catalog.plan("team")
    old = next(each for each in plan.prices if each.interval == "month")
    made = replace(old, currency=currency, model=model, lookup_key=f"team_{currency}_test", id=None)
    made = replace(made, id=create_price(shop.sandbox, made))
    rules = replace(plan.rules, policy=catalog.plan("agency").rules.policy)
    other = replace(plan, prices=(made,), rules=rules)
    plans = {**catalog.plans, "team": other}
    return replace(shop, services=with_catalog(shop.services, Catalog(plans)))


class Buyer:
    """An organization of the team plan that buys its seats, on a test clock of its own."""

    def __init__(self, shop: Shop, seats: int, *, active: int = 1, **params: Any) -> None:
        self.shop = shop
        clock = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
        self.clock = str(clock["id"])
        self.customer = shop.organization(plan="team", member=active, test_clock=self.clock)
        (price,) = shop.services.catalog.plan("team").prices
        form = {
            "customer": self.customer,
            "metadata[organization_id]": "org_1",
            "items[0][price]": price.id,
            "items[0][quantity]": seats,
        }
        self.sub = str(shop.sandbox.post("/v1/subscriptions", form | params)["id"])
        shop.settle(self.sub)

    def at(self, seconds: int) -> None:
        """Let time pass until so many seconds after the start."""
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.shop.sandbox.post(path, {"frozen_time": START + seconds})

    def ask(self, seats: int) -> Preview:
        """A preview that is one."""
        wanted = Wanted(quantities={"member": seats})
        found = seat_change.preview(self.shop.services, "org_1", wanted, actor=ADA)
        assert isinstance(found, Preview), found
        return found

    def buy(self, seats: int) -> Quote:
        """Preview and save: what was shown is what Stripe did; returns what was shown."""
        seen = self.ask(seats)
        done = seat_change.apply(self.shop.services, "org_1", seen.id, actor=ADA)
        assert isinstance(done, Applied), done
        assert self.shop.quantities(self.sub) == {"member": seats}
        if seen.quote.charged_now:
            invoice = self.shop.invoices(self.sub, "subscription_update")[-1]
            assert invoice["total"] == seen.quote.total_minor
            assert invoice["subtotal"] == seen.quote.subtotal_minor
            assert invoice["amount_due"] == seen.quote.due_now_minor
        assert self.shop.findings(self.sub) == set()
        return seen.quote

    def renewal(self) -> dict[str, Any]:
        """The next invoice, an hour after the period ended."""
        items = self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["items"]["data"]
        self.at(int(items[0]["current_period_end"]) - START + 2 * 3600)
        return self.shop.invoices(self.sub, "subscription_cycle")[-1]


def test_a_raise_over_a_volume_break_lowers_the_total_and_is_shown_so(shop: Shop) -> None:
    """Ten at 50.00 are 500.00, eleven at 45.00 are 495.00."""
    buyer = Buyer(priced(shop, "usd", VOLUME), 10)
    seen = buyer.buy(11)
    assert (seen.plan_difference_minor, seen.total_minor, seen.due_now_minor) == (-500, -500, 0)
    assert seen.words == (
        "Change: +1 Member seat. New plan total: USD 495.00/month (-USD 5.00/month). "
        "USD 5.00 is credited on the next invoice; nothing is refunded."
    )
    assert buyer.renewal()["total"] == 11 * 4500


def test_fewer_seats_that_fall_short_of_a_volume_price_cost_more_and_say_so(shop: Shop) -> None:
    """Eleven at 45.00 are 495.00, ten at 50.00 are 500.00: for half of the month 2.50 more."""
    buyer = Buyer(priced(shop, "usd", VOLUME), 11)
    buyer.at(15 * DAY_S)
    seen = buyer.buy(10)
    assert (seen.plan_difference_minor, seen.total_minor, seen.due_now_minor) == (500, 250, 0)
    assert seen.words == (
        "Change: -1 Member seat. New plan total: USD 500.00/month (+USD 5.00/month). "
        "USD 2.50 is billed on the next invoice; nothing is billed now."
    )
    (done,) = shop.adjustments(buyer.sub)
    assert done.outcome == (
        "-1 Member seat; charged USD 2.50 (USD 250.00 for the seats, USD 247.50 credited for "
        "unused time) on the next invoice"
    )
    assert buyer.renewal()["total"] == 10 * 5000 + 250


def test_fewer_seats_are_credited_and_say_how_much(shop: Shop) -> None:
    buyer = Buyer(priced(shop, "usd", PriceModel(unit_minor=1000)), 3)
    buyer.at(15 * DAY_S)
    buyer.buy(1)
    (done,) = shop.adjustments(buyer.sub)
    assert done.outcome == "-2 Member seats; credited USD 10.00 on the next invoice"


def test_graduated_tiers(shop: Shop) -> None:
    """Four cost 5.00 + 40.00; seven 5.00 + 50.00 + 16.00; twelve 55.00 + 40.00 + 12.00."""
    buyer = Buyer(priced(shop, "usd", GRADUATED), 4)
    assert buyer.shop.invoices(buyer.sub)[0]["total"] == 4500
    buyer.at(15 * DAY_S)
    seen = buyer.buy(7)
    assert (seen.plan_total_before_minor, seen.plan_total_minor) == (4500, 7100)
    assert seen.total_minor == (7100 - 4500) // 2
    assert buyer.buy(12).total_minor == (10700 - 7100) // 2
    assert buyer.buy(6).total_minor == (6300 - 10700) // 2


def test_a_currency_without_decimals_is_never_divided(shop: Shop) -> None:
    """Three at 1,500 yen are 4,500 yen; two more for half of the month are 1,500."""
    buyer = Buyer(priced(shop, "jpy", PriceModel(unit_minor=1500)), 3)
    assert buyer.shop.invoices(buyer.sub)[0]["amount_paid"] == 4500
    buyer.at(15 * DAY_S)
    seen = buyer.buy(5)
    assert seen.words == (
        "Change: +2 Member seats. New plan total: JPY 7,500/month (+JPY 3,000/month). "
        "Stripe will bill JPY 1,500 for the rest of this cycle, JPY 1,500 due now."
    )
    assert (seen.currency, seen.total_minor) == ("jpy", 1500)


def test_a_currency_with_three_decimals(shop: Shop) -> None:
    """2.500 dinars a seat; half of the month is 1.250."""
    buyer = Buyer(priced(shop, "kwd", PriceModel(unit_minor=2500)), 1)
    buyer.at(15 * DAY_S)
    assert "Stripe will bill KWD 1.250 for the rest of this cycle" in buyer.buy(2).words


def coupon(shop: Shop, **params: Any) -> dict[str, Any]:
    """The parameters of a subscription with this discount."""
    made = shop.sandbox.post("/v1/coupons", params)
    return {"discounts[0][coupon]": made["id"]}


def test_a_percentage_off_is_in_the_preview_and_no_difference_to_the_model(shop: Shop) -> None:
    """A quarter off 10.00: two more seats for half of the month are 7.50."""
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    buyer = Buyer(shop, 3, **coupon(shop, percent_off=25, duration="forever"))
    assert shop.invoices(buyer.sub)[0]["total"] == 2250
    buyer.at(15 * DAY_S)
    seen = buyer.buy(5)
    assert (seen.total_minor, seen.discounted) == (750, True)
    assert "New plan total: USD 50.00/month (+USD 20.00/month), before discounts." in seen.words
    assert buyer.buy(4).total_minor == -375
    assert buyer.renewal()["total"] == 4 * 750 - 375


def test_a_discount_of_the_customer_is_named_where_stripe_lists_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription without one of its own inherits the customer's: only the preview shows it."""
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    Buyer(shop, 3)
    call = StripeApi._call

    def with_the_customers(self: StripeApi, method: str, path: str, *args: Any, **more: Any) -> Any:
        raw, answer = call(self, method, path, *args, **more)
        inherited = {"discounts": ["di_of_the_customer"]} if "create_preview" in path else {}
        return {**raw, **inherited}, answer

    monkeypatch.setattr(StripeApi, "_call", with_the_customers)
    wanted = Wanted(quantities={"member": 4})
    seen = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(seen, Preview)
    assert seen.quote.discounted
    assert ", before discounts." in seen.quote.words


def test_an_amount_off_for_some_months(shop: Shop) -> None:
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    terms = coupon(shop, amount_off=400, currency="usd", duration="repeating", duration_in_months=2)
    buyer = Buyer(shop, 4, **terms)
    assert shop.invoices(buyer.sub)[0]["total"] == 3600
    buyer.at(15 * DAY_S)
    assert buyer.buy(6).total_minor == (5600 - 3600) // 2
    buyer.buy(5)


def test_a_coupon_for_once_was_used_up_by_the_first_invoice(shop: Shop) -> None:
    """Half off the first month: it was paid at 5.00 a seat, what is added costs 10.00.

    The credit is of what was paid, as flexible billing does it: the model has to see that.
    """
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    buyer = Buyer(shop, 2, **coupon(shop, percent_off=50, duration="once"))
    assert shop.invoices(buyer.sub)[0]["total"] == 1000
    buyer.at(15 * DAY_S)
    seen = buyer.buy(3)
    assert seen.total_minor == 3000 // 2 - 1000 // 2
    assert not seen.discounted


def test_a_whole_discount_costs_nothing_and_is_no_difference(shop: Shop) -> None:
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    buyer = Buyer(shop, 2, **coupon(shop, percent_off=100, duration="forever"))
    buyer.at(15 * DAY_S)
    seen = buyer.buy(5)
    assert (seen.total_minor, seen.due_now_minor) == (0, 0)


def taxed(shop: Shop, percentage: int) -> dict[str, Any]:
    """The parameters of a subscription with this tax on top."""
    rate = shop.sandbox.post(
        "/v1/tax_rates", {"display_name": "VAT", "percentage": percentage, "inclusive": "false"}
    )
    return {"default_tax_rates[0]": rate["id"]}


def test_tax_is_shown_and_billed(shop: Shop) -> None:
    """A fifth on top: two more for half of the month are 10.00 and 2.00 of tax."""
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    buyer = Buyer(shop, 3, **taxed(shop, 20))
    assert shop.invoices(buyer.sub)[0]["total"] == 3600
    buyer.at(15 * DAY_S)
    seen = buyer.buy(5)
    assert (seen.subtotal_minor, seen.tax_minor, seen.total_minor) == (1000, 200, 1200)
    assert seen.words == (
        "Change: +2 Member seats. New plan total: USD 50.00/month (+USD 20.00/month), before tax. "
        "Stripe will bill USD 12.00 (USD 2.00 of it tax) for the rest of this cycle, "
        "USD 12.00 due now."
    )


def test_the_tax_of_what_is_removed_is_credited_with_it(shop: Shop) -> None:
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    buyer = Buyer(shop, 5, **taxed(shop, 20))
    buyer.at(15 * DAY_S)
    seen = buyer.buy(3)
    assert (seen.subtotal_minor, seen.tax_minor, seen.total_minor) == (-1000, -200, -1200)
    assert "USD 12.00 (USD 2.00 of it tax) is credited on the next invoice" in seen.words
    assert buyer.renewal()["total"] == 3600 - 1200


def test_a_discount_and_a_tax_together(shop: Shop) -> None:
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    terms = coupon(shop, percent_off=10, duration="forever") | taxed(shop, 20)
    buyer = Buyer(shop, 2, **terms)
    buyer.at(15 * DAY_S)
    seen = buyer.buy(4)
    assert (seen.subtotal_minor, seen.tax_minor, seen.total_minor) == (900, 180, 1080)
    assert ", before discounts and tax." in seen.words


def test_seats_added_without_proration_bring_no_credit_and_no_finding(shop: Shop) -> None:
    """Two are paid, a person adds three with `none`: removing one credits two and charges four."""
    buyer = Buyer(priced(shop, "usd", PriceModel(unit_minor=1000)), 2)
    shop = buyer.shop
    shop.edit(buyer.sub, "member", 5, proration_behavior="none")
    shop.settle(buyer.sub)
    buyer.at(15 * DAY_S)
    seen = buyer.ask(4)
    assert seen.quote.total_minor == 4000 // 2 - 2000 // 2
    done = seat_change.apply(shop.services, "org_1", seen.id, actor=ADA)
    assert isinstance(done, Applied)
    shop.settle(buyer.sub)
    assert "invoice_differs_from_model" not in shop.findings(buyer.sub)
    failed = [check.name for check in checks.run(shop.services) if not check.ok]
    assert failed == ["every event accounted for"]


def test_seats_taken_away_without_proration_are_credited_with_the_next_raise(shop: Shop) -> None:
    buyer = Buyer(priced(shop, "usd", PriceModel(unit_minor=1000)), 6)
    shop = buyer.shop
    shop.edit(buyer.sub, "member", 2, proration_behavior="none")
    shop.settle(buyer.sub)
    buyer.at(15 * DAY_S)
    seen = buyer.ask(3)
    assert seen.quote.total_minor == 3000 // 2 - 6000 // 2
    done = seat_change.apply(shop.services, "org_1", seen.id, actor=ADA)
    assert isinstance(done, Applied)
    assert "invoice_differs_from_model" not in shop.findings(buyer.sub)


@pytest.mark.parametrize("discounted", [False, True])
def test_a_price_that_is_dearer_in_stripe_is_still_found(shop: Shop, discounted: bool) -> None:
    """A discount explains a line that is lower, never one that is higher."""
    shop = priced(shop, "usd", PriceModel(unit_minor=1000))
    terms = coupon(shop, percent_off=10, duration="forever") if discounted else {}
    buyer = Buyer(shop, 2, **terms)
    catalog = shop.services.catalog
    plan = catalog.plan("team")
    (price,) = plan.prices
    cheaper = replace(plan, prices=(replace(price, model=PriceModel(unit_minor=700)),))
    services = with_catalog(shop.services, Catalog({**catalog.plans, "team": cheaper}))
    buyer.shop = replace(shop, services=services)
    buyer.at(15 * DAY_S)
    done = seat_change.apply(services, "org_1", buyer.ask(4).id, actor=ADA)
    assert isinstance(done, Applied)
    assert shop.findings(buyer.sub) == {"invoice_differs_from_model"}


def test_a_minimum_is_part_of_the_plan(shop: Shop) -> None:
    customer = shop.organization(base=1, voice=1)
    sub = shop.subscribe(customer, {"base": 3, "voice": 1})
    shop.settle(sub)
    shop.activate("org_1", "base", 0)
    wanted = Wanted(quantities={"base": 0})
    refused = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(refused, Refuse)
    assert (refused.code, refused.remedies) == ("below_minimum", ("keep 1",))
