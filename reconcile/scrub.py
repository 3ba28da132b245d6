"""Takes secrets, card data and personal data out of what leaves the service as words.

Logs, error reports and the one line an error leaves in the inbox pass through `words` or `values`;
`redacted` empties a stored body. Pure: values in, values out. Nothing in here knows who reads it.

Free text cannot be known to hold no name, so names are found by where they stand: under a key that
says so, in JSON or in Python's way of showing a dictionary.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

# A log line or a report is not a data dump: what is nested deeper or longer is cut.
_DEEPEST = 12
_LONGEST = 20_000
_MOST_ELEMENTS = 200

# Whose value says who somebody is, what they paid with, or lets one in. Stripe's names for them:
# https://docs.stripe.com/api/customers/object, /charges/object, /payment_methods/object
PERSONAL_KEYS = frozenset(
    {
        "account_holder_name",
        "address",
        "address_city",
        "address_line1",
        "address_line2",
        "address_zip",
        "billing_details",
        "city",
        "customer_address",
        "customer_email",
        "customer_name",
        "customer_phone",
        "customer_shipping",
        "customer_tax_ids",
        "email",
        "individual_name",
        "ip",
        "ip_address",
        "line1",
        "line2",
        "name",
        "phone",
        "postal_code",
        "receipt_email",
        "shipping",
        "shipping_details",
        "user_agent",
        "verified_email",
        "verified_name",
    }
)
CARD_KEYS = frozenset(
    {
        "account_number",
        "bank_account",
        "card",
        "cvc",
        "exp_month",
        "exp_year",
        "iban",
        "last4",
        "number",
        "payment_method_details",
        "routing_number",
        "sepa_debit",
        "us_bank_account",
    }
)
SECRET_KEYS = frozenset(
    {
        "api_key",
        "authorization",
        "client_secret",
        "cookie",
        "hosted_invoice_url",
        "invoice_pdf",
        "passwd",
        "password",
        "secret",
        "set-cookie",
        "stripe-signature",
        "token",
        "webhook-signature",
        "x-api-key",
    }
)
_KEYS = PERSONAL_KEYS | CARD_KEYS | SECRET_KEYS

_QUOTED_KEYS = "|".join(sorted(map(re.escape, _KEYS)))
# Every repetition is bounded or starts at a fixed word: a long line must not take long.
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A dictionary's or JSON's `"email": "..."`, whatever the value is.
    (
        re.compile(
            rf"""(["'])({_QUOTED_KEYS})\1(\s*:\s*)"""
            r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|[\w.+-]+)""",
            re.IGNORECASE,
        ),
        rf"\1\2\1\3'{MASK}'",
    ),
    # JSON inside a string inside JSON: its quotes have backslashes.
    (
        re.compile(rf'\\"({_QUOTED_KEYS})\\"\s*:\s*\\"(?:[^"\\]|\\[^"])*\\"', re.IGNORECASE),
        rf"\\'\1\\': {MASK}",
    ),
    (re.compile(r"\bwhsec_[\w+/=-]+"), f"whsec_{MASK}"),
    (re.compile(r"\b([srp]k)_(live|test)_\w+"), rf"\1_\2_{MASK}"),
    (re.compile(r"_secret_\w+"), f"_secret_{MASK}"),
    (re.compile(r"\btrueup_([0-9a-f]{16})_[0-9a-f]{16,}"), rf"trueup_\1_{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\bv[01]=[0-9a-fA-F]{32,}"), f"v1={MASK}"),
    (re.compile(r"\bv1,[\w+/=]{32,}"), f"v1,{MASK}"),
    (re.compile(r"(://[^\s/:@\"']{0,100}):[^\s\"']{0,300}@"), rf"\1:{MASK}@"),
    (
        re.compile(r"\b(password|passwd|secret|token|api_?key)=[^\s&,;\"')]+", re.IGNORECASE),
        rf"\1={MASK}",
    ),
    # PostgreSQL quotes the whole row in the error about it, pydantic the value.
    (re.compile(r"Failing row contains \(.*\)", re.DOTALL), f"Failing row contains ({MASK})"),
    (re.compile(r"input_value=.*?, input_type="), f"input_value={MASK}, input_type="),
    (re.compile(r"[\w.!#$%&'+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), f"{MASK}@{MASK}"),
)
# The first digit of every card scheme's numbers; times in milliseconds start with a 1.
_CARD = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){8,15}(?![\w.])")


def words(text: str) -> str:
    """Return the text with every secret, card number and e-mail address in it masked.

    Of a very long one the beginning and the end.
    """
    # Cut far from where it is cut in the end: a secret cut in two would not be known as one.
    text = _shortened(text, 5 * _LONGEST)
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    return _shortened(_CARD.sub(_card_or_not, text), _LONGEST)


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[-longest // 2 :]}"


def _card_or_not(found: re.Match[str]) -> str:
    digits = [int(each) for each in found[0] if each.isdigit()]
    doubled = [each * 2 - 9 * (each > 4) for each in digits[-2::-2]]
    return MASK if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else found[0]


def values(value: Any, *, _depth: int = 0) -> Any:
    """Return the value with all text in it masked; nested mappings and sequences are copied.

    What stands under a key of a secret, a card or a person is masked whole.
    """
    if _depth >= _DEEPEST:
        return MASK
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return words(value)
        case Mapping():
            return {
                key: MASK
                if str(key).lower() in _KEYS and each is not None
                else values(each, _depth=_depth + 1)
                for key, each in list(value.items())[:_MOST_ELEMENTS]
            }
        case list() | tuple() | set() | frozenset():
            return [values(each, _depth=_depth + 1) for each in list(value)[:_MOST_ELEMENTS]]
        case _:
            return words(f"{len(value)} bytes" if isinstance(value, bytes) else repr(value))


# What an event is worked off by, again if need be, is kept; also our own ids in the metadata.
_LONGEST_ID = 255
_ID = re.compile(r"[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+")


def redacted(value: Any, *, kept_metadata: frozenset[str]) -> Any:
    """Return parsed JSON without personal data: under those keys only ids stay, the rest is null.

    Of metadata, which may hold anything, the values under `kept_metadata` stay; descriptions, which
    people write, go. The shape stays, so that what reads the event still can.
    """
    match value:
        case Mapping():
            return {key: _redacted_at(key, each, kept_metadata) for key, each in value.items()}
        case list():
            return [redacted(each, kept_metadata=kept_metadata) for each in value]
        case str():
            return words(value)
        case _:
            return value


def _redacted_at(key: str, value: Any, kept_metadata: frozenset[str]) -> Any:
    key = key.lower()
    if key == "metadata" and isinstance(value, Mapping):
        return {name: each if name in kept_metadata else None for name, each in value.items()}
    if key in _KEYS or key == "description":
        # What stands under such a key may still be an id that something hangs on.
        is_id = isinstance(value, str) and len(value) <= _LONGEST_ID and _ID.fullmatch(value)
        return value if is_id else None
    return redacted(value, kept_metadata=kept_metadata)
