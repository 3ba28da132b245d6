"""Amounts as people read them. Inside the service an amount is a whole number of minor units.

The minor units of a currency are Stripe's (docs.stripe.com/currencies), not always ISO's: what
Stripe calls zero-decimal is charged in whole units.
"""

_ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"}
    | {"pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def decimals(currency: str) -> int:
    """Return how many decimals the currency's amounts are written with."""
    code = currency.lower()
    return 0 if code in _ZERO_DECIMAL else 3 if code in _THREE_DECIMAL else 2


def written(amount_minor: int, currency: str, *, signed: bool = False) -> str:
    """Return `USD 1,234.50`, `-USD 12.00`, `JPY 500`; with `signed` also `+USD 3.00`."""
    places = decimals(currency)
    whole, part = divmod(abs(amount_minor), 10**places)
    sign = "-" if amount_minor < 0 else "+" if signed and amount_minor > 0 else ""
    fraction = f".{part:0{places}d}" if places else ""
    return f"{sign}{currency.upper()} {whole:,}{fraction}"
