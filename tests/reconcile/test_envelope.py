"""Stripe's bytes become an inbox row: every version, every subject, and nothing ever raises."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.envelope import InboxRow, Ours, read_event
from tests.support.stripe_events import VERSIONS, invoice, snapshot, subscription, thin

OURS = Ours(livemode=False, account_id="", organization_key="organization_id")


def read(event: object, ours: Ours = OURS) -> InboxRow:
    return read_event(orjson.dumps(event), ours, source="webhook", secret_name="main")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_of_any_version_names_itself(version: str) -> None:
    event = snapshot("customer.subscription.updated", subscription(version), version)
    row = read(event)
    assert (row.state, row.work_key, row.reason) == ("pending", "sub:sub_1", None)
    assert (row.subscription_id, row.customer_id) == ("sub_1", "cus_1")
    assert (row.organization_id, row.api_version) == ("org_1", version)
    assert row.stripe_created_at == datetime.fromtimestamp(event["created"], UTC)
    assert row.kind == "snapshot"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invoice_of_any_version_names_its_subscription(version: str) -> None:
    row = read(snapshot("invoice.payment_failed", invoice(version), version))
    assert (row.work_key, row.object_id) == ("sub:sub_1", "in_1")
    # Stripe began to copy the subscription's metadata to the invoice in 2023.
    assert row.organization_id == (None if version == "2020-08-27" else "org_1")


def test_an_expanded_reference_is_read_like_an_id() -> None:
    expanded = invoice("2024-06-20", subscription={"id": "sub_2", "object": "subscription"})
    assert read(snapshot("invoice.paid", expanded, "2024-06-20")).work_key == "sub:sub_2"


@pytest.mark.parametrize(
    ("schedule", "work_key"),
    [
        ({"id": "sub_sched_1", "subscription": "sub_1"}, "sub:sub_1"),
        ({"id": "sub_sched_1", "released_subscription": "sub_1"}, "sub:sub_1"),
        ({"id": "sub_sched_1", "subscription": None}, None),
    ],
)
def test_a_schedule_names_the_subscription_it_drives(
    schedule: dict[str, Any], work_key: str | None
) -> None:
    assert read(snapshot("subscription_schedule.updated", schedule)).work_key == work_key


def test_a_customer_is_a_work_key_of_its_own() -> None:
    row = read(snapshot("customer.updated", {"id": "cus_9", "object": "customer"}))
    assert (row.work_key, row.customer_id) == ("cus:cus_9", "cus_9")


@pytest.mark.parametrize(
    ("event_type", "related", "work_key"),
    [
        ("v1.customer.subscription.item_quantity_changed", ("sub_1", "subscription"), "sub:sub_1"),
        ("v1.customer.subscription.updated", ("sub_1", "subscription"), "sub:sub_1"),
        ("v1.customer.updated", ("cus_1", "customer"), "cus:cus_1"),
        ("v1.invoice.paid", ("in_1", "invoice"), None),
        ("v1.billing.meter.no_meter_found", ("mtr_1", "billing.meter"), None),
    ],
)
def test_a_thin_notification_names_its_object(
    event_type: str, related: tuple[str, str], work_key: str | None
) -> None:
    row = read(thin(event_type, *related))
    assert (row.kind, row.work_key, row.object_id) == ("thin", work_key, related[0])
    assert row.stripe_created_at == datetime(2026, 11, 1, 6, 20, 52, 246_000, UTC)
    assert (row.state == "pending") == (work_key is not None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "payout.paid"}, "no work: payout.paid changes no seats"),
        ({"type": "invoice.created"}, "no work: invoice.created changes no seats"),
        ({"type": "something.stripe.invents"}, "no work: something.stripe.invents"),
        ({"livemode": True}, "wrong mode: a live event, the key is a test one"),
        ({"livemode": None}, "unreadable: the event does not say its mode"),
        ({"account": "acct_other"}, "wrong account: acct_other"),
        ({"type": None}, "unreadable: the event has no type"),
        ({"type": "customer.subscription.updated", "data": None}, "no work: the event names no"),
    ],
)
def test_what_is_not_worked_on_is_ignored_with_the_reason(
    change: dict[str, Any], reason: str
) -> None:
    event = snapshot("customer.subscription.updated", subscription()) | change
    row = read(event)
    assert (row.state, row.work_key, row.id) == ("ignored", None, event["id"])
    assert row.reason
    assert row.reason.startswith(reason)


def test_the_account_of_the_settings_is_ours() -> None:
    ours = Ours(livemode=False, account_id="acct_1", organization_key="organization_id")
    event = snapshot("customer.subscription.updated", subscription())
    assert read(event, ours).state == "pending"
    assert read(event | {"account": "acct_1"}, ours).state == "pending"
    assert read(event | {"account": "acct_2"}, ours).state == "ignored"
    note = thin("v1.customer.subscription.updated", "sub_1", "subscription")
    assert read(note | {"context": "org_1/acct_1"}, ours).state == "pending"
    assert read(note | {"context": "acct_2"}, ours).stripe_account == "acct_2"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'"evt_1"', b'{"id": "tru_1"}', b'{"id": 7}', b"\x00"]
)
def test_what_is_no_event_keeps_one_row_by_its_content(body: bytes) -> None:
    first, again = (read_event(body, OURS, source="webhook") for _ in range(2))
    assert first == again
    assert first.state == "ignored"
    assert (first.reason or "").startswith("unreadable: ")
    assert first.payload == body


# Every field Stripe might one day fill with something else.
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["\0", "sub_1\0", "x" * 400, "2026-13-45T99:99:99Z", "evt_1", "acct_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_TYPES = (
    "customer.subscription.updated",
    "invoice.paid",
    "subscription_schedule.released",
    "customer.updated",
    "v1.customer.subscription.updated",
)


@st.composite
def mangled_bodies(draw: st.DrawFn) -> bytes:
    event: dict[str, Any] = snapshot(draw(st.sampled_from(_TYPES)), invoice())
    if draw(st.booleans()):
        event |= thin(event["type"], "sub_1", "subscription")
    for holder in (event, event["data"]["object"], event["data"]):
        for key in draw(st.lists(st.sampled_from(sorted(holder)), max_size=4)):
            holder[key] = draw(_values)
    return json.dumps(event).encode()


def assert_fit_to_store(row: InboxRow) -> None:
    """What PostgreSQL and the law demand of any row."""
    for value in (row.id, row.type, row.reason, row.work_key, row.object_id, row.organization_id):
        assert value is None or ("\0" not in value and len(value) < 1000)
    assert (row.state == "pending") == (row.work_key is not None) == (row.reason is None)
    assert row.stripe_created_at is None or row.stripe_created_at.tzinfo


@given(mangled_bodies())
def test_no_field_of_any_type_makes_it_raise(body: bytes) -> None:
    assert_fit_to_store(read_event(body, OURS, source="webhook"))


@given(st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_it_raise(body: bytes) -> None:
    assert_fit_to_store(read_event(body, OURS, source="webhook"))


def test_numbers_beyond_any_clock_are_no_time() -> None:
    for created in (10**30, -1, 1.5, True, "9999999-01-01", "0001-01-01T00:00:00+23:59"):
        event = snapshot("customer.subscription.updated", subscription(), created=created)
        body = json.dumps(event).encode()
        row = read_event(body, OURS, source="webhook")
        assert row.stripe_created_at is None
        assert row.state == "pending"
