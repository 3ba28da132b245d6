"""Stripe's JSON of every version, and JSON that is none."""

import copy
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.stripe_shapes import (
    StripeSubscription,
    UnreadableShape,
    parse_invoice,
    parse_line,
    parse_subscription,
)
from tests.support.stripe_events import VERSIONS, subscription

START = datetime.fromtimestamp(1_790_000_000, UTC)
MONTH_S = 30 * 86_400  # how long the period of `stripe_events.subscription` is
END = 1_790_000_000 + MONTH_S


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_of_each_version_reads_the_same(version: str) -> None:
    found = parse_subscription(subscription(version))
    assert found.period_start == START
    assert [(i.price_id, i.quantity, i.interval) for i in found.items] == [
        ("price_voice", 3, "month")
    ]
    assert (found.id, found.customer_id, found.status) == ("sub_1", "cus_1", "active")
    assert not found.cancel_at_period_end


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("cancel_at_period_end", True, {"cancel_at_period_end": True}),
        ("cancel_at", END, {"cancel_at_period_end": True}),
        # The term of a year that is billed by the month: seats are sold until its last month.
        ("cancel_at", END + MONTH_S, {"cancel_at_period_end": False}),
        ("pause_collection", {"behavior": "void"}, {"collection_paused": True}),
        ("schedule", "sub_sched_1", {"schedule_id": "sub_sched_1"}),
        ("schedule", {"id": "sub_sched_1"}, {"schedule_id": "sub_sched_1"}),
        ("pending_update", {"expires_at": 1}, {"has_pending_update": True}),
        ("customer", {"id": "cus_2"}, {"customer_id": "cus_2"}),
        ("collection_method", "send_invoice", {"charges_automatically": False}),
    ],
)
def test_what_decisions_need_is_read_expanded_or_not(
    field: str, value: Any, expected: dict[str, object]
) -> None:
    found = parse_subscription(subscription(**{field: value}))
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_metered_item_has_no_quantity() -> None:
    raw = subscription()
    item = raw["items"]["data"][0]
    del item["quantity"]
    item["price"]["recurring"]["usage_type"] = "metered"
    (found,) = parse_subscription(raw).items
    assert (found.metered, found.quantity) == (True, None)


def test_an_embedded_list_that_goes_on_is_noticed() -> None:
    raw = subscription()
    raw["items"]["has_more"] = True
    assert not parse_subscription(raw).items_complete


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(p for key, child in children for p in _paths(child, (*path, key)))]


PATHS = [path for path in _paths(subscription()) if path]
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({})
)


@given(path=st.sampled_from(PATHS), value=ODD)
def test_any_field_of_any_type_is_read_or_called_unreadable(
    path: tuple[Any, ...], value: object
) -> None:
    raw = copy.deepcopy(subscription())
    target: Any = raw
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with suppress(UnreadableShape):
        assert isinstance(parse_subscription(raw), StripeSubscription)


@pytest.mark.parametrize("parse", [parse_subscription, parse_invoice, parse_line])
@pytest.mark.parametrize("raw", [{}, {"id": "x_1"}, {"id": None, "items": {"data": [{}]}}])
def test_what_is_no_such_object_is_unreadable(parse: Any, raw: dict[str, Any]) -> None:
    with pytest.raises(UnreadableShape):
        parse(raw)


def test_tax_that_is_included_adds_nothing_to_a_line() -> None:
    """Shapes of Stripe's `invoice.lines.data[].taxes` and `discount_amounts`."""
    behavior = {"taxability_reason": "standard_rated", "type": "tax_rate_details"}
    line = {
        "id": "il_1",
        "amount": 1200,
        "currency": "eur",
        "quantity": 1,
        "period": {"start": 1_790_000_000, "end": 1_790_000_600},
        "discount_amounts": [{"amount": 100, "discount": "di_1"}],
        "taxes": [
            behavior | {"amount": 183, "tax_behavior": "inclusive", "taxable_amount": 917},
            behavior | {"amount": 55, "tax_behavior": "exclusive", "taxable_amount": 1100},
        ],
    }
    found = parse_line(line)
    assert (found.discount_minor, found.tax_minor, found.added_tax_minor) == (100, 238, 55)
    assert found.total_minor == 1200 - 100 + 55
