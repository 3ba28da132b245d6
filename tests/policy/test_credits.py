"""A4: what a seat grants for its period, and when nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconcile.policy.credits import SeatInPeriod, grant_of
from reconcile.policy.values import PlanRules, SeatPolicy, SeatTypeRules, Standing

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
RULES = PlanRules(
    plan="pro",
    policy=SeatPolicy.OWN_SEAT,
    seat_types={"pro": SeatTypeRules(seat_type="pro", label="Pro", credits_per_seat=1000)},
)
SEAT = SeatInPeriod(
    rules=RULES,
    seat_type="pro",
    standing=Standing.LIVE,
    member_active=True,
    interval="month",
    interval_count=1,
    period_start=START,
    period_end=END,
)


def granted(**changed: Any) -> int | None:
    grant = grant_of(replace(SEAT, **changed))
    return grant.credits if grant else None


def test_a_paid_seat_grants_its_period() -> None:
    grant = grant_of(SEAT)
    assert grant is not None
    assert (grant.credits, grant.period_start, grant.period_end) == (1000, START, END)


@pytest.mark.parametrize(
    ("interval", "count", "credits_"),
    [("month", 1, 1000), ("month", 3, 3000), ("year", 1, 12000), ("year", 2, 24000)],
)
def test_a_longer_period_grants_its_months_at_once(
    interval: str, count: int, credits_: int
) -> None:
    assert granted(interval=interval, interval_count=count) == credits_


@pytest.mark.parametrize(
    "changed",
    [
        {"standing": Standing.TRIALING},
        {"standing": Standing.PAST_DUE},
        {"standing": Standing.DEAD},
        {"standing": Standing.TRIALING | Standing.CANCELING},
        {"member_active": False},
        {"period_start": None},
        {"interval": "week"},
        {"interval": None},
        {"seat_type": "voice"},
        {"rules": replace(RULES, policy=SeatPolicy.PURCHASED)},
        {"rules": replace(RULES, seat_types={"pro": SeatTypeRules(seat_type="pro", label="Pro")})},
    ],
)
def test_nothing_is_granted(changed: dict[str, Any]) -> None:
    """A4."""
    assert granted(**changed) is None


def test_a_seat_that_ends_with_its_period_has_paid_for_it() -> None:
    assert granted(standing=Standing.CANCELING) == 1000
