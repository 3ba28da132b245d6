"""Every field of Stripe's that is read, filled with everything that JSON can hold."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import stripe_shapes as shapes
from reconcile.stripe_shapes import UnreadableShape
from tests.support.stripe_events import subscription

PERIOD = {"start": 1_790_000_000, "end": 1_792_000_000}
LINE: dict[str, Any] = {
    "id": "il_1",
    "object": "line_item",
    "amount": 5000,
    "currency": "usd",
    "quantity": 2,
    "description": "2 x Voice",
    "discount_amounts": [],
    "taxes": [],
    "invoice": "in_1",
    "period": PERIOD,
    "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}},
    "parent": {
        "type": "subscription_item_details",
        "subscription_item_details": {
            "invoice_item": "ii_1",
            "proration": True,
            "subscription": "sub_1",
            "subscription_item": "si_1",
        },
    },
}
INVOICE: dict[str, Any] = {
    "id": "in_1",
    "object": "invoice",
    "status": "paid",
    "billing_reason": "subscription_update",
    "currency": "usd",
    "created": 1_790_000_000,
    "subtotal": 5000,
    "total": 5000,
    "total_discount_amounts": [],
    "total_taxes": [],
    "starting_balance": 0,
    "ending_balance": 0,
    "amount_due": 5000,
    "amount_paid": 5000,
    "parent": {"subscription_details": {"subscription": "sub_1", "metadata": {}}},
    "lines": {"data": [LINE], "has_more": False},
}
PENDING: dict[str, Any] = LINE | {
    "id": "ii_1",
    "proration": True,
    "parent": {"subscription_details": {"subscription": "sub_1", "subscription_item": "si_1"}},
}
WHOLE: dict[str, tuple[Callable[[Any], object], Any]] = {
    "subscription": (shapes.parse_subscription, subscription()),
    "invoice": (shapes.parse_invoice, INVOICE),
    "line": (shapes.parse_line, LINE),
    "pending item": (shapes.parse_pending_item, PENDING),
}
# Beyond any calendar, any column and any float; and what a lenient parser might let pass.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**12, 10**17, -(10**17), 2**63, 10**30, -1]),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["\0", "sub_1\0", "x" * 5000, "10", "1e9"]),
    st.just([]),
    st.just({}),
    st.just([[]]),
    st.just({"data": [None]}),
    st.just({"data": "x", "has_more": 1}),
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [path, *(p for key, child in pairs for p in _paths(child, (*path, key)))]


@pytest.mark.parametrize("what", sorted(WHOLE))
@given(data=st.data())
def test_any_field_of_any_kind_is_read_or_called_unreadable(what: str, data: st.DataObject) -> None:
    parse, whole = WHOLE[what]
    raw = copy.deepcopy(whole)
    for path in data.draw(
        st.lists(st.sampled_from([p for p in _paths(whole) if p]), min_size=1, max_size=3)
    ):
        target: Any = raw
        with suppress(KeyError, IndexError, TypeError):
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = data.draw(ODD)
    with suppress(UnreadableShape):
        parse(raw)


@pytest.mark.parametrize("what", sorted(WHOLE))
def test_each_shape_reads_as_it_is(what: str) -> None:
    parse, whole = WHOLE[what]
    parse(whole)


@pytest.mark.parametrize("created", [10**17, -(10**17), 10**30, 2**62, float("inf"), "soon", None])
def test_a_time_that_no_calendar_holds_is_unreadable(created: object) -> None:
    with pytest.raises(UnreadableShape):
        shapes.parse_subscription(subscription(created=created))
