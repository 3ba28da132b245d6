"""Delivery: who is told, signed how, how often, and what the books say."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.sandbox.client import KEY, Api, Box
from tests.sandbox.conformance import assert_conforms
from tests.sandbox.receiver import WAIT_S, Receiver, eventually, running_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def endpoint(api: Api, url: str, *events: str, **more: Any) -> dict[str, Any]:
    return api.post("/v1/webhook_endpoints", {"url": url, "enabled_events": events, **more})


def undelivered(api: Api) -> list[str]:
    found = api.get("/v1/events", {"delivery_success": False})["data"]
    return [event["type"] for event in found]


def test_an_event_arrives_signed_in_the_shape_of_the_api(api: Api, receiver: Receiver) -> None:
    made = endpoint(api, receiver.url, "*")
    api.post("/v1/customers", {"email": "a@example.com"})
    (came,) = receiver.wait_for(1)
    event = stripe.Webhook.construct_event(came.body, came.signature, made["secret"], tolerance=300)
    assert event.type == "customer.created"
    assert_conforms(came.event)
    assert came.event["pending_webhooks"] == 1
    eventually(lambda: api.get(f"/v1/events/{event.id}")["pending_webhooks"] == 0)
    assert undelivered(api) == []
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(
            came.body.decode(), came.signature, "whsec_of_somebody_else", tolerance=300
        )


def test_the_secret_is_shown_once(api: Api) -> None:
    made = endpoint(api, "http://127.0.0.1:9/x", "customer.created")
    assert made["secret"].startswith("whsec_")
    assert "secret" not in api.get(f"/v1/webhook_endpoints/{made['id']}")
    assert "secret" not in api.get("/v1/webhook_endpoints")["data"][0]


def test_only_enabled_types_of_enabled_endpoints_are_told(api: Api, receiver: Receiver) -> None:
    endpoint(api, receiver.url, "customer.deleted")
    off = endpoint(api, receiver.url, "*")
    api.post(f"/v1/webhook_endpoints/{off['id']}", {"disabled": True})
    gone = endpoint(api, receiver.url, "*")
    api.delete(f"/v1/webhook_endpoints/{gone['id']}")
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    api.delete(f"/v1/customers/{customer['id']}")
    receiver.wait_for(1)
    eventually(lambda: api.control("GET", "deliveries")["waiting"] == 0)
    assert receiver.types == ["customer.deleted"]
    assert api.control("GET", "deliveries")["queued"] == 1


def test_every_endpoint_is_told_in_its_own_version(api: Api, receiver: Receiver) -> None:
    endpoint(api, receiver.url, "*", api_version="2025-09-30.clover")
    endpoint(api, receiver.url, "*")
    api.post("/v1/customers", {"email": "a@example.com"})
    came = receiver.wait_for(2)
    assert {one.event["api_version"] for one in came} == {
        "2025-09-30.clover",
        "2026-10-28.endive",
    }
    assert len({one.event["id"] for one in came}) == 1


def test_what_is_not_answered_with_2xx_comes_again(api: Api, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 400]
    endpoint(api, receiver.url, "*")
    api.post("/v1/customers", {"email": "a@example.com"})
    came = receiver.wait_for(4)
    assert len({one.event["id"] for one in came}) == 1
    eventually(lambda: undelivered(api) == [])
    attempts = api.control("GET", "deliveries")["attempts"]
    assert [(one["attempt"], one["status"]) for one in attempts] == [
        (1, 500),
        (2, 302),
        (3, 400),
        (4, 200),
    ]


def test_what_never_arrives_is_given_up_and_stays_undelivered(api: Api) -> None:
    api.control("POST", "deliveries", {"max_attempts": 3})
    endpoint(api, "http://127.0.0.1:1/nobody", "*")
    api.post("/v1/customers", {"email": "a@example.com"})
    eventually(lambda: api.control("GET", "deliveries")["failed"] == 1)
    books = api.control("GET", "deliveries")
    assert [one["status"] for one in books["attempts"]] == [0, 0, 0]
    assert undelivered(api) == ["customer.created"]
    assert api.get("/v1/events", {"delivery_success": True})["data"] == []


def test_what_is_on_its_way_still_waits(api: Api) -> None:
    """Who waits until every webhook has come must not see none between sent and answered."""
    api.control("POST", "deliveries", {"max_attempts": 1})
    with socket.create_server(("127.0.0.1", 0)) as slow:
        slow.settimeout(WAIT_S)
        endpoint(api, f"http://127.0.0.1:{slow.getsockname()[1]}/", "*")
        api.post("/v1/customers", {"email": "a@example.com"})
        connection, _ = slow.accept()
        with connection:
            assert api.control("GET", "deliveries")["waiting"] == 1
    eventually(lambda: api.control("GET", "deliveries")["waiting"] == 0)
    assert api.control("GET", "deliveries")["failed"] == 1


def test_what_waits_for_an_endpoint_that_is_gone_is_given_up(api: Api, receiver: Receiver) -> None:
    made = endpoint(api, receiver.url, "*")
    api.control("POST", "webhook_faults", {"kind": "delay", "delay_s": 0.2})
    api.post("/v1/customers", {"email": "a@example.com"})
    api.delete(f"/v1/webhook_endpoints/{made['id']}")
    eventually(lambda: api.control("GET", "deliveries")["failed"] == 1)
    endpoint(api, receiver.url, "*")
    api.post("/v1/customers", {"email": "b@example.com"})
    assert receiver.wait_for(1)[0].event["data"]["object"]["email"] == "b@example.com"


def test_both_secrets_sign_while_one_is_rolled(api: Api, box: Box, receiver: Receiver) -> None:
    made = endpoint(api, receiver.url, "*")
    rolled = api.control("POST", f"endpoints/{made['id']}/roll", {"overlap_s": 60})
    api.post("/v1/customers", {"email": "a@example.com"})
    (both,) = receiver.wait_for(1)
    assert both.signature.count("v1=") == 2
    for secret in (made["secret"], rolled["secret"]):
        stripe.WebhookSignature.verify_header(
            both.body.decode(), both.signature, secret, tolerance=300
        )
    box.world.clock.set(box.world.clock.now() + 61, frozen=True)
    api.post("/v1/customers", {"email": "b@example.com"})
    only = receiver.wait_for(2)[1]
    assert only.signature.count("v1=") == 1
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(
            only.body.decode(), only.signature, made["secret"], tolerance=300
        )


def test_an_event_can_be_sent_again(api: Api, receiver: Receiver) -> None:
    made = endpoint(api, receiver.url, "*")
    api.post("/v1/customers", {"email": "a@example.com"})
    first = receiver.wait_for(1)[0]
    again = api.post(f"/v1/events/{first.event['id']}/retry", {"webhook_endpoint": made["id"]})
    assert again["id"] == first.event["id"]
    assert receiver.wait_for(2)[1].event["id"] == first.event["id"]
    unknown = api.call(
        "POST", f"/v1/events/{first.event['id']}/retry", {"webhook_endpoint": "we_none"}
    )
    assert unknown.status == 404


def test_a_thin_destination_gets_notifications_the_sdk_can_follow(
    api: Api, box: Box, receiver: Receiver
) -> None:
    client = stripe.StripeClient(KEY, base_addresses={"api": box.url})
    made = client.v2.core.event_destinations.create(
        {
            "name": "thin",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.customer.created"],
            "webhook_endpoint": {"url": receiver.url},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    assert made.webhook_endpoint is not None
    customer = api.post("/v1/customers", {"email": "a@example.com"})
    api.post(f"/v1/customers/{customer['id']}", {"email": "b@example.com"})
    (came,) = receiver.wait_for(1)
    notification: Any = client.parse_event_notification(
        came.body, came.signature, str(made.webhook_endpoint.signing_secret)
    )
    assert notification.type == "v1.customer.created"
    assert notification.related_object.id == customer["id"]
    assert notification.fetch_event().id == notification.id
    assert notification.fetch_related_object().email == "b@example.com"
    assert "data" not in came.event


def test_destinations_are_kept_changed_and_removed(api: Api, receiver: Receiver) -> None:
    body = {
        "name": "snapshots",
        "type": "webhook_endpoint",
        "event_payload": "snapshot",
        "enabled_events": ["customer.created"],
        "webhook_endpoint": {"url": receiver.url},
    }
    made = api.call("POST", "/v2/core/event_destinations", json=body).body
    path = f"/v2/core/event_destinations/{made['id']}"
    assert made["webhook_endpoint"] == {"signing_secret": None, "url": None}
    assert api.get("/v2/core/event_destinations")["data"] == [made]
    api.post("/v1/customers", {"email": "a@example.com"})
    assert receiver.wait_for(1)[0].event["object"] == "event"
    assert api.call("POST", f"{path}/disable", json={}).body["status"] == "disabled"
    renamed = api.call("POST", path, json={"name": "new"}).body
    assert (renamed["name"], renamed["status"]) == ("new", "disabled")
    refused = api.call("POST", "/v2/core/event_destinations", json={**body, "colour": "red"})
    assert refused.error["param"] == "colour"
    assert api.call("DELETE", path, json={}).status == 200
    assert api.call("GET", path).status == 404


def test_the_control_api_says_how_a_slow_receiver_does_not_slow_the_api(
    api: Api, receiver: Receiver
) -> None:
    made = endpoint(api, receiver.url, "*")
    api.control("POST", "webhook_faults", {"kind": "delay", "delay_s": 30, "times": None})
    for n in range(20):
        api.post("/v1/customers", {"email": f"{n}@example.com"})
    books = api.control("GET", "deliveries")
    assert (books["queued"], books["waiting"], books["delivered"]) == (20, 20, 0)
    assert made["status"] == "enabled"
    assert len(undelivered(api)) == 10
