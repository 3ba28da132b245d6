"""The arithmetic alone, against recorded ties and by properties."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.billing.proration import add_intervals, line_amount, nearest, period_at, prorated

TIMES = st.integers(min_value=946_684_800, max_value=2_524_608_000)  # the years 2000 to 2049
INTERVALS = st.sampled_from(["day", "week", "month", "year"])


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [
        ("-5/2", -3),
        ("9/2", 4),
        ("15/2", 7),
        ("-2000/3", -667),
        ("1000/3", 333),
        ("3", 3),
        ("-3", -3),
    ],
)
def test_recorded_rounding(exact: str, rounded: int) -> None:
    """Nearest; ties toward minus infinity on both signs."""
    assert nearest(Fraction(exact)) == rounded


@given(st.fractions())
def test_nearest_is_nearest(exact: Fraction) -> None:
    """Never further than half a unit, and exactly half only downwards."""
    assert -Fraction(1, 2) <= nearest(exact) - exact < Fraction(1, 2)


@given(TIMES, TIMES, st.integers(0, 10**9))
def test_a_whole_period_costs_the_whole(start: int, end: int, amount: int) -> None:
    """No rounding at the edges: all of it, and nothing of it."""
    if start < end:
        assert prorated(Fraction(amount), start, end, start, end) == amount
        assert prorated(Fraction(amount), end, end, start, end) == 0


@given(TIMES, TIMES, INTERVALS, st.integers(1, 12))
def test_a_period_holds_its_moment(anchor: int, when: int, interval: str, count: int) -> None:
    """Start included, end excluded, and both are anchored steps."""
    start, end = period_at(anchor, interval, count, when)
    assert start <= when < end
    assert period_at(anchor, interval, count, start) == (start, end)
    assert period_at(anchor, interval, count, end)[0] == end


def epoch(text: str) -> int:
    """A moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "after"),
    [
        ("2027-01-31T10:00", "month", 1, "2027-02-28T10:00"),
        ("2027-01-31T10:00", "month", 2, "2027-03-31T10:00"),
        ("2028-02-29T00:00", "year", 1, "2029-02-28T00:00"),
        ("2028-02-29T00:00", "year", 4, "2032-02-29T00:00"),
        ("2027-12-15T23:59", "month", 1, "2028-01-15T23:59"),
        ("2027-03-28T00:30", "day", 7, "2027-04-04T00:30"),
        ("2027-03-28T00:30", "month", -1, "2027-02-28T00:30"),
    ],
)
def test_calendar_steps(anchor: str, interval: str, count: int, after: str) -> None:
    """The last day where a month has no such day."""
    assert add_intervals(epoch(anchor), interval, count) == epoch(after)


def tiered(mode: str, *tiers: tuple[int | None, str, str]) -> dict[str, Any]:
    """A tiered price: (up to, unit amount, flat amount)."""
    return {
        "billing_scheme": "tiered",
        "tiers_mode": mode,
        "tiers": [
            {"up_to": up_to, "unit_amount_decimal": unit, "flat_amount_decimal": flat}
            for up_to, unit, flat in tiers
        ],
    }


TIERS = ((5, "1000", "200"), (10, "700", "0"), (None, "500", "100"))


@pytest.mark.parametrize(
    ("mode", "quantity", "amount"),
    [
        ("volume", 0, 200),
        ("volume", 5, 5200),
        ("volume", 6, 4200),
        ("volume", 11, 5600),
        ("graduated", 0, 200),
        ("graduated", 5, 5200),
        ("graduated", 6, 5900),
        ("graduated", 11, 5200 + 3500 + 600),
    ],
)
def test_tiers(mode: str, quantity: int, amount: int) -> None:
    """By hand: volume prices all units at the reached tier, graduated each at its own."""
    assert line_amount(tiered(mode, *TIERS), quantity) == amount


@pytest.mark.parametrize(("mode", "amount"), [("up", 300), ("down", 200)])
def test_packages(mode: str, amount: int) -> None:
    """25 units in packages of ten."""
    price = {
        "billing_scheme": "per_unit",
        "unit_amount_decimal": "100",
        "transform_quantity": {"divide_by": 10, "round": mode},
    }
    assert line_amount(price, 25) == amount


def test_fractions_of_a_cent_stay_exact() -> None:
    """A line of 3 units at 0.335 is 1.005, not three rounded units."""
    price = {"billing_scheme": "per_unit", "unit_amount_decimal": "0.335"}
    assert line_amount(price, 3) == Fraction("1.005")
