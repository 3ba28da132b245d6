"""`POST /_sandbox/seed`: many subscriptions at once, for benchmarks and rehearsals.

JSON: `count`, `items` ([{price, quantity}]), and if wanted `quantities` (one list for every
subscription, in the order of items), `metadata` (`{n}` in a value becomes the subscription's
number), `prefix` (of the ids, "seed"). Ids are `sub_<prefix><8 digits>`, `cus_...` and
`si_...<item>` with the same number, counted from 1.

A seeded row is a shape and a number until something changes it, so a hundred thousand take
seconds and little memory. It makes no events and has no invoices; its period begins now, was paid
for, and does not renew before the subscription is changed.
"""

from __future__ import annotations

from typing import Any

import orjson

from sandbox.billing.invoice import debit
from sandbox.billing.proration import add_intervals, line_amount
from sandbox.http.errors import bad_request, no_such
from sandbox.http.render import show
from sandbox.http.routes import Context, Route
from sandbox.objects.customers import blank_customer
from sandbox.objects.payment_methods import new_method
from sandbox.store import Obj, peek
from sandbox.subscriptions.creation import blank_subscription
from sandbox.subscriptions.item_changes import blank_item
from sandbox.world import World

MAX_ROWS = 1_000_000
_NUMBER = "@@NUMBER@@"


class Shape:
    """What all rows of one seeding have in common, stored and shown, with gaps to fill."""

    def __init__(self, world: World, template: Obj) -> None:
        self._world = world
        self.template = template
        self._stored = orjson.dumps(template)
        self._prices: tuple[Obj, ...] = ()
        self._shown = b""

    def load(self, number: int, quantities: tuple[int, ...]) -> Obj:
        """The whole object of one row."""
        loaded: Obj = orjson.loads(_filled(self._stored, number, quantities))
        for item in loaded.get("items", ()):
            period = (item["current_period_start"], item["current_period_end"])
            price = self._world.store.need("price", item["price"])
            whole = line_amount(price, item["quantity"])
            item["_debits"] = [debit(item, whole, period, period[0], {})]
        return loaded

    def encoded(self, number: int, quantities: tuple[int, ...]) -> bytes:
        """What the API shows of one row; rendered anew only when a price has changed."""
        need = self._world.store.need
        prices = tuple(need("price", item["price"]) for item in self.template.get("items", ()))
        same = len(prices) == len(self._prices) and all(map(_is, prices, self._prices))
        if not self._shown or not same:
            self._shown = orjson.dumps(show(self._world, self.template))
            self._prices = prices
        return _filled(self._shown, number, quantities)


def _is(one: Obj, other: Obj) -> bool:
    return one is other


def _filled(template: bytes, number: int, quantities: tuple[int, ...]) -> bytes:
    filled = template.replace(_NUMBER.encode(), b"%08d" % number)
    for place, quantity in enumerate(quantities):
        filled = filled.replace(b'"%b"' % _quantity(place).encode(), b"%d" % quantity)
    return filled


def _quantity(place: int) -> str:
    return f"@@QUANTITY{place}@@"


class Seeded:
    """One row: see `store.Packed`."""

    __slots__ = ("_number", "_quantities", "_shape")

    def __init__(self, shape: Shape, number: int, quantities: tuple[int, ...] = ()) -> None:
        self._shape = shape
        self._number = number
        self._quantities = quantities

    def peek(self, name: str) -> Any:
        """One field; only ids and quantities differ from row to row."""
        value = peek(self._shape.template, name)
        if isinstance(value, str) and _NUMBER in value:
            return value.replace(_NUMBER, f"{self._number:08d}")
        if isinstance(value, list):
            return peek(self.load(), name)
        return value

    def load(self) -> Obj:
        """The whole object."""
        return self._shape.load(self._number, self._quantities)

    def encoded(self) -> bytes:
        """What the API answers for it."""
        return self._shape.encoded(self._number, self._quantities)


def seed(ctx: Context) -> Obj:
    """Make the rows; answers how many, and the first and last subscription's ids."""
    sent, world = ctx.params, ctx.world
    prices = [_price(world, one) for one in sent.get("items", [])]
    quantities = _quantities(sent)
    prefix = str(sent.get("prefix", "seed"))
    if f"sub_{prefix}00000001" in world.store.tables["subscription"].rows:
        raise bad_request(f"There are rows with the prefix {prefix} already.", "prefix")
    customer = Shape(world, _customer(world, prefix, prices))
    subscription = Shape(world, _subscription(world, sent, prefix, prices))
    last = len(quantities)
    numbers = range(1, last + 1)
    world.store.bulk("customer", ((f"cus_{prefix}{n:08d}", Seeded(customer, n)) for n in numbers))
    world.store.bulk(
        "subscription",
        (
            (f"sub_{prefix}{n:08d}", Seeded(subscription, n, of))
            for n, of in enumerate(quantities, start=1)
        ),
    )
    return {
        "subscriptions": last,
        "first": f"sub_{prefix}{1:08d}",
        "last": f"sub_{prefix}{last:08d}",
    }


def _price(world: World, sent: Any) -> Obj:
    price = world.store.get("price", str(sent.get("price")))
    if price is None or price["recurring"] is None:
        raise no_such("recurring price", str(sent.get("price")), "items", 400)
    return price


def _quantities(sent: dict[str, Any]) -> list[tuple[int, ...]]:
    """One tuple for every row, as long as there are items."""
    items = sent.get("items")
    if not items:
        raise bad_request("`items` needs at least one {price, quantity}.", "items")
    given = sent.get("quantities")
    if given is None:
        same = tuple(int(one.get("quantity", 1)) for one in items)
        rows = [same] * int(sent.get("count", 0))
    else:
        rows = [tuple(map(int, one)) for one in given]
    if not 1 <= len(rows) <= MAX_ROWS or any(len(one) != len(items) for one in rows):
        raise bad_request(
            f"`count` or `quantities` must make 1 to {MAX_ROWS} rows of {len(items)} items each.",
            "quantities",
        )
    return rows


def _customer(world: World, prefix: str, prices: list[Obj]) -> Obj:
    card = world.store.get("payment_method", f"pm_{prefix}")
    if card is None:  # one card for all of them: nothing looks at whose it is when it pays
        card = {**new_method(world, "visa"), "id": f"pm_{prefix}"}
        world.store.bulk("payment_method", [(card["id"], card)])
    customer: Obj = blank_customer(f"cus_{prefix}{_NUMBER}", world.clock.now(), None)
    customer["currency"] = prices[0]["currency"]
    customer["invoice_prefix"] = f"S{_NUMBER}"
    customer["invoice_settings"]["default_payment_method"] = card["id"]
    return customer


def _subscription(world: World, sent: dict[str, Any], prefix: str, prices: list[Obj]) -> Obj:
    now = world.clock.now()
    made: Obj = blank_subscription(
        f"sub_{prefix}{_NUMBER}", f"cus_{prefix}{_NUMBER}", now, test_clock=None
    )
    made["currency"] = prices[0]["currency"]
    made["metadata"] = {
        str(name): str(value).replace("{n}", _NUMBER)
        for name, value in (sent.get("metadata") or {}).items()
    }
    for place, price in enumerate(prices):
        recurring = price["recurring"]
        item = blank_item(f"si_{prefix}{_NUMBER}{place}", made["id"], price["id"], now)
        item["quantity"] = _quantity(place)
        item["current_period_end"] = add_intervals(
            now, recurring["interval"], recurring["interval_count"]
        )
        made["items"].append(item)
    return made


ROUTES = (Route("POST", "/_sandbox/seed", seed, raw=True, own_units=True),)
