"""Keys, versions, forms, parameters, expansion: what every call goes through."""

import socket
import time
from typing import Any

import pytest
import requests

from sandbox.http import forms
from sandbox.http.errors import ApiError
from sandbox.http.params import schema
from sandbox.store import Store
from tests.sandbox.client import Api, Box


def test_nested_forms() -> None:
    """Hashes, lists by number, lists by empty brackets, empty strings kept."""
    text = (
        "items[1][price]=b&items[0][price]=a&expand[]=x&expand[]=y"
        "&metadata[10]=kept&metadata[k]=&name=%C3%A9"
    )
    assert forms.decode(text) == {
        "items": [{"price": "a"}, {"price": "b"}],
        "expand": ["x", "y"],
        "metadata": {"10": "kept", "k": ""},
        "name": "é",
    }


@pytest.mark.parametrize("text", ["a=1&a[b]=2", "a[b]=2&a=1", "[]=1", "&".join(["a=1"] * 6000)])
def test_forms_that_make_no_sense(text: str) -> None:
    """A 400, never a crash."""
    with pytest.raises(ApiError) as refused:
        forms.decode(text)
    assert refused.value.status == 400


CHANGE = "SubscriptionUpdateParams"


@pytest.mark.parametrize(
    ("name", "sent", "typed"),
    [
        (CHANGE, {"trial_end": "now"}, {"trial_end": "now"}),
        (CHANGE, {"trial_end": "12"}, {"trial_end": 12}),
        (CHANGE, {"pause_collection": ""}, {"pause_collection": ""}),
        (CHANGE, {"cancel_at_period_end": "true"}, {"cancel_at_period_end": True}),
        (CHANGE, {"billing_cycle_anchor": "now"}, {"billing_cycle_anchor": "now"}),
        (
            CHANGE,
            {"billing_cycle_anchor": {"type": "now"}},
            {"billing_cycle_anchor": {"type": "now"}},
        ),
        ("CustomerListParams", {"created": "5"}, {"created": 5}),
        ("CustomerListParams", {"created": {"gte": "5"}}, {"created": {"gte": 5}}),
        (
            "PriceCreateParams",
            {"currency": "usd", "unit_amount_decimal": "1.5"},
            {"currency": "usd", "unit_amount_decimal": "1.5"},
        ),
        ("CustomerCreateParams", {"metadata": {"a": ""}}, {"metadata": {"a": ""}}),
    ],
)
def test_parameters_get_their_types(name: str, sent: Any, typed: Any) -> None:
    """Strings become what the SDK's types say."""
    assert schema(name).validate(sent) == typed


@pytest.mark.parametrize(
    ("name", "sent", "param", "code"),
    [
        ("CustomerListParams", {"limit": "x"}, "limit", "parameter_invalid_integer"),
        ("CustomerListParams", {"api_key": "x"}, "api_key", "parameter_unknown"),
        (CHANGE, {"items": [{"x": "1"}]}, "items[0][x]", "parameter_unknown"),
        (CHANGE, {"items": "x"}, "items", None),
        (CHANGE, {"cancel_at_period_end": "maybe"}, "cancel_at_period_end", None),
        (CHANGE, {"description": {"a": "b"}}, "description", None),
        ("PriceCreateParams", {"unit_amount": "5"}, "currency", "parameter_missing"),
        ("SubscriptionListParams", {"status": "x"}, "status", None),
    ],
)
def test_parameters_that_are_wrong(name: str, sent: Any, param: str, code: str | None) -> None:
    """The error names the parameter as Stripe writes it."""
    with pytest.raises(ApiError) as refused:
        schema(name).validate(sent)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("key", ["", "sk_live_x", "pk_test_x"])
def test_only_test_keys(box: Box, key: str) -> None:
    """401 without a test mode's secret key."""
    answer = requests.get(
        f"{box.url}/v1/customers", headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    assert answer.status_code == 401


def test_a_restricted_key_is_a_key(box: Box) -> None:
    """`rk_test_...` reads and writes."""
    headers = {"Authorization": "Bearer rk_test_x"}
    answer = requests.get(f"{box.url}/v1/account", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["object"]) == (200, "account")


def test_an_unknown_url(api: Api) -> None:
    """Stripe's words for it."""
    answer = api.call("POST", "/v1/nothing/here")
    assert (answer.status, answer.error["message"]) == (
        404,
        "Unrecognized request URL (POST: /v1/nothing/here).",
    )


def test_expansion(api: Api) -> None:
    """One level, several, through lists; four at most; what can't be expanded says so."""
    made = api.post("/v1/products", {"name": "x"})
    api.post("/v1/prices", {"product": made["id"], "currency": "usd", "unit_amount": 1})
    listed = api.get("/v1/prices", {"expand": ["data.product"]})["data"][0]
    assert listed["product"]["id"] == made["id"]
    for path in ("nope", "data.nope", "a.b.c.d.e"):
        answer = api.call("GET", "/v1/prices", {"expand": [path]})
        assert answer.status == 400


def test_expansion_leaves_what_is_stored_alone(api: Api) -> None:
    """What one caller had expanded, the next one sees as an id again."""
    settings = {"default_payment_method": "pm_card_visa"}
    customer = api.post(
        "/v1/customers", {"payment_method": "pm_card_visa", "invoice_settings": settings}
    )["id"]
    item = {"customer": customer, "amount": 900, "currency": "usd"}
    api.post("/v1/invoiceitems", item)
    draft = {"customer": customer, "pending_invoice_items_behavior": "include"}
    path = f"/v1/invoices/{api.post('/v1/invoices', draft)['id']}"
    api.post(f"{path}/pay")
    plain = api.get(path, {"expand": ["payments"]})
    deep = ["payments.data.payment.payment_intent", "customer.invoice_settings", "lines.data"]
    assert api.get(path, {"expand": deep}) != plain
    assert api.get(path, {"expand": ["payments"]}) == plain
    shown = api.get(f"/v1/customers/{customer}", {"expand": ["subscriptions"]})
    assert shown["subscriptions"]["data"] == []


def test_two_requests_on_one_connection_and_a_body_in_pieces(box: Box) -> None:
    """Keep-alive works, and a slow body is waited for."""
    host, port = box.url.removeprefix("http://").split(":")
    head = (
        b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_x\r\n"
        b"Content-Length: 21\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(2):
            for piece in (head[:30], head[30:], b"email=a%40", b"example.com"):
                connection.sendall(piece)
                time.sleep(0.01)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b'"email":"a@example.com"' in answer  # head and body came in one piece


def test_a_unit_that_fails_leaves_nothing() -> None:
    """Rows, order, indexes and cursors are as they were."""
    store = Store([("thing", "th", ("owner",))])
    old = store.put({"id": "th_1", "object": "thing", "owner": "a"})

    def work() -> None:
        with store.unit(lambda _: False):
            store.put({"id": "th_1", "object": "thing", "owner": "b"}, "thing.updated")
            store.put({"id": "th_2", "object": "thing", "owner": "b"}, "thing.created")
            store.delete("thing", "th_1", "thing.deleted")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(store.all("thing")) == [old]
    assert list(store.all("thing", ("owner", "a"))) == [old]
    assert list(store.all("thing", ("owner", "b"))) == []


def test_a_deleted_row_keeps_its_place() -> None:
    """A cursor of it still means the same spot."""
    store = Store([("thing", "th", ())])
    for number in range(3):
        store.put({"id": f"th_{number}", "object": "thing"})
    store.delete("thing", "th_1")
    assert store.tables["thing"].place["th_1"] == 1
    assert [one["id"] for one in store.all("thing")] == ["th_0", "th_2"]
