"""Prorations that Stripe is known to have made come out to the minor unit, over HTTP."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.client import Api

Json = dict[str, Any]
CASES: dict[str, Json] = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent / "golden" / "prorations.json").read_text())
}
SWITCHES = [name for name in CASES if "month-to-year" in name]
# Their own tests below: stubs, a tiered price, a credit after a change that was not billed.
SPECIAL = {"R12-initial-stub", "R13-stub-swap-and-delete", "R17-volume-tiers-qty20"}
SPECIAL |= {"K5-flexible-credit-original-debit", "R16-credit-2022", "R5-add-item", *SWITCHES}
PLAIN = [name for name in CASES if name not in SPECIAL]


def test_every_case_is_run() -> None:
    """No golden case is left out by a change of its name."""
    assert len(CASES) == 18
    assert set(PLAIN) | SPECIAL == set(CASES)


class Stage:
    """A customer with a card, and the sandbox's clock where the case begins."""

    def __init__(self, api: Api, case: Json, mode: str | None = None) -> None:
        self.api, self.case = api, case
        self.mode = case.get("billing_mode") or mode or "flexible"
        self.at(case["period_start"])
        card = "pm_card_visa"
        self.customer = api.post(
            "/v1/customers",
            {"payment_method": card, "invoice_settings": {"default_payment_method": card}},
        )["id"]

    def at(self, epoch_s: int) -> None:
        """Freeze the time."""
        self.api.control("POST", "clock", {"now": epoch_s, "frozen": True})

    def price(self, amount: int, name: str, interval: str | None = None, **product: str) -> str:
        """A price of a product of its own."""
        made = self.api.post("/v1/products", {"name": name, **product})
        return str(
            self.api.post(
                "/v1/prices",
                {
                    "product": made["id"],
                    "unit_amount": amount,
                    "currency": self.case["currency"],
                    "recurring": {"interval": interval or self.case["interval"]},
                },
            )["id"]
        )

    def subscribe(self, items: list[Json], **params: Any) -> Json:
        """A subscription that starts now."""
        mode = {"type": self.mode}
        return self.api.post(
            "/v1/subscriptions",
            {"customer": self.customer, "items": items, "billing_mode": mode, **params},
        )

    def invoiced(self, subscription: Json, items: list[Json]) -> list[Json]:
        """The change at the case's date: previewed, made, and both the same. Invoice lines."""
        change = {
            "items": items,
            "proration_date": self.case["proration_date"],
            "proration_behavior": "always_invoice",
        }
        asked = {"subscription": subscription["id"], "subscription_details": change}
        preview = self.api.post("/v1/invoices/create_preview", asked)
        after = self.api.post(
            f"/v1/subscriptions/{subscription['id']}", {**change, "expand": ["latest_invoice"]}
        )
        invoice = after["latest_invoice"]
        assert preview["total"] == invoice["total"]
        assert sorted(map(told, preview["lines"]["data"])) == sorted(
            map(told, invoice["lines"]["data"])
        )
        lines: list[Json] = invoice["lines"]["data"]
        return lines


def told(line: Json) -> tuple[int, int, int, int, bool, str]:
    """What a golden line says, of a line of the sandbox."""
    details = line["parent"]["subscription_item_details"]
    period = line["period"]
    return (
        line["amount"],
        line["quantity"],
        period["start"],
        period["end"],
        details["proration"],
        line["description"],
    )


def compare(case: Json, lines: list[Json], only: slice = slice(None)) -> None:
    """The lines of a case and of an invoice, in any order; texts where the case kept them."""
    golden = sorted(
        (
            line["amount"],
            line["quantity"],
            line["period_start"],
            line["period_end"],
            line["proration"],
            line["description"],
        )
        for line in case["lines"][only]
    )
    seen = sorted(map(told, lines))
    assert [one[:5] for one in seen] == [one[:5] for one in golden]
    for ours, theirs in zip(seen, golden, strict=True):
        if " after " in theirs[5] or "(at " in theirs[5]:
            assert ours[5] == theirs[5]


