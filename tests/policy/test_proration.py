"""The proration model against amounts that Stripe really wrote (prorations.json)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconcile.policy.proration import (
    TOLERANCE_MINOR,
    ItemChange,
    ItemState,
    Period,
    PriceModel,
    Tier,
    TiersMode,
    disagreement,
    expected_lines_minor,
    expected_total_minor,
    prorated_minor,
)

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "prorations.json").read_text(encoding="utf-8")
)
LINES = [
    (case, line)
    for case in CASES
    for line in case["lines"]
    if line["proration"] and line["check_full_period_amount"] is not None
]


def at(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def period(start: int, end: int) -> Period:
    return Period(start=at(start), end=at(end))


@pytest.mark.parametrize(("case", "line"), LINES, ids=[case["id"] for case, _ in LINES])
def test_every_recorded_line_comes_out(case: dict[str, Any], line: dict[str, Any]) -> None:
    """money.model: exact where the file is sure, within the tolerance where it inferred."""
    start = line["check_denominator_start"] or case["period_start"]
    end = line["check_denominator_end"] or case["period_end"]
    sign = -1 if line["amount"] < 0 else 1
    full = sign * line["check_full_period_amount"]
    # A stub is a part of a longer period: its own seconds over the seconds of the whole.
    since = end - (line["period_end"] - line["period_start"])
    amount = prorated_minor(full, period(start, end), at(since))
    sure = case["confidence"] == "recorded"
    assert abs(amount - line["amount"]) <= (0 if sure else TOLERANCE_MINOR)


def test_the_file_has_the_three_ties_and_enough_lines() -> None:
    assert len(LINES) >= 25
    assert sum(line["check_tie"] for _, line in LINES) >= 3


QUANTITY_CHANGES = [
    case
    for case in CASES
    if case["unit_amount"] and case["id"] in {"K2-tie-qty-up", "R7-annual-qty-1-2"}
]


@pytest.mark.parametrize("case", QUANTITY_CHANGES, ids=lambda case: str(case["id"]))
def test_a_change_of_quantity_is_a_whole_credit_and_a_whole_debit(case: dict[str, Any]) -> None:
    price = PriceModel(unit_minor=case["unit_amount"])
    whole = period(case["period_start"], case["period_end"])
    change = ItemChange(
        before=ItemState(price=price, quantity=case["old_quantity"], period=whole),
        after=ItemState(price=price, quantity=case["new_quantity"], period=whole),
    )
    recorded = [line["amount"] for line in case["lines"] if line["proration"]]
    lines = expected_lines_minor([change], at(case["proration_date"]))
    assert sorted(lines) == sorted(recorded)
    assert lines[0] < 0 < lines[1]
    assert expected_total_minor([change], at(case["proration_date"])) == sum(recorded)


def test_an_added_item_is_a_debit_and_a_removed_one_a_credit() -> None:
    whole = period(0, 100)
    state = ItemState(price=PriceModel(unit_minor=1000), quantity=1, period=whole)
    assert expected_lines_minor([ItemChange(before=None, after=state)], at(50)) == (500,)
    assert expected_lines_minor([ItemChange(before=state, after=None)], at(50)) == (-500,)
    assert expected_lines_minor([ItemChange(before=state, after=state)], at(50)) == ()


def test_a_mixed_change_has_one_signed_total() -> None:
    """B4: half a period of two Voice seats at 5000 more and one Base seat at 3000 less."""
    whole = period(0, 100)

    def change(unit_minor: int, before: int, after: int) -> ItemChange:
        price = PriceModel(unit_minor=unit_minor)
        return ItemChange(
            before=ItemState(price=price, quantity=before, period=whole),
            after=ItemState(price=price, quantity=after, period=whole),
        )

    changes = [change(5000, 1, 3), change(3000, 3, 2)]
    assert expected_lines_minor(changes, at(50)) == (-2500, 7500, -4500, 3000)
    assert expected_total_minor(changes, at(50)) == 3500


@pytest.mark.parametrize(
    ("full", "left", "whole", "expected"),
    [(1000, 1, 400, 2), (-1000, 1, 400, -3), (1800, 1, 400, 4), (3000, 1, 400, 7)],
)
def test_ties_go_toward_minus_infinity(full: int, left: int, whole: int, expected: int) -> None:
    """money.model."""
    assert prorated_minor(full, period(0, whole), at(whole - left)) == expected


def test_a_zero_decimal_currency_is_not_divided() -> None:
    """money.minor_units: JPY 500 for half a period is 250 yen; amounts are whole yen."""
    assert prorated_minor(500, period(0, 2), at(1)) == 250
    assert prorated_minor(501, period(0, 2), at(1)) == 250


VOLUME = PriceModel(
    tiers_mode=TiersMode.VOLUME,
    tiers=(Tier(up_to=10, unit_minor=3000), Tier(up_to=None, unit_minor=2500, flat_minor=100)),
)
GRADUATED = PriceModel(tiers_mode=TiersMode.GRADUATED, tiers=VOLUME.tiers)


@pytest.mark.parametrize(
    ("model", "quantity", "expected"),
    [
        (PriceModel(unit_minor=3000), 0, 0),
        (PriceModel(unit_minor=3000), 7, 21000),
        (VOLUME, 10, 30000),
        (VOLUME, 11, 27600),  # over the break the whole total is lower
        (GRADUATED, 10, 30000),
        (GRADUATED, 11, 32600),
        (GRADUATED, 0, 0),
    ],
)
def test_a_full_period_by_price_model(model: PriceModel, quantity: int, expected: int) -> None:
    """Volume and graduated as docs.stripe.com/products-prices/pricing-models describes them."""
    assert model.full_minor(quantity) == expected


def test_lines_are_compared_in_any_order_within_one_minor_unit() -> None:
    """money.model."""
    assert disagreement([-300, 701], [700, -300]) is None
    assert disagreement([-300, 702], [700, -300]) == "a line of 700, the model expects 702"
    assert disagreement([-300], [700, -300]) == "2 proration lines, the model expects 1"


def test_a_period_has_to_have_a_length() -> None:
    with pytest.raises(ValueError, match="ends after it starts"):
        period(5, 5)
