"""Events: what the journal's changes become, and the calls that read them.

Every change that has an event type becomes one snapshot event with the object as the API shows it
at that moment, and the thin events that tell of the same change. Who is told is decided by
`sandbox.webhooks`. Nothing here changes any other object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import orjson

from sandbox.http.errors import bad_request
from sandbox.http.listing import list_page
from sandbox.http.render import show
from sandbox.http.routes import Context, Route
from sandbox.store import Entry, Obj, Row
from sandbox.webhooks.previous import previous_attributes, thin_types
from sandbox.world import API_VERSION, Origin, World

MAX_TYPES = 20
KEPT_S = 30 * 24 * 3600
KEPT_EVENTS = 50_000  # a bound of ours: older ones are forgotten before their 30 days are over
_URLS = {
    "billing_portal.configuration": "/v1/billing_portal/configurations",
    "charge": "/v1/charges",
    "checkout.session": "/v1/checkout/sessions",
    "coupon": "/v1/coupons",
    "customer": "/v1/customers",
    "invoice": "/v1/invoices",
    "invoice_payment": "/v1/invoice_payments",
    "invoiceitem": "/v1/invoiceitems",
    "payment_intent": "/v1/payment_intents",
    "payment_method": "/v1/payment_methods",
    "price": "/v1/prices",
    "product": "/v1/products",
    "promotion_code": "/v1/promotion_codes",
    "setup_intent": "/v1/setup_intents",
    "subscription": "/v1/subscriptions",
    "subscription_schedule": "/v1/subscription_schedules",
    "test_helpers.test_clock": "/v1/test_helpers/test_clocks",
}


@dataclass
class Snapshot:
    """An event as the store keeps it: the data encoded once, since it never changes.

    `waiting` holds the endpoints that have not answered 2xx yet, given-up ones included. `created`
    is on the clock of the object, `recorded` on the sandbox's own: events are kept by that.
    """

    id: str
    type: str
    created: int
    recorded: int
    origin: Origin
    data: bytes
    waiting: set[str] = field(default_factory=set)

    def peek(self, name: str) -> Any:
        """A field that lists filter by."""
        return getattr(self, name) if name in ("id", "type", "created") else None

    def load(self) -> Obj:
        """The event as parsed JSON."""
        loaded: Obj = orjson.loads(self.encoded())
        return loaded

    def encoded(self, api_version: str = API_VERSION) -> bytes:
        """The event as the API shows it and as webhooks carry it."""
        return orjson.dumps(
            {
                "id": self.id,
                "object": "event",
                "api_version": api_version,
                "created": self.created,
                "data": orjson.Fragment(self.data),
                "livemode": False,
                "pending_webhooks": len(self.waiting),
                "request": {
                    "id": self.origin.request_id,
                    "idempotency_key": self.origin.idempotency_key,
                },
                "type": self.type,
            }
        )


@dataclass(frozen=True)
class Thin:
    """A thin event: what happened to which object, without the object."""

    id: str
    type: str
    created: int
    origin: Origin
    subject: tuple[str, str, str]  # id, type, url
    snapshot: str | None

    def peek(self, name: str) -> Any:
        """A field that lists filter by."""
        return getattr(self, name) if name in ("id", "type", "created") else None

    def load(self) -> Obj:
        """The event as `/v2/core/events` shows it."""
        reason = None
        if self.origin.request_id is not None:
            request = {
                "id": self.origin.request_id,
                "idempotency_key": self.origin.idempotency_key or "",
            }
            reason = {"type": "request", "request": request}
        return {
            "id": self.id,
            "object": "v2.core.event",
            "type": self.type,
            "created": iso(self.created),
            "livemode": False,
            "context": None,
            "reason": reason,
            "related_object": dict(zip(("id", "type", "url"), self.subject, strict=True)),
            "snapshot_event": self.snapshot,
        }

    def encoded(self) -> bytes:
        """The notification that a destination gets: the same, as Stripe pushes it."""
        return orjson.dumps(self.load())


def iso(epoch_s: int) -> str:
    """A time as v2 writes it."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def record(world: World, entry: Entry, origin: Origin) -> tuple[Snapshot, list[Thin]] | None:
    """Stores the events of one change; None when an update changed nothing that shows."""
    assert entry.event is not None, "the journal hands on changes that have an event type"
    before = show(world, entry.before) if entry.before is not None else None
    after = show(world, entry.after) if entry.after is not None else None
    shown = after if after is not None else before
    assert shown is not None, "a change has a before or an after"
    data: Obj = {"object": shown}
    if entry.event.endswith(".updated") and before is not None and after is not None:
        data["previous_attributes"] = previous_attributes(before, after)
        if not data["previous_attributes"]:
            return None
    snapshot = Snapshot(
        id=world.store.new_id("event"),
        type=entry.event,
        created=_time(world, entry.subject),
        recorded=world.clock.now(),
        origin=origin,
        data=orjson.dumps(data),
    )
    thin = list(_thin(world, snapshot, before, shown))
    world.store.bulk("event", [(snapshot.id, snapshot)])
    world.store.bulk("v2.core.event", [(one.id, one) for one in thin])
    for name in ("event", "v2.core.event"):
        _forget_old(world, name)
    return snapshot, thin


def _thin(world: World, snapshot: Snapshot, before: Obj | None, shown: Obj) -> Iterator[Thin]:
    kind, object_id = shown["object"], shown.get("id")
    if kind not in _URLS or object_id is None:
        return
    subject = (object_id, kind, f"{_URLS[kind]}/{object_id}")
    for name in thin_types(snapshot.type, before, shown):
        sibling = snapshot.id if name == f"v1.{snapshot.type}" else None
        yield Thin(
            world.store.new_id("v2.core.event"),
            name,
            snapshot.created,
            snapshot.origin,
            subject,
            sibling,
        )


def _time(world: World, subject: Obj) -> int:
    """The time on the clock of the object, or of its customer."""
    clock = subject.get("test_clock")
    customer = subject.get("customer")
    if clock is None and isinstance(customer, str):
        clock = (world.store.get("customer", customer) or {}).get("test_clock")
    return world.now(clock)


def _forget_old(world: World, name: str) -> None:
    rows = world.store.tables[name].rows
    while len(rows) > KEPT_EVENTS:
        world.store.delete(name, next(iter(rows)))


def matches(event_type: str, patterns: Iterable[str]) -> bool:
    """Whether an event type is among the patterns; `*` stands for any part."""
    return any(fnmatchcase(event_type, pattern) for pattern in patterns)


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/events/:id`."""
    return ctx.the("event")


def list_events(ctx: Context) -> Obj | bytes:
    """`GET /v1/events`: newest first, 30 days back, filtered."""
    types = ctx.params.get("types")
    if types is not None and "type" in ctx.params:
        raise bad_request("You may only specify one of these parameters: type, types.")
    if types is not None and len(types) > MAX_TYPES:
        raise bad_request(f"Array must contain at most {MAX_TYPES} elements", "types")
    patterns = types if types is not None else [ctx.params.get("type", "*")]
    success = ctx.params.get("delivery_success")
    oldest = ctx.world.now() - KEPT_S

    def keep(row: Row) -> bool:
        assert isinstance(row, Snapshot), "the event table holds snapshots"
        return (
            row.recorded >= oldest
            and matches(row.type, patterns)
            and (success is None or success is not bool(row.waiting))
        )

    return list_page(ctx, "event", keep=keep)


ROUTES = (
    Route("GET", "/v1/events", list_events, "EventListParams"),
    Route("GET", "/v1/events/:id", retrieve, "EventRetrieveParams"),
)