def product_of(line: Json) -> str:
    """The product's name in a line's description."""
    text = re.sub(r" after \d\d \w+ \d+$| \(at .*\)$", "", line["description"])
    return re.sub(r"^.*?time on |^\d+ (user )?× |^Time on ", "", re.sub(r"\d+ × ", "", text))


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_new_price_or_quantity(api: Api, name: str, mode: str) -> None:
    """Credit of the old, debit of the new, and the sum; mode only matters where it is told."""
    case = CASES[name]
    prorations = [line for line in case["lines"] if line["proration"]]
    stage = Stage(api, case, mode)
    new_price = case.get("new_unit_amount")
    names = [product_of(line) for line in prorations]
    amount = case.get("old_unit_amount") or case["unit_amount"]
    old = stage.price(amount, names[0])
    subscription = stage.subscribe([{"price": old, "quantity": case["old_quantity"]}])
    change = {"id": subscription["items"]["data"][0]["id"], "quantity": case["new_quantity"]}
    if new_price:
        change["price"] = stage.price(new_price, names[1])
    lines = stage.invoiced(subscription, [change])
    compare(case, lines, slice(0, 2))


@pytest.mark.parametrize(
    "name", [name for name in PLAIN if any(not x["proration"] for x in CASES[name]["lines"])]
)
def test_the_next_invoice_with_the_prorations_on_it(api: Api, name: str) -> None:
    """A preview without `always_invoice` is the renewal, the change's prorations included."""
    case = CASES[name]
    stage = Stage(api, case)
    old = stage.price(case.get("old_unit_amount") or case["unit_amount"], "old")
    subscription = stage.subscribe([{"price": old, "quantity": case["old_quantity"]}])
    change = {"id": subscription["items"]["data"][0]["id"], "quantity": case["new_quantity"]}
    if case.get("new_unit_amount"):
        change["price"] = stage.price(case["new_unit_amount"], "new")
    details = {"items": [change], "proration_date": case["proration_date"]}
    preview = api.post(
        "/v1/invoices/create_preview",
        {"subscription": subscription["id"], "subscription_details": details},
    )
    golden = sorted(
        (x["amount"], x["quantity"], x["period_start"], x["period_end"], x["proration"])
        for x in case["lines"]
    )
    seen = sorted(told(line)[:5] for line in preview["lines"]["data"])
    if name == "R7-annual-qty-1-2":  # trimmed by hand: 365 days over a 29 February
        assert seen[2][3] == golden[2][3] + 86400
        golden[2] = (*golden[2][:3], seen[2][3], golden[2][4])
    assert seen == golden
    assert preview["total"] == case["invoice_total"]


@pytest.mark.parametrize("name", SWITCHES)
def test_month_to_year(api: Api, name: str) -> None:
    """Flexible keeps the anchor and prorates the year, classic starts a year and bills it."""
    case = CASES[name]
    credit, debit = case["lines"]
    stage = Stage(api, case, "classic")
    label = {"unit_label": "user"} if " user " in debit["description"] else {}
    old = stage.price(case["old_unit_amount"], product_of(credit))
    year = stage.price(case["new_unit_amount"], product_of(debit), "year", **label)
    subscription = stage.subscribe([{"price": old}])
    stage.at(debit["period_start"])
    item = subscription["items"]["data"][0]["id"]
    lines = stage.invoiced(subscription, [{"id": item, "price": year}])
    compare(case, lines)
    after = api.get(f"/v1/subscriptions/{subscription['id']}")["items"]["data"][0]
    anchored = stage.mode == "flexible"
    start = case["period_start"] if anchored else debit["period_start"]
    assert (after["current_period_start"], after["current_period_end"]) == (
        start,
        debit["period_end"],
    )


