"""Events: what changes become, previous attributes, thin siblings, and the lists."""

from typing import Any

import pytest
from stripe.events._event_classes import get_v2_event_class, get_v2_event_notification_class

from sandbox.webhooks.previous import previous_attributes, thin_types
from tests.sandbox.client import Api, Box


def item(item_id: str, quantity: int, price: str = "price_1") -> dict[str, Any]:
    return {"id": item_id, "quantity": quantity, "price": {"id": price}, "tax_rates": []}


def subscription(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = {"object": "list", "data": list(items)}
    defaults = {"cancel_at": None, "default_payment_method": None, "status": "active"}
    return {"id": "sub_1", "object": "subscription", "items": data, **defaults, **more}


@pytest.mark.parametrize(
    ("before", "after", "previous"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 2}),
        ({"m": {}}, {"m": {"foo": "bar"}}, {"m": {"foo": None}}),
        ({"m": {"x": "1", "y": "2"}}, {"m": {"x": "1"}}, {"m": {"y": "2"}}),
        ({"list": [1, 2]}, {"list": [1, 3]}, {"list": [1, 2]}),
        ({"p": None}, {"p": {"expires_at": 5}}, {"p": None}),
        ({"p": {"expires_at": 5, "q": 1}}, {"p": None}, {"p": {"expires_at": 5, "q": 1}}),
        ({"same": {"deep": [1]}}, {"same": {"deep": [1]}}, {}),
    ],
)
def test_previous_attributes_are_partial_hashes_and_whole_arrays(
    before: dict[str, Any], after: dict[str, Any], previous: dict[str, Any]
) -> None:
    assert previous_attributes(before, after) == previous


def test_a_quantity_change_shows_the_whole_old_items_array() -> None:
    before = subscription(item("si_1", 3), item("si_2", 1), quantity=None)
    after = subscription(item("si_1", 5), item("si_2", 1), quantity=None)
    assert previous_attributes(before, after) == {"items": {"data": before["items"]["data"]}}


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (subscription(item("si_1", 1)), subscription(item("si_1", 2)), ["item_quantity_changed"]),
        (
            subscription(item("si_1", 1)),
            subscription(item("si_1", 1, "price_2")),
            ["item_price_changed"],
        ),
        (
            subscription(item("si_1", 1)),
            subscription(item("si_1", 1), item("si_2", 1)),
            ["item_added"],
        ),
        (
            subscription(item("si_1", 1), item("si_2", 1)),
            subscription(item("si_1", 1)),
            ["item_removed"],
        ),
        (subscription(), subscription(status="past_due"), ["past_due"]),
        (subscription(), subscription(cancel_at=5), ["cancel_at_changed"]),
        (None, subscription(status="trialing"), ["trialing"]),
        (subscription(), subscription(metadata={"a": "b"}), []),
    ],
)
def test_thin_events_name_what_changed_in_a_subscription(
    before: dict[str, Any] | None, after: dict[str, Any], names: list[str]
) -> None:
    kind = "created" if before is None else "updated"
    found = thin_types(f"customer.subscription.{kind}", before, after)
    assert found == [
        f"v1.customer.subscription.{kind}",
        *(f"v1.customer.subscription.{name}" for name in names),
    ]
    for name in found:
        assert get_v2_event_class(name) is not None, f"the SDK knows no {name}"
        assert get_v2_event_notification_class(name).__name__ != "UnknownEventNotification"


def test_a_change_becomes_an_event_with_its_request_and_previous_values(api: Api) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com", "metadata": {"k": "1"}})
    answer = api.call(
        "POST", f"/v1/customers/{customer['id']}", {"email": "b@example.com"}, key="mine"
    )
    updated, created = api.get("/v1/events")["data"]
    assert created["type"] == "customer.created"
    assert created["data"] == {"object": customer}
    assert updated["type"] == "customer.updated"
    assert updated["data"]["object"] == answer.body
    assert updated["data"]["previous_attributes"] == {"email": "a@example.com"}
    assert updated["request"] == {
        "id": answer.headers["Request-Id"],
        "idempotency_key": "mine",
    }
    assert updated["api_version"] == "2026-10-28.endive"
    assert updated["pending_webhooks"] == 0
    assert api.get(f"/v1/events/{updated['id']}") == updated


