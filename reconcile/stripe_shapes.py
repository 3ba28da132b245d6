"""Stripe's JSON, reduced to frozen values with the few fields that decisions need. Pure.

Reads the pinned API version and, for subscriptions, the older ones that webhook endpoints are still
configured with: the billing period moved from the subscription to its items in 2025-03-31.basil.
No SDK objects: building them costs ten times the parsing (one page of 100 subscriptions).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from reconcile.errors import Permanent

T = TypeVar("T")
Json = Mapping[str, Any]


class UnreadableShape(Permanent):
    """Stripe sent an object whose shape this version does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeItem:
    """One item of a subscription. Metered items have no quantity."""

    id: str
    price_id: str
    quantity: int | None
    currency: str
    metered: bool = False
    interval: str | None = None
    interval_count: int = 1
    period_start: datetime | None = None
    period_end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeSubscription:
    """A subscription as Stripe tells it; times are UTC, period bounds those of the first item."""

    id: str
    customer_id: str
    status: str
    currency: str
    created: datetime
    items: tuple[StripeItem, ...]
    items_complete: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    billing_mode: str | None = None
    charges_automatically: bool = True
    cancel_at_period_end: bool = False
    collection_paused: bool = False
    schedule_id: str | None = None
    has_pending_update: bool = False
    latest_invoice_id: str | None = None
    test_clock_id: str | None = None
    trial_end: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    discounted: bool = False  # it has a discount of its own, still in force or not
    taxed: bool = False  # tax is reckoned on its invoices
    fetched_at: datetime | None = None  # by Stripe's clock; None for a webhook's snapshot

    def item(self, item_id: str) -> StripeItem | None:
        """Return the item with this id, or None."""
        return next((item for item in self.items if item.id == item_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line. `id` is the pending item's for a proration (`ii_...`): it outlives the preview and
    the move from pending to an invoice, which a line's own id does not.

    `amount_minor` is before discounts that the line shows and before tax added to it; discounts
    are folded into the amount of a proration. `added_tax_minor` is the part of `tax_minor` that
    the amount does not include.
    """

    id: str
    amount_minor: int
    discount_minor: int = 0
    tax_minor: int = 0
    added_tax_minor: int = 0
    currency: str
    quantity: int | None
    price_id: str | None
    item_id: str | None
    proration: bool
    description: str | None
    period_start: datetime
    period_end: datetime
    invoice_id: str | None = None

    @property
    def total_minor(self) -> int:
        """What the line adds to its invoice's total."""
        return self.amount_minor - self.discount_minor + self.added_tax_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeInvoice:
    """An invoice or a preview of one (its `id` then names nothing that can be fetched).

    `subtotal_minor` before discounts and added tax; `tax_minor` is all tax, added or included;
    `total_minor` before the customer's balance; `amount_due_minor` after it, so a credit shows
    only in the total and the balances.
    """

    id: str
    status: str | None
    billing_reason: str | None
    currency: str
    created: datetime
    subscription_id: str | None
    adjustment_id: str | None
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    starting_balance_minor: int
    ending_balance_minor: int | None
    amount_due_minor: int
    amount_paid_minor: int
    lines: tuple[InvoiceLine, ...]
    lines_complete: bool = True
    discounted: bool = False  # a discount is on it or on one of its lines


# The trace an update leaves: written to the subscription's metadata in the same call as the
# quantities, and copied by Stripe to the invoice that the call makes.
TRACE = "trueup_adjustment"


def parse_subscription(raw: Json, *, fetched_at: datetime | None = None) -> StripeSubscription:
    """Return the subscription in `raw`, of any API version. Raises UnreadableShape.

    `fetched_at` is when Stripe answered with it, by Stripe's clock.
    """
    return _read("subscription", lambda found: _subscription(found, fetched_at), raw)


def parse_invoice(raw: Json) -> StripeInvoice:
    """Return the invoice or preview in `raw`, of the pinned version. Raises UnreadableShape."""
    return _read("invoice", _invoice, raw)


def parse_line(raw: Json) -> InvoiceLine:
    """Return the invoice line in `raw`. Raises UnreadableShape."""
    return _read("invoice line", _line, raw)


def parse_pending_item(raw: Json) -> InvoiceLine:
    """Return a pending invoice item as the line it will become. Raises UnreadableShape.

    Its shape differs from a line's: `proration` on top, the parent a `subscription_details`.
    """
    return _read("invoice item", _pending_item, raw)


def _read(what: str, parse: Callable[[Json], T], raw: Json) -> T:
    try:
        return parse(raw)
    # OSError: what the platform says of a time that no calendar holds.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise UnreadableShape(f"{what} {_named(raw)}: {type(error).__name__} {error}") from error


def _named(raw: object) -> str:
    return str(raw.get("id", "without id"))[:80] if isinstance(raw, Mapping) else "without id"


def id_of(value: object) -> str | None:
    """Return the id of a reference, whether it is expanded or not."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


def moment(seconds: int | None) -> datetime | None:
    """Return a Stripe timestamp as a UTC time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _known_moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _subscription(raw: Json, fetched_at: datetime | None) -> StripeSubscription:
    embedded = raw["items"]
    items = tuple(_item(item, raw) for item in embedded["data"])
    first = items[0] if items else None
    return StripeSubscription(
        id=_text(raw["id"]),
        customer_id=_text(id_of(raw["customer"])),
        status=_text(raw["status"]),
        currency=_text(raw.get("currency") or (first.currency if first else None)),
        created=_known_moment(raw["created"]),
        items=items,
        items_complete=not embedded.get("has_more", False),
        metadata=dict(raw.get("metadata") or {}),
        billing_mode=(raw.get("billing_mode") or {}).get("type"),
        charges_automatically=raw.get("collection_method") != "send_invoice",
        cancel_at_period_end=bool(raw.get("cancel_at_period_end")) or _cancels_in(items, raw),
        collection_paused=raw.get("pause_collection") is not None,
        schedule_id=id_of(raw.get("schedule")),
        has_pending_update=raw.get("pending_update") is not None,
        latest_invoice_id=id_of(raw.get("latest_invoice")),
        test_clock_id=id_of(raw.get("test_clock")),
        trial_end=moment(raw.get("trial_end")),
        period_start=first.period_start if first else None,
        period_end=first.period_end if first else None,
        discounted=any(one.get("discounts") for one in (raw, *embedded["data"])),
        taxed=_is_taxed(raw),
        fetched_at=fetched_at,
    )


def _cancels_in(items: Iterable[StripeItem], raw: Json) -> bool:
    """Return whether `cancel_at` falls within the period: with flexible billing the flag may be
    missing then. A later date, the end of a year that is billed by the month, is not its end yet.
    """
    at, ends = moment(raw.get("cancel_at")), [item.period_end for item in items]
    return at is not None and all(end is None or at <= end for end in ends)


def _is_taxed(raw: Json) -> bool:
    if (raw.get("automatic_tax") or {}).get("enabled") or raw.get("default_tax_rates"):
        return True
    return any(item.get("tax_rates") for item in raw["items"]["data"])


def _item(raw: Json, subscription: Json) -> StripeItem:
    price = raw.get("price") or raw["plan"]
    recurring = price.get("recurring") or price
    start, end = (
        raw.get(name) if raw.get(name) is not None else subscription.get(name)
        for name in ("current_period_start", "current_period_end")
    )
    return StripeItem(
        id=_text(raw["id"]),
        price_id=_text(id_of(price)),
        quantity=_optional_int(raw.get("quantity")),
        currency=_text(price["currency"]),
        metered=recurring.get("usage_type") == "metered",
        interval=recurring.get("interval"),
        interval_count=recurring.get("interval_count") or 1,
        period_start=moment(start),
        period_end=moment(end),
    )


def _invoice(raw: Json) -> StripeInvoice:
    details = (raw.get("parent") or {}).get("subscription_details") or {}
    return StripeInvoice(
        id=_text(raw["id"]),
        status=raw.get("status"),
        billing_reason=raw.get("billing_reason"),
        currency=_text(raw["currency"]),
        created=_known_moment(raw["created"]),
        subscription_id=id_of(details.get("subscription")),
        adjustment_id=(details.get("metadata") or {}).get(TRACE),
        subtotal_minor=_int(raw["subtotal"]),
        discount_minor=_sum(raw.get("total_discount_amounts")),
        tax_minor=_sum(raw.get("total_taxes")),
        total_minor=_int(raw["total"]),
        starting_balance_minor=_int(raw["starting_balance"]),
        ending_balance_minor=_optional_int(raw.get("ending_balance")),
        amount_due_minor=_int(raw["amount_due"]),
        amount_paid_minor=_int(raw["amount_paid"]),
        lines=tuple(_line(line) for line in raw["lines"]["data"]),
        lines_complete=not raw["lines"].get("has_more", False),
        discounted=any(one.get("discounts") for one in (raw, *raw["lines"]["data"])),
    )


def _line(raw: Json) -> InvoiceLine:
    parent = raw.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    taxes = raw.get("taxes") or ()
    return InvoiceLine(
        id=_text(details.get("invoice_item") or raw["id"]),
        amount_minor=_int(raw["amount"]),
        discount_minor=_sum(raw.get("discount_amounts")),
        tax_minor=_sum(taxes),
        added_tax_minor=_sum(tax for tax in taxes if tax["tax_behavior"] == "exclusive"),
        currency=_text(raw["currency"]),
        quantity=_optional_int(raw.get("quantity")),
        price_id=_price_of(raw),
        item_id=details.get("subscription_item"),
        proration=bool(details.get("proration")),
        description=raw.get("description"),
        period_start=_known_moment(raw["period"]["start"]),
        period_end=_known_moment(raw["period"]["end"]),
        invoice_id=id_of(raw.get("invoice")),
    )


def _pending_item(raw: Json) -> InvoiceLine:
    details = (raw.get("parent") or {}).get("subscription_details") or {}
    return InvoiceLine(
        id=_text(raw["id"]),
        amount_minor=_int(raw["amount"]),
        currency=_text(raw["currency"]),
        quantity=_optional_int(raw.get("quantity")),
        price_id=_price_of(raw),
        item_id=details.get("subscription_item"),
        proration=bool(raw.get("proration")),
        description=raw.get("description"),
        period_start=_known_moment(raw["period"]["start"]),
        period_end=_known_moment(raw["period"]["end"]),
        invoice_id=id_of(raw.get("invoice")),
    )


def _price_of(raw: Json) -> str | None:
    return id_of(((raw.get("pricing") or {}).get("price_details") or {}).get("price"))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, found {type(value).__name__}")
    return value


def _sum(parts: Iterable[Json] | None) -> int:
    return sum(_int(part["amount"]) for part in parts or ())


def _optional_int(value: object) -> int | None:
    return None if value is None else _int(value)
