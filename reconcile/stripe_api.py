"""Every call to Stripe, and nothing else: requests out, frozen values in, errors translated.

It uses the SDK's `raw_request` and reads plain JSON: no SDK object leaves this file. Each call
takes a slot of the shared budget first. The SDK itself retries nothing: what to do after an error
is decided in `errors` and, where money moves, in `adjusting`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import stripe

from reconcile import log, metrics, tracing
from reconcile import stripe_shapes as shapes
from reconcile.budget import Budget, kind_of
from reconcile.errors import (
    CardDeclined,
    OutcomeUnknown,
    Permanent,
    StripeGone,
    StripeKeyRefused,
    StripeRateLimited,
    StripeRejected,
    StripeUnavailable,
)
from reconcile.settings import STRIPE_API_VERSION, Settings
from reconcile.stripe_errors import StoredFailure, concerns_everyone, translated
from reconcile.stripe_shapes import InvoiceLine, Json, StripeInvoice, StripeSubscription
from reconcile.stripe_transport import Answer, Transport, read_body

PAGE = 100  # the most a Stripe list gives in one answer
MOST_PAGES = 100  # of any list read whole; a subscription has few invoices and items
CONNECT_TIMEOUT_S = 5.0


class FloorBroken(Permanent):
    """A quantity below the active count was about to be written to Stripe; nothing was sent."""


class TooMuchToRead(Permanent):
    """A Stripe list has more pages than this reads; nothing was decided from a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemUpdate:
    """One item of an update. `item_id` None adds an item; `price_id` only when it changes.

    The quantity is always sent: with a new price and no quantity Stripe resets it to 1, and
    without the item's id it adds a second item.
    """

    item_id: str | None
    quantity: int
    price_id: str | None = None
    floor: int

    def __post_init__(self) -> None:
        """Hold what Stripe would take but nobody means."""
        assert self.item_id or self.price_id, "an item needs an id or a price"
        assert self.quantity >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUpdate:
    """One update, previewed or written; `payment_behavior` None where nothing is paid now."""

    items: tuple[ItemUpdate, ...]
    proration_behavior: str
    proration_date: datetime | None = None
    payment_behavior: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What Stripe answered to a write; `replayed` when it had answered the same key before.

    `invoice` is the one the write made, when it charged at once.
    """

    subscription: StripeSubscription
    invoice: StripeInvoice | None
    request_id: str | None
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list as it came, so that the next one can be asked for before it is read."""

    raw: Sequence[Json]
    at: datetime
    has_more: bool

    @property
    def last_id(self) -> str | None:
        """Where the next page starts; None for an empty one."""
        return self.raw[-1]["id"] if self.raw else None

    def subscriptions(self) -> Iterator[StripeSubscription]:
        """Yield what is on it. Raises UnreadableShape."""
        for each in self.raw:
            yield shapes.parse_subscription(each, fetched_at=self.at)


