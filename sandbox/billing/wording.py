"""The sentences on invoices, in Stripe's words. Pure.

Recorded: `Unused time on 3 × Pro after 21 Oct 2026`, `1 × Pro (at $10.00 / month)`; a quantity of
one is left out of proration lines, and the sign between is U+00D7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

ZERO_DECIMAL = {
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
    "xaf", "xof", "xpf",
}  # fmt: skip
_SYMBOLS = {
    "usd": "$",
    "eur": "€",
    "gbp": "£",
    "jpy": "¥",
    "cad": "CA$",
    "aud": "A$",
    "nzd": "NZ$",
}
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def money(amount_minor: Decimal | int, currency: str) -> str:
    """An amount as invoices show it: `$10.00`, `¥1000`."""
    symbol = _SYMBOLS.get(currency, currency.upper() + " ")
    amount = Decimal(amount_minor)
    if currency in ZERO_DECIMAL:
        return f"{symbol}{amount:,f}"
    major = amount / 100
    digits = max(2, -int(major.normalize().as_tuple().exponent))
    return f"{symbol}{major:,.{digits}f}"


def day(epoch_s: int) -> str:
    """`21 Oct 2026`, in UTC."""
    then = datetime.fromtimestamp(epoch_s, UTC)
    return f"{then.day:02d} {_MONTHS[then.month - 1]} {then.year}"


def counted(quantity: int, product: str) -> str:
    """The product, with its quantity when that is more than one."""
    return product if quantity == 1 else f"{quantity} × {product}"


def unused(quantity: int, product: str, after: int) -> str:
    """The description of a credit line."""
    return f"Unused time on {counted(quantity, product)} after {day(after)}"


def remaining(quantity: int, product: str, after: int) -> str:
    """The description of a debit line."""
    return f"Remaining time on {counted(quantity, product)} after {day(after)}"


def short_period(quantity: int, product: str, after: int) -> str:
    """The description of the first, short period before a later anchor."""
    return f"Time on {counted(quantity, product)} after {day(after)}"


def trial(quantity: int, product: str) -> str:
    """The description of a line that costs nothing because of a trial."""
    return f"Trial period for {counted(quantity, product)}"


def ordinary(quantity: int, product: dict[str, Any], price: dict[str, Any]) -> str:
    """The description of a whole period's line: `1 user × Pro (at $10.00 / month)`."""
    label = f" {product['unit_label']}" if product["unit_label"] else ""
    what = f"{quantity}{label} × {product['name']}"
    recurring = price["recurring"]
    if price["billing_scheme"] == "tiered" or not recurring:
        return what
    amount = money(Decimal(price["unit_amount_decimal"]), price["currency"])
    every, span = recurring["interval_count"], recurring["interval"]
    cycle = f"/ {span}" if every == 1 else f"every {every} {span}s"
    return f"{what} (at {amount} {cycle})"
