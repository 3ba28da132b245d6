"""Faults on purpose: what a client sees, what happened all the same, and the call log."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe

from tests.sandbox.client import KEY, Api, Box
from tests.sandbox.receiver import Receiver, eventually, running_receiver

FORM = {"email": "buyer@example.com"}


@pytest.fixture
def receiver(api: Api) -> Iterator[Receiver]:
    """A receiver that an endpoint for everything points at."""
    with running_receiver() as running:
        api.post("/v1/webhook_endpoints", {"url": running.url, "enabled_events": ["*"]})
        yield running


def fault(api: Api, kind: str, **more: Any) -> dict[str, Any]:
    return api.control("POST", "faults", {"kind": kind, **more})


def webhook_fault(api: Api, kind: str, **more: Any) -> dict[str, Any]:
    return api.control("POST", "webhook_faults", {"kind": kind, **more})


def customers(api: Api) -> int:
    return len(api.get("/v1/customers", {"limit": 100})["data"])


def client(box: Box, retries: int = 0) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, base_addresses={"api": box.url}, max_network_retries=retries)


def test_a_rate_limit_has_its_reason_and_the_sdk_knows_it(api: Api, box: Box) -> None:
    fault(api, "rate_limit", reason="endpoint-rate")
    with pytest.raises(stripe.RateLimitError) as raised:
        client(box).v1.customers.create({"email": "a@example.com"})
    assert raised.value.headers is not None
    assert raised.value.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    body: Any = raised.value.json_body  # the attribute `code` stays empty here
    assert body["error"]["code"] == "rate_limit"
    assert customers(api) == 0


def test_a_lock_timeout_is_a_429_with_its_own_code(api: Api) -> None:
    fault(api, "lock_timeout")
    answer = api.call("POST", "/v1/customers", FORM)
    assert (answer.status, answer.error["code"]) == (429, "lock_timeout")
    assert "Stripe-Rate-Limited-Reason" not in answer.headers


def test_a_missing_permission_lasts_until_cleared(api: Api, box: Box) -> None:
    fault(api, "permission", path="/v1/customers*", times=None)
    for _ in range(3):
        with pytest.raises(stripe.PermissionError):
            client(box).v1.customers.list()
    assert api.call("GET", "/v1/account").status == 200
    api.control("DELETE", "faults")
    assert customers(api) == 0


def test_a_server_error_before_and_one_after_the_effect(api: Api) -> None:
    fault(api, "server_error")
    assert api.call("POST", "/v1/customers", FORM).status == 500
    assert customers(api) == 0
    fault(api, "server_error_after", method="POST")
    assert api.call("POST", "/v1/customers", FORM).status == 500
    assert customers(api) == 1


@pytest.mark.parametrize(("kind", "made"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_lost_answer_leaves_the_client_in_doubt(api: Api, kind: str, made: int) -> None:
    fault(api, kind, method="POST")
    with pytest.raises(requests.ConnectionError):
        api.call("POST", "/v1/customers", FORM, key="k1")
    assert customers(api) == made
    api.call("POST", "/v1/customers", FORM, key="k1")
    assert customers(api) == 1


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
def test_the_sdk_gets_over_a_lost_answer_with_its_own_key(api: Api, box: Box, kind: str) -> None:
    fault(api, kind, method="POST", times=2)
    made = client(box, retries=2).v1.customers.create({"email": "a@example.com"})
    assert customers(api) == 1
    calls = api.control("GET", "calls", {"method": "POST"})["calls"]
    assert [call["status"] for call in calls] == [0, 0, 200]
    assert len({call["idempotency_key"] for call in calls}) == 1
    assert api.get(f"/v1/customers/{made.id}")["email"] == "a@example.com"


def test_a_time_out_really_waits(api: Api, box: Box) -> None:
    fault(api, "timeout_before", delay_s=5, method="GET")
    with pytest.raises(requests.Timeout):
        requests.get(f"{box.url}/v1/customers", auth=(KEY, ""), timeout=0.2)


def test_a_slow_answer_comes_late(api: Api) -> None:
    fault(api, "slow", delay_s=0.3)
    started = time.monotonic()
    assert api.call("GET", "/v1/customers").status == 200
    assert time.monotonic() - started >= 0.3


def test_rules_are_used_up_in_order_and_only_where_they_fit(api: Api) -> None:
    fault(api, "server_error", method="POST", path="/v1/customers", times=1)
    fault(api, "rate_limit", method="POST", path="/v1/customers/*", times=2)
    assert api.call("GET", "/v1/customers").status == 200
    assert api.call("POST", "/v1/customers", FORM).status == 500
    customer = api.post("/v1/customers", FORM)
    statuses = [api.call("POST", f"/v1/customers/{customer['id']}").status for _ in range(3)]
    assert statuses == [429, 429, 200]
    assert [rule["used"] for rule in api.control("GET", "faults")["faults"]] == [1, 2]


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "earthquake"},
        {"kind": "slow", "delay_s": -1},
        {"kind": "slow", "times": 0},
        {"kind": "rate_limit", "reason": "mood"},
        {"kind": "slow", "colour": "red"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(api: Api, rule: dict[str, Any]) -> None:
    assert api.call("POST", "/_sandbox/faults", json=rule).status == 400
    assert api.control("GET", "faults") == {"faults": []}


def test_real_rate_limits_can_be_switched_on(api: Api) -> None:
    api.control("POST", "limits", {"per_endpoint_second": 5})
    answers = [api.call("GET", "/v1/customers") for _ in range(12)]
    refused = [answer for answer in answers if answer.status == 429]
    assert 1 <= len(refused) <= 7
    assert refused[0].headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert api.call("GET", "/v1/account").status == 200
    api.control("POST", "limits", {"per_second": 5})
    spread = [api.call("GET", path).status for path in ["/v1/account", "/v1/events"] * 6]
    assert 429 in spread
    api.control("POST", "limits", {})
    assert {api.call("GET", "/v1/customers").status for _ in range(12)} == {200}


def test_the_call_log_counts_by_endpoint_and_names_keys(api: Api) -> None:
    made = api.call("POST", "/v1/customers", FORM, key="k1")
    api.call("POST", "/v1/customers", FORM, key="k1")
    for _ in range(3):
        api.get(f"/v1/customers/{made.body['id']}")
    log = api.control("GET", "calls")
    assert log["total"] == 5
    assert log["counts"] == [
        {"endpoint": "GET /v1/customers/:id", "status": 200, "count": 3},
        {"endpoint": "POST /v1/customers", "status": 200, "count": 2},
    ]
    first, second = api.control("GET", "calls", {"method": "POST"})["calls"]
    assert (first["idempotency_key"], first["replayed"]) == ("k1", False)
    assert (second["idempotency_key"], second["replayed"]) == ("k1", True)
    assert first["request_id"] == made.headers["Request-Id"]
    api.control("DELETE", "calls")
    assert api.control("GET", "calls")["total"] == 0


def test_objects_of_a_type_can_be_dumped(api: Api) -> None:
    made = [api.post("/v1/customers", FORM) for _ in range(3)]
    assert api.control("GET", "objects/customer")["data"] == made
    assert api.call("GET", "/_sandbox/objects/unicorn").status == 404


def test_a_dropped_webhook_stays_undelivered_and_a_lost_one_does_not(
    api: Api, receiver: Receiver
) -> None:
    webhook_fault(api, "drop", type="customer.created")
    webhook_fault(api, "lose", type="customer.updated")
    customer = api.post("/v1/customers", FORM)
    api.post(f"/v1/customers/{customer['id']}", {"email": "b@example.com"})
    api.delete(f"/v1/customers/{customer['id']}")
    receiver.wait_for(1)
    eventually(lambda: api.control("GET", "deliveries")["delivered"] == 1)
    assert receiver.types == ["customer.deleted"]
    missed = api.get("/v1/events", {"delivery_success": False})["data"]
    assert [event["type"] for event in missed] == ["customer.created"]
    assert missed[0]["pending_webhooks"] == 1
    assert api.control("GET", "deliveries")["lost"] == 2


def test_webhooks_are_doubled_for_the_object_that_was_named(api: Api, receiver: Receiver) -> None:
    first, second = (api.post("/v1/customers", FORM)["id"] for _ in range(2))
    receiver.wait_for(2)
    webhook_fault(api, "double", mentions=second, times=None)
    api.post(f"/v1/customers/{first}", {"email": "b@example.com"})
    api.post(f"/v1/customers/{second}", {"email": "b@example.com"})
    came = receiver.wait_for(5)[2:]
    assert sorted(one.event["data"]["object"]["id"] for one in came) == sorted(
        [first, second, second]
    )
    doubled = [one.event["id"] for one in came if one.event["data"]["object"]["id"] == second]
    assert len(set(doubled)) == 1


def test_webhooks_are_delayed(api: Api, receiver: Receiver) -> None:
    webhook_fault(api, "delay", type="customer.created", delay_s=1.0)
    started = time.monotonic()
    customer = api.post("/v1/customers", FORM)
    api.delete(f"/v1/customers/{customer['id']}")
    came = receiver.wait_for(2)
    assert receiver.types == ["customer.deleted", "customer.created"]
    assert came[1].at - started >= 1.0


def test_webhooks_are_reordered_back_to_front(api: Api, receiver: Receiver) -> None:
    webhook_fault(api, "reorder", type="customer.created", times=4, delay_s=2.0)
    made = [api.post("/v1/customers", FORM)["id"] for _ in range(4)]
    came = receiver.wait_for(4)
    assert [one.event["data"]["object"]["id"] for one in came] == made[::-1]
    assert api.control("DELETE", "webhook_faults") == {"webhook_faults": []}


def test_a_declined_card_is_asked_for_by_customer(api: Api, box: Box) -> None:
    customer = api.post("/v1/customers", FORM)["id"]
    body = {"customer": customer, "code": "insufficient_funds"}
    assert api.control("POST", "declines", body) == {"declines": {customer: "insufficient_funds"}}
    assert api.control("POST", "declines", {"customer": customer}) == {"declines": {}}
    assert api.call("POST", "/_sandbox/declines", json={"customer": "cus_x"}).status == 404