class StripeApi:
    """The Stripe calls of this service. One instance may be shared by threads."""

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self._budget = budget
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value() or "sk_missing",
            stripe_version=STRIPE_API_VERSION,
            base_addresses={"api": settings.stripe_api_base.rstrip("/")},
            max_network_retries=0,
            http_client=Transport(timeout=(CONNECT_TIMEOUT_S, settings.stripe_timeout_s)),
        )

    def read(self, path: str, /, **params: Any) -> Json:
        """Return the JSON at a path such as `/v1/account`. Raises the errors of this module."""
        return self._call("get", path, params)[0]

    def listed(self, path: str, /, **params: Any) -> Iterator[Json]:
        """Yield every object of a list, page by page. Raises TooMuchToRead past its bound."""
        params.setdefault("limit", PAGE)
        for _ in range(MOST_PAGES):
            page = self.read(path, **params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params["starting_after"] = page["data"][-1]["id"]
        raise TooMuchToRead(path)

    def probe(self, method: str, path: str, /, **params: Any) -> datetime:
        """Return Stripe's clock after a request that can change nothing; for `trueup doctor`."""
        return self._call(method, path, params)[1].at

    def subscription(self, subscription_id: str) -> StripeSubscription:
        """Return the subscription as it is now, all its items. Raises StripeGone."""
        raw, answer = self._call("get", f"/v1/subscriptions/{subscription_id}", {})
        return replace(self._whole(raw), fetched_at=answer.at)

    def subscriptions_page(
        self, after: str | None = None, *, limit: int = PAGE, **filters: Any
    ) -> Page:
        """Return one page, newest first. Filters: status, customer, price, test_clock.

        Without `status` Stripe leaves out canceled ones; without `test_clock`, those on one.
        """
        if after:
            filters["starting_after"] = after
        raw, answer = self._call("get", "/v1/subscriptions", {"limit": limit, **filters})
        return Page(raw=raw["data"], at=answer.at, has_more=raw["has_more"])

    def invoice(self, invoice_id: str) -> StripeInvoice:
        """Return the invoice with all its lines, however many pages. Raises StripeGone."""
        return self._with_all_lines(self.read(f"/v1/invoices/{invoice_id}"))

    def invoices_of(
        self, subscription_id: str, *, since: datetime | None = None
    ) -> tuple[StripeInvoice, ...]:
        """Return a subscription's invoices with all lines, newest first; drafts included."""
        created = {"created": {"gte": int(since.timestamp())}} if since else {}
        listed = self.listed("/v1/invoices", subscription=subscription_id, **created)
        return tuple(self._with_all_lines(raw) for raw in listed)

    def pending_items(self, customer_id: str) -> tuple[InvoiceLine, ...]:
        """Return the customer's items that wait for the next invoice."""
        listed = self.listed("/v1/invoiceitems", customer=customer_id, pending=True)
        return tuple(shapes.parse_pending_item(raw) for raw in listed)

    def preview(self, subscription_id: str, update: SubscriptionUpdate) -> StripeInvoice:
        """Return the invoice that the update would bring, to the minor unit; nothing changes.

        Only the first lines of a long one: a preview cannot be relied on to be paged. They start
        with the newest prorations, so the update's own are among them.
        """
        details: dict[str, Any] = {
            "items": [_item_params(item) for item in update.items],
            "proration_behavior": update.proration_behavior,
        }
        if update.proration_date:
            details["proration_date"] = int(update.proration_date.timestamp())
        raw, _ = self._call(
            "post",
            "/v1/invoices/create_preview",
            {"subscription": subscription_id, "subscription_details": details},
        )
        return shapes.parse_invoice(raw)

    def price_ids(self, lookup_keys: Sequence[str]) -> dict[str, str]:
        """Return the ids of the active prices with these lookup keys; unknown keys are left out.

        Stripe takes ten keys a call.
        """
        found = {}
        for start in range(0, len(lookup_keys), 10):
            keys = list(lookup_keys[start : start + 10])
            for price in self.listed("/v1/prices", lookup_keys=keys, active=True):
                found[str(price["lookup_key"])] = str(price["id"])
        return found

    def test_clock_now(self, test_clock_id: str) -> datetime:
        """Return the time on a test clock."""
        raw = self.read(f"/v1/test_helpers/test_clocks/{test_clock_id}")
        return datetime.fromtimestamp(raw["frozen_time"], UTC)

    def events_page(
        self,
        after: str | None = None,
        *,
        types: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = PAGE,
    ) -> tuple[tuple[Json, ...], bool]:
        """Return one page of Stripe's events, newest first, and whether there are more.

        Stripe takes at most 20 types and keeps events for 30 days.
        """
        assert len(types) <= 20
        params: dict[str, Any] = {"limit": limit}
        if types:
            params["types"] = list(types)
        edges = {"gte": since, "lt": until}
        if created := {name: int(at.timestamp()) for name, at in edges.items() if at}:
            params["created"] = created
        if after:
            params["starting_after"] = after
        page = self.read("/v1/events", **params)
        return tuple(page["data"]), bool(page["has_more"])

    # --- writes

    def update_subscription(
        self,
        subscription_id: str,
        update: SubscriptionUpdate,
        *,
        adjustment_id: str,
        idempotency_key: str,
    ) -> Written:
        """Write the update and its trace in one call. Law 6: the floor is asserted right here.

        Raises FloorBroken (nothing sent), CardDeclined (nothing changed), OutcomeUnknown,
        StoredFailure, StripeRejected, StripeGone, StripeRateLimited.
        """
        for item in update.items:
            if item.quantity < item.floor:
                raise FloorBroken(
                    f"{subscription_id} {item.item_id or item.price_id}: "
                    f"{item.quantity} seats for {item.floor} active"
                )
        params: dict[str, Any] = {
            "items": [_item_params(item) for item in update.items],
            "proration_behavior": update.proration_behavior,
            "metadata": {shapes.TRACE: adjustment_id},
        }
        if update.proration_date:
            params["proration_date"] = int(update.proration_date.timestamp())
        if update.payment_behavior:
            params["payment_behavior"] = update.payment_behavior
        charges_now = update.proration_behavior == "always_invoice"
        if charges_now:
            params["expand"] = ["latest_invoice"]
        raw, answer = self._call(
            "post",
            f"/v1/subscriptions/{subscription_id}",
            params,
            idempotency_key=idempotency_key,
        )
        latest = raw["latest_invoice"] if charges_now else None
        made = self._with_all_lines(latest) if isinstance(latest, Mapping) else None
        return Written(
            subscription=replace(self._whole(raw), fetched_at=answer.at),
            # An update that changed nothing any more made none; the latest is another's then.
            invoice=made if made and made.adjustment_id == adjustment_id else None,
            request_id=answer.request_id,
            replayed=answer.replayed,
        )

    def spend_key(self, subscription_id: str, *, adjustment_id: str, idempotency_key: str) -> bool:
        """Use an update's key up, so that a call still on its way under it can do nothing any more.

        Returns False when the key was used before: the update ran, or is running. Raises as the
        reading calls do, OutcomeUnknown besides. A note in the metadata is all it writes.
        https://docs.stripe.com/api/idempotent_requests
        """
        note = {"metadata": {"trueup_given_up": adjustment_id}}
        path = f"/v1/subscriptions/{subscription_id}"
        try:
            self._call("post", path, note, idempotency_key=idempotency_key)
        except StoredFailure:
            return False
        return True

    def create_checkout_session(self, **form: Any) -> Json:
        """Return a new page to pay on (docs.stripe.com/api/checkout/sessions/create)."""
        return self._call("post", "/v1/checkout/sessions", form)[0]

    def expire_checkout_session(self, session_id: str) -> None:
        """Close a page that is open; StripeRejected for one that is paid or closed."""
        self._call("post", f"/v1/checkout/sessions/{session_id}/expire", {})

    def create_portal_session(self, customer_id: str, *, return_url: str) -> str:
        """Return the url of a session of Stripe's customer portal (B11)."""
        form = {"customer": customer_id, "return_url": return_url}
        return str(self._call("post", "/v1/billing_portal/sessions", form)[0]["url"])

    def _whole(self, raw: Json) -> StripeSubscription:
        found = shapes.parse_subscription(raw)
        if found.items_complete:
            return found
        items = list(self.listed("/v1/subscription_items", subscription=found.id))
        return shapes.parse_subscription({**raw, "items": {"data": items, "has_more": False}})

    def _with_all_lines(self, raw: Json) -> StripeInvoice:
        found = shapes.parse_invoice(raw)
        if found.lines_complete:
            return found
        lines = self.listed(f"/v1/invoices/{found.id}/lines")
        whole = tuple(shapes.parse_line(line) for line in lines)
        return replace(found, lines=whole, lines_complete=True)

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> tuple[Json, Answer]:
        endpoint = f"{method.upper()} {path}"
        self._budget.acquire(endpoint)
        with _watched(kind_of(endpoint), path):
            body, answer = self._send(method, path, params, idempotency_key)
            log.learned(stripe_request_id=answer.request_id)
            tracing.tell(stripe_request_id=answer.request_id)
            return body, answer

    def _send(
        self, method: str, path: str, params: Mapping[str, Any], idempotency_key: str | None
    ) -> tuple[Json, Answer]:
        options = {"idempotency_key": idempotency_key} if idempotency_key else {}
        try:
            response = self._client.raw_request(method, path, **params, **options)
        except stripe.StripeError as error:
            ours = translated(error, writes=idempotency_key is not None)
            if isinstance(ours, StripeRateLimited) and concerns_everyone(error):
                self._budget.slow_down(ours.retry_after_s)
            raise ours from error
        try:
            return read_body(response.headers), Answer.of(response.headers)
        except ValueError as error:
            raise shapes.UnreadableShape(path) from error


@contextmanager
def _watched(endpoint: str, path: str) -> Iterator[None]:
    """Count one call by what came of it, and show it in the trace."""
    began = time.monotonic()
    result = "ok"
    metrics.stripe_call_begins(endpoint)
    with tracing.span(f"stripe {endpoint}", path=path):
        try:
            yield
        except Exception as error:
            result = next((name for kind, name in _RESULTS if isinstance(error, kind)), "error")
            request_id = getattr(error, "request_id", None)
            log.learned(stripe_request_id=request_id)
            tracing.tell(stripe_request_id=request_id, result=result)
            raise
        finally:
            metrics.STRIPE_CALLS.labels(endpoint=endpoint, result=result).inc()
            metrics.STRIPE_SECONDS.labels(endpoint=endpoint).observe(time.monotonic() - began)


# What came of a call, as a metric's label; the first that fits.
_RESULTS: tuple[tuple[type[Exception], str], ...] = (
    (CardDeclined, "declined"),
    (StripeGone, "gone"),
    (StripeRejected, "rejected"),
    (StripeRateLimited, "rate_limited"),
    (StripeKeyRefused, "key_refused"),
    (OutcomeUnknown, "unknown"),
    (StripeUnavailable, "unavailable"),
    (shapes.UnreadableShape, "unreadable"),
)


def _item_params(item: ItemUpdate) -> dict[str, Any]:
    params: dict[str, Any] = {"quantity": item.quantity}
    if item.item_id:
        params["id"] = item.item_id
    if item.price_id:
        params["price"] = item.price_id
    return params