def test_an_added_item_is_a_debit_only(api: Api) -> None:
    """R5: nothing was there before, so nothing is credited."""
    case = CASES["R5-add-item"]
    stage = Stage(api, case)
    subscription = stage.subscribe([{"price": stage.price(100, "other")}])
    added = stage.price(case["unit_amount"], product_of(case["lines"][0]))
    lines = stage.invoiced(subscription, [{"price": added, "quantity": 1}])
    compare(case, lines)


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_a_removed_item_is_a_credit_only(api: Api, mode: str) -> None:
    """R16: the other item is left alone."""
    case = CASES["R16-credit-2022"]
    stage = Stage(api, case, mode)
    price = stage.price(case["unit_amount"], product_of(case["lines"][0]))
    other = stage.price(100, "other")
    subscription = stage.subscribe([{"price": price}, {"price": other}])
    stage.at(case["proration_date"])
    item = subscription["items"]["data"][0]["id"]
    lines = stage.invoiced(subscription, [{"id": item, "deleted": True}])
    compare(case, lines)


def test_flexible_credits_what_was_debited(api: Api) -> None:
    """K5: a price change without proration leaves the old debit as what can be credited."""
    case = CASES["K5-flexible-credit-original-debit"]
    stage = Stage(api, case)
    name = product_of(case["lines"][0])
    old = stage.price(case["old_unit_amount"], name)
    new = stage.price(case["new_unit_amount"], name)
    subscription = stage.subscribe([{"price": old}])
    item = subscription["items"]["data"][0]["id"]
    api.post(
        f"/v1/subscriptions/{subscription['id']}",
        {"items": [{"id": item, "price": new}], "proration_behavior": "none"},
    )
    stage.at(case["proration_date"])
    after = api.delete(
        f"/v1/subscriptions/{subscription['id']}", {"prorate": True, "invoice_now": True}
    )
    lines = api.get(f"/v1/invoices/{after['latest_invoice']}/lines")["data"]
    compare(case, lines)


def test_volume_tiers_are_one_line(api: Api) -> None:
    """R17: the whole item at the tier its quantity reaches (unit prices inferred: 20 at 40)."""
    case = CASES["R17-volume-tiers-qty20"]
    stage = Stage(api, case)
    product = api.post("/v1/products", {"name": product_of(case["lines"][0])})
    price = api.post(
        "/v1/prices",
        {
            "product": product["id"],
            "currency": "usd",
            "recurring": {"interval": "month"},
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": [{"up_to": 10, "unit_amount": 50}, {"up_to": "inf", "unit_amount": 40}],
        },
    )
    subscription = stage.subscribe([{"price": price["id"], "quantity": 20}])
    item = subscription["items"]["data"][0]["id"]
    lines = stage.invoiced(subscription, [{"id": item, "quantity": 10}])
    compare(case, [line for line in lines if line["amount"] < 0])


def stubbed(api: Api, prices: list[tuple[int, str]]) -> tuple[Stage, Json]:
    """A subscription made shortly before its anchor, as in R12 and R13."""
    case = CASES["R13-stub-swap-and-delete"]
    stage = Stage(api, case, "classic")
    items = [{"price": stage.price(amount, name)} for amount, name in prices]
    return stage, stage.subscribe(items, billing_cycle_anchor=case["period_end"])


def test_a_stub_before_the_anchor(api: Api) -> None:
    """R12: the first short time costs its part of a full period."""
    case = CASES["R12-initial-stub"]
    _, subscription = stubbed(api, [(case["unit_amount"], product_of(case["lines"][0]))])
    lines = api.get(f"/v1/invoices/{subscription['latest_invoice']}/lines")["data"]
    compare(case, lines)


def test_two_stub_items_become_one_year(api: Api) -> None:
    """R13: one item switches to a year and the other goes: two credits, one whole year."""
    case = CASES["R13-stub-swap-and-delete"]
    names = [product_of(line) for line in case["lines"]]
    stage, subscription = stubbed(api, [(50000, names[0]), (30000, names[1])])
    year = stage.price(500000, names[2], "year")
    kept, gone = subscription["items"]["data"]
    stage.at(case["proration_date"])
    changes = [{"id": kept["id"], "price": year}, {"id": gone["id"], "deleted": True}]
    lines = stage.invoiced(subscription, changes)
    compare(case, lines)
    invoice = api.get("/v1/invoices", {"subscription": subscription["id"]})["data"][0]
    assert invoice["total"] == case["invoice_total"]
