"""Amounts as people read them."""

import pytest

from reconcile.adjustments.money import written


@pytest.mark.parametrize(
    ("amount_minor", "currency", "expected"),
    [
        (18997, "usd", "USD 189.97"),
        (123456789, "eur", "EUR 1,234,567.89"),
        (-5, "usd", "-USD 0.05"),
        (0, "usd", "USD 0.00"),
        (500, "jpy", "JPY 500"),
        (1500, "kwd", "KWD 1.500"),
    ],
)
def test_the_currencys_own_decimals(amount_minor: int, currency: str, expected: str) -> None:
    """money.minor_units."""
    assert written(amount_minor, currency) == expected


def test_a_difference_has_its_sign() -> None:
    assert written(7000, "usd", signed=True) == "+USD 70.00"
    assert written(-7000, "usd", signed=True) == "-USD 70.00"