def test_what_changed_nothing_or_failed_makes_no_event(api: Api, box: Box) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    api.post(f"/v1/customers/{customer['id']}", {"email": "a@example.com"})
    api.call("POST", f"/v1/customers/{customer['id']}", {"nonsense": "1"})
    with box.world.unit():  # something of the sandbox's own that nobody sees
        box.world.store.put({**customer, "_mark": 1}, "customer.updated")
    assert [e["type"] for e in api.get("/v1/events")["data"]] == ["customer.created"]


def test_pausing_and_resuming_have_events_of_their_own(api: Api) -> None:
    product = api.post("/v1/products", {"name": "Base seat"})["id"]
    month = {"interval": "month"}
    price = {"product": product, "currency": "usd", "unit_amount": 1000, "recurring": month}
    trial = {
        "customer": api.post("/v1/customers", {"email": "a@example.com"})["id"],
        "items": [{"price": api.post("/v1/prices", price)["id"]}],
        "trial_period_days": 7,
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
    }
    path = f"/v1/subscriptions/{api.post('/v1/subscriptions', trial)['id']}"
    assert api.post(path, {"trial_end": "now"})["status"] == "paused"

    def told(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get("/v1/events", {"type": name})["data"]
        return found

    (paused,) = told("customer.subscription.paused")
    assert paused["data"]["object"]["status"] == "paused"
    assert "previous_attributes" not in paused["data"]
    assert told("customer.subscription.resumed") == []


def test_an_event_keeps_what_the_object_was_then(api: Api) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    api.post(f"/v1/customers/{customer['id']}", {"email": "b@example.com"})
    api.delete(f"/v1/customers/{customer['id']}")
    found = api.get("/v1/events", {"types": ["customer.created", "customer.deleted"]})["data"]
    assert [e["data"]["object"]["email"] for e in found] == ["b@example.com", "a@example.com"]


def test_lists_filter_by_type_types_wildcard_and_time(api: Api, box: Box) -> None:
    start = box.world.clock.now()
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    box.world.clock.set(start + 100, frozen=True)
    api.post(f"/v1/customers/{customer['id']}", {"email": "b@example.com"})

    def types(**filters: Any) -> list[str]:
        return [e["type"] for e in api.get("/v1/events", filters)["data"]]

    assert types(type="customer.created") == ["customer.created"]
    assert types(type="customer.*") == ["customer.updated", "customer.created"]
    assert types(types=["customer.updated"]) == ["customer.updated"]
    assert types(created={"gte": start + 50}) == ["customer.updated"]
    assert types(created={"lt": start + 50}) == ["customer.created"]


def test_lists_take_at_most_twenty_types_and_not_both_filters(api: Api) -> None:
    assert api.call("GET", "/v1/events", {"types": ["customer.created"] * 20}).status == 200
    many = api.call("GET", "/v1/events", {"types": ["customer.created"] * 21})
    assert (many.status, many.error["param"]) == (400, "types")
    both = {"type": "customer.created", "types": ["customer.created"]}
    assert api.call("GET", "/v1/events", both).status == 400


def test_lists_are_paged_and_forget_after_thirty_days(api: Api, box: Box) -> None:
    for n in range(7):
        api.post("/v1/customers", {"email": f"{n}@example.com"})
    first = api.get("/v1/events", {"limit": 5})
    rest = api.get("/v1/events", {"limit": 5, "starting_after": first["data"][-1]["id"]})
    assert (len(first["data"]), first["has_more"]) == (5, True)
    assert (len(rest["data"]), rest["has_more"]) == (2, False)
    box.world.clock.set(box.world.clock.now() + 30 * 86400 + 60, frozen=True)
    assert api.get("/v1/events")["data"] == []


def test_thin_events_can_be_listed_and_fetched_by_object(api: Api) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    api.post("/v1/customers", {"email": "b@example.com"})
    snapshot = api.get("/v1/events")["data"][-1]
    (thin,) = api.get("/v2/core/events", {"object_id": customer["id"]})["data"]
    assert thin["type"] == "v1.customer.created"
    assert thin["snapshot_event"] == snapshot["id"]
    assert thin["related_object"] == {
        "id": customer["id"],
        "type": "customer",
        "url": f"/v1/customers/{customer['id']}",
    }
    assert api.get(f"/v2/core/events/{thin['id']}") == thin
    page = api.get("/v2/core/events", {"limit": 1})
    assert page["next_page_url"] is not None
    rest = api.get(page["next_page_url"])
    assert [rest["data"][0]["id"], rest["next_page_url"]] == [thin["id"], None]
    for wrong in ({"limit": "many"}, {"page": "-1"}, {"created[gte]": "yesterday"}):
        assert api.call("GET", "/v2/core/events", wrong).status == 400
