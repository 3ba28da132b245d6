"""Everything one sandbox holds, passed explicitly: store, clock, lock, listeners.

Starts empty. `World.unit` is the one way changes happen: it runs under the lock, is undone when
it fails, and tells the listeners when it ends.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sandbox.clocks.clock import Clock
from sandbox.http.errors import ApiError
from sandbox.store import Entry, Obj, Store

API_VERSION = "2026-10-28.endive"
ACCOUNT_ID = "acct_1TrueupSandbox00"

AFTER_RETRIES = ("unpaid", "past_due", "cancel")

# object name, id prefix, fields that lists filter by
TABLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("customer", "cus", ("email", "test_clock")),
    ("payment_method", "pm", ("customer",)),
    ("product", "prod", ()),
    ("price", "price", ("product", "lookup_key")),
    ("coupon", "co", ()),
    ("discount", "di", ()),
    ("tax_rate", "txr", ()),
    ("subscription", "sub", ("customer", "schedule", "test_clock", "items.id")),
    ("subscription_item", "si", ()),  # ids only: items live in their subscription
    ("subscription_schedule", "sub_sched", ("customer",)),
    ("invoice", "in", ("customer", "parent.subscription_details.subscription")),
    ("invoiceitem", "ii", ("customer", "invoice")),
    ("invoice_payment", "inpay", ("invoice",)),
    ("payment_intent", "pi", ("customer",)),
    ("setup_intent", "seti", ("customer",)),
    ("customer_balance_transaction", "cbtxn", ("customer",)),
    ("billing_portal.configuration", "bpc", ()),
    ("billing_portal.session", "bps", ()),
    ("checkout.session", "cs_test", ("customer",)),
    ("test_helpers.test_clock", "clock", ()),
    ("event", "evt", ("type",)),
    ("webhook_endpoint", "we", ()),
    ("v2.core.event", "evt_test", ()),
    ("v2.core.event_destination", "ed_test", ()),
)


@dataclass(frozen=True)
class Origin:
    """Which request made a change: shown in events; empty for what time did."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Commit:
    """The changes of one unit that ended well: every one, and those that make events."""

    changes: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    origin: Origin


Listener = Callable[[Commit], None]


@dataclass
class World:
    """One sandbox. `listeners` are called in order, under the lock, after every unit."""

    store: Store = field(default_factory=lambda: Store(TABLES))
    clock: Clock = field(default_factory=Clock)
    lock: threading.RLock = field(default_factory=threading.RLock)
    listeners: list[Listener] = field(default_factory=list)
    # Due times by clock id ("" is the sandbox's own): heaps of (due, rank, number, type, id).
    timers: dict[str, list[tuple[int, int, int, str, str]]] = field(default_factory=dict)
    # What happens to a subscription when every retry failed: Stripe's account setting.
    after_retries: str = AFTER_RETRIES[0]
    # The lines of recent previews by their id: a long one is read on page by page.
    previews: OrderedDict[str, list[Obj]] = field(default_factory=OrderedDict)
    # Card behaviour that a test asked for, by customer id: a Stripe decline code.
    declines: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def unit(self, origin: Origin = Origin()) -> Iterator[list[Entry]]:
        """Changes that happen together or not at all."""
        with self.lock:
            journal: list[Entry] = []
            try:
                with self.store.unit(_keep) as journal:
                    yield journal
            finally:
                if journal:
                    commit = Commit(tuple(journal), merged(journal), origin)
                    for listener in self.listeners:
                        listener(commit)

    def subscription_of(self, item_id: str) -> Obj | None:
        """The subscription an item belongs to."""
        for subscription in self.store.all("subscription", ("items.id", item_id)):
            return subscription
        return None

    def now(self, clock_id: str | None = None) -> int:
        """The time of a test clock, or the sandbox's own."""
        if clock_id is not None:
            clock = self.store.get("test_helpers.test_clock", clock_id)
            if clock is not None:
                frozen: int = clock["frozen_time"]
                return frozen
        return self.clock.now()

    def now_of(self, obj: Obj) -> int:
        """The time of an object that may hang on a test clock."""
        return self.now(obj.get("test_clock"))

    def reset(self) -> None:
        """Empty again; the clock runs in real time."""
        with self.lock:
            self.store = Store(TABLES)
            self.clock.reset()
            self.timers.clear()
            self.previews.clear()
            self.declines.clear()
            self.after_retries = AFTER_RETRIES[0]


def _keep(problem: BaseException) -> bool:
    return isinstance(problem, ApiError) and problem.keep


def merged(journal: list[Entry]) -> tuple[Entry, ...]:
    """The journal with an object's several `.updated` made one: from first before to last after."""
    result: list[Entry] = []
    for entry in journal:
        if entry.event is None:
            continue
        if entry.event.endswith(".updated"):
            same = [
                place
                for place, other in enumerate(result)
                if other.event == entry.event and other.subject["id"] == entry.subject["id"]
            ]
            if same:
                first = result.pop(same[0])
                entry = Entry(entry.event, first.before, entry.after)  # noqa: PLW2901 - netted
        result.append(entry)
    return tuple(result)
