"""C9: usage over the limit for two consecutive months, each currency on its own."""

import pytest

from reconcile.policy.usage import Flag, before, flags, unseen
from reconcile.policy.values import UsageLimit

ORDERS = UsageLimit(metric="orders", currency="", most=2500)
AUD = UsageLimit(metric="gmv", currency="aud", most=25_000_000)
NZD = UsageLimit(metric="gmv", currency="nzd", most=25_000_000)
LIMITS = (ORDERS, AUD, NZD)
RUNNING = "2026-11"


def orders(**months: int) -> tuple[Flag, ...]:
    """The flags of orders; `m09` is September 2026."""
    values = {f"2026-{name[1:]}": value for name, value in months.items()}
    return flags(LIMITS, {("orders", ""): values}, running=RUNNING)


@pytest.mark.parametrize(
    ("months", "flagged"),
    [
        ({"m09": 2501, "m10": 2501}, True),
        ({"m09": 2500, "m10": 9999}, False),  # the limit itself is not over it
        ({"m09": 2501, "m10": 2500}, False),
        ({"m10": 2501}, False),
        ({"m08": 2501, "m10": 2501}, False),  # not consecutive: September is missing
        ({"m08": 2501, "m09": 2400, "m10": 2501}, False),
        ({"m08": 2501, "m09": 2501, "m10": 2400}, False),  # it was, it is no more
        ({"m09": 2501, "m10": 2501, "m11": 3}, True),  # November has only begun
        ({"m10": 2501, "m11": 2501}, True),  # and is over already
        ({}, False),
    ],
)
def test_two_consecutive_months_over(months: dict[str, int], flagged: bool) -> None:
    """C9."""
    assert bool(orders(**months)) is flagged


def test_the_whole_row_of_months_is_named() -> None:
    (flag,) = orders(m06=1, m07=3000, m08=2600, m09=2700, m10=2800)
    assert (flag.since, flag.through, flag.latest) == ("2026-07", "2026-10", 2800)


def test_a_row_of_months_goes_over_the_year() -> None:
    values = {"2026-01": 3000, "2025-12": 3000}
    (flag,) = flags((ORDERS,), {("orders", ""): values}, running=RUNNING)
    assert (flag.since, flag.through) == ("2025-12", "2026-01")
    assert before("2026-01") == "2025-12"
    assert before("2026-12") == "2026-11"


def test_currencies_are_not_added_up() -> None:
    """C9."""
    reported = {
        ("gmv", "aud"): {"2026-09": 20_000_000, "2026-10": 20_000_000},
        ("gmv", "nzd"): {"2026-09": 20_000_000, "2026-10": 20_000_000},
    }
    assert not flags(LIMITS, reported, running=RUNNING)
    alternating = {
        ("gmv", "aud"): {"2026-09": 25_000_001, "2026-10": 1},
        ("gmv", "nzd"): {"2026-09": 1, "2026-10": 25_000_001},
    }
    assert not flags(LIMITS, alternating, running=RUNNING)
    one = {**reported, ("gmv", "nzd"): {"2026-09": 25_000_001, "2026-10": 25_000_001}}
    assert [(f.metric, f.currency) for f in flags(LIMITS, one, running=RUNNING)] == [("gmv", "nzd")]


def test_a_currency_without_a_limit_is_not_looked_at() -> None:
    reported = {("gmv", "usd"): {"2026-09": 10**12, "2026-10": 10**12}}
    assert not flags(LIMITS, reported, running=RUNNING)


def test_what_a_person_saw_is_not_news_while_it_goes_on() -> None:
    seen = orders(m09=2501, m10=2501)
    assert not unseen(orders(m09=2501, m10=2501), seen)
    assert not unseen(orders(m09=2501, m10=2501, m11=2600), seen)
    later = flags(
        LIMITS,
        {("orders", ""): {"2026-10": 2501, "2026-11": 1, "2026-12": 2501, "2027-01": 2501}},
        running="2027-02",
    )
    assert unseen(later, seen) == later
    assert unseen(seen, ()) == seen
