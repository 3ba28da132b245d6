"""Our own model of Stripe's proration, to check invoices against; never to assert money from.

Each line is the whole item's full price, times the seconds left, over the seconds of the period,
rounded once: to the nearest minor unit, ties toward minus infinity. A change of quantity is a
credit line for the old quantity and a debit line for the new one, not a delta. This reproduces
every recorded line (docs.stripe.com/billing/subscriptions/prorations and recorded answers).

Amounts are whole minor units of any currency: a zero-decimal currency has no smaller unit to
divide by, so nothing here knows the currency.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Stripe's own rounding is only recorded, not specified: a line may differ by this much.
TOLERANCE_MINOR = 1


class TiersMode(StrEnum):
    """How tiers add up; Stripe's `tiers_mode`."""

    VOLUME = "volume"  # every seat costs what the tier of the whole quantity says
    GRADUATED = "graduated"  # each seat costs what its own tier says


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One tier: up to and including `up_to` seats (None: all further ones)."""

    up_to: int | None
    unit_minor: int
    flat_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceModel:
    """What a quantity costs for a full period: per unit, or in tiers."""

    unit_minor: int = 0
    tiers_mode: TiersMode | None = None
    tiers: tuple[Tier, ...] = ()

    def full_minor(self, quantity: int) -> int:
        """Return the amount of a full period's line for `quantity` seats."""
        if self.tiers_mode is None:
            return self.unit_minor * quantity
        if self.tiers_mode is TiersMode.VOLUME:
            tier = next(t for t in self.tiers if t.up_to is None or quantity <= t.up_to)
            return tier.unit_minor * quantity + tier.flat_minor
        total, below = 0, 0
        for tier in self.tiers:
            top = quantity if tier.up_to is None else min(quantity, tier.up_to)
            if top > below:
                total += tier.unit_minor * (top - below) + tier.flat_minor
                below = top
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A billing period: `start` inclusive, `end` exclusive, whole seconds, timezone-aware."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse a period that nothing can be divided by."""
        if self.end <= self.start:
            raise ValueError("a period ends after it starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemState:
    """One subscription item before or after a change."""

    price: PriceModel
    quantity: int
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """One item's change: added (`before` is None), removed (`after` is None), or changed."""

    before: ItemState | None
    after: ItemState | None


def prorated_minor(full_minor: int, period: Period, at: datetime) -> int:
    """Return the line amount for the rest of `period` from `at`; negative for a credit."""
    left, whole = _seconds(period.end) - _seconds(at), _seconds(period.end) - _seconds(period.start)
    numerator = full_minor * left
    # ceil(x - 1/2) in integers: the nearest, and of two equally near the lower one.
    return -((whole - 2 * numerator) // (2 * whole))


def expected_lines_minor(changes: Iterable[ItemChange], at: datetime) -> tuple[int, ...]:
    """Return the proration lines of one update at `at`: credit before debit, item by item."""
    lines: list[int] = []
    for change in changes:
        if change.before == change.after:
            continue
        if change.before and change.before.quantity:
            full = change.before.price.full_minor(change.before.quantity)
            lines.append(prorated_minor(-full, change.before.period, at))
        if change.after and change.after.quantity:
            full = change.after.price.full_minor(change.after.quantity)
            lines.append(prorated_minor(full, change.after.period, at))
    return tuple(lines)


def expected_total_minor(changes: Iterable[ItemChange], at: datetime) -> int:
    """Return the signed total of one update: positive is charged, negative is a credit (B4)."""
    return sum(expected_lines_minor(changes, at))


def disagreement(expected: Sequence[int], actual: Sequence[int]) -> str | None:
    """Return how Stripe's proration lines differ from the model's, or None within tolerance.

    Stripe does not promise an order of lines, so they are compared sorted.
    """
    if len(expected) != len(actual):
        return f"{len(actual)} proration lines, the model expects {len(expected)}"
    pairs = zip(sorted(expected), sorted(actual), strict=True)
    off = [(e, a) for e, a in pairs if abs(e - a) > TOLERANCE_MINOR]
    return "; ".join(f"a line of {a}, the model expects {e}" for e, a in off) or None


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
