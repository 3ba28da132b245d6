"""The arithmetic of subscription billing: pure functions of integers and plain price hashes.

No clock, no store, no request. Amounts are integer minor units, times are whole seconds since
the epoch (UTC). Held to recorded invoices and to the golden prorations by tests.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

_SECONDS = {"day": 86400, "week": 604800}


def nearest(amount: Fraction) -> int:
    """The nearest integer; ties go toward minus infinity on both signs (recorded)."""
    return -((amount.denominator - 2 * amount.numerator) // (2 * amount.denominator))


def half_up(amount: Fraction) -> int:
    """The nearest integer, ties away from zero: for whole lines of fractional unit amounts."""
    magnitude = (2 * abs(amount.numerator) + amount.denominator) // (2 * amount.denominator)
    return magnitude if amount >= 0 else -magnitude


def prorated(whole: Fraction, start: int, end: int, whole_start: int, whole_end: int) -> int:
    """The part of a whole line that falls on `start..end`, rounded once, in minor units.

    The fraction is in seconds and applies to the whole line, never to one unit (recorded).
    """
    return nearest(whole * Fraction(end - start, whole_end - whole_start))


def line_amount(price: dict[str, Any], quantity: int) -> Fraction:
    """What `quantity` of a price costs for one whole period, before rounding, in minor units."""
    units = _transformed(price, quantity)
    if price["billing_scheme"] == "per_unit":
        return Fraction(price["unit_amount_decimal"]) * units
    if price["tiers_mode"] == "volume":
        return _volume(price["tiers"], units)
    return _graduated(price["tiers"], units)


def _transformed(price: dict[str, Any], quantity: int) -> int:
    transform = price.get("transform_quantity")
    if not transform:
        return quantity
    divide_by: int = transform["divide_by"]
    whole, rest = divmod(quantity, divide_by)
    return whole + (1 if rest and transform["round"] == "up" else 0)


def _part(tier: dict[str, Any], units: int) -> Fraction:
    flat, unit = tier["flat_amount_decimal"], tier["unit_amount_decimal"]
    return Fraction(flat or 0) + Fraction(unit or 0) * units


def _volume(tiers: list[dict[str, Any]], units: int) -> Fraction:
    """All units at the price of the tier the total falls in."""
    for tier in tiers:
        if tier["up_to"] is None or units <= tier["up_to"]:
            return _part(tier, units)
    raise AssertionError("the last tier is open")


def _graduated(tiers: list[dict[str, Any]], units: int) -> Fraction:
    """Each unit at the price of its own tier; flat amounts of the tiers that are reached."""
    total, below = Fraction(0), 0
    for tier in tiers:
        top = units if tier["up_to"] is None else min(units, tier["up_to"])
        if top > below or (units == 0 and below == 0):
            total += _part(tier, top - below)
        if tier["up_to"] is None or units <= tier["up_to"]:
            break
        below = tier["up_to"]
    return total


def add_intervals(anchor: int, interval: str, count: int) -> int:
    """The anchor plus so many days, weeks, months or years.

    Months keep the anchor's day and time, or the month's last day where it has no such day:
    https://docs.stripe.com/billing/subscriptions/billing-cycle
    """
    if interval in _SECONDS:
        return anchor + _SECONDS[interval] * count
    then = datetime.fromtimestamp(anchor, UTC)
    months = then.year * 12 + then.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(then.day, calendar.monthrange(year, month + 1)[1])
    return int(then.replace(year=year, month=month + 1, day=day).timestamp())


def period_at(anchor: int, interval: str, count: int, when: int) -> tuple[int, int]:
    """The period of the cycle through `anchor` that holds `when` (start included)."""
    step = add_intervals(anchor, interval, count) - anchor
    number = (when - anchor) // step
    while add_intervals(anchor, interval, count * number) > when:
        number -= 1
    while add_intervals(anchor, interval, count * (number + 1)) <= when:
        number += 1
    return (
        add_intervals(anchor, interval, count * number),
        add_intervals(anchor, interval, count * (number + 1)),
    )


def discounted(amount: Fraction, percent_off: Fraction) -> Fraction:
    """An amount after a percentage off, before rounding."""
    return amount * (100 - percent_off) / 100
