"""The judge itself: it accepts what the SDK's classes describe and names everything else."""

import inspect
import typing
from copy import deepcopy
from importlib import import_module
from typing import Any

import pytest
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject

from tests.sandbox.conformance import _annotations, _resolve, assert_conforms, problems

ENDPOINT: dict[str, Any] = {
    "id": "we_1",
    "object": "webhook_endpoint",
    "api_version": None,
    "application": None,
    "created": 1790021303,
    "description": None,
    "enabled_events": ["*"],
    "livemode": False,
    "metadata": {"team": "billing"},
    "status": "enabled",
    "url": "http://127.0.0.1:1/webhooks/stripe",
}
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": 1790021303,
    "data": {"object": ENDPOINT},
    "livemode": False,
    "pending_webhooks": 0,
    "request": {"id": None, "idempotency_key": None},
    "type": "customer.subscription.updated",
}


def page(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(objects), "has_more": False, "url": "/v1/x"}


def test_a_right_answer_has_no_problems() -> None:
    assert problems(ENDPOINT) == []
    assert problems(page(ENDPOINT, EVENT)) == []
    assert problems({"id": "we_1", "object": "webhook_endpoint", "deleted": True}) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "$.colour: unknown field of WebhookEndpoint"),
        ({"url": None}, "$.url: None is no str"),
        ({"created": "1790021303"}, "$.created: '1790021303' is no int"),
        ({"created": True}, "$.created: True is no int"),
        ({"livemode": 0}, "$.livemode: 0 is no bool"),
        ({"enabled_events": "*"}, "$.enabled_events: not a list but '*'"),
        ({"enabled_events": ["*", 7]}, "$.enabled_events[1]: 7 is no str"),
        ({"metadata": {"n": 1}}, "$.metadata.n: 1 is no str"),
        ({"metadata": []}, "$.metadata: not a hash but []"),
        ({"object": "webhook"}, "$.object: 'webhook' is no object of the API"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], complaint: str) -> None:
    assert problems({**ENDPOINT, **change}) == [complaint]
    assert problems(page({**ENDPOINT, **change}))[0].startswith("$.data[0].")


def test_a_missing_required_field_is_named_and_an_optional_one_is_not() -> None:
    broken = deepcopy(ENDPOINT)
    del broken["url"], broken["api_version"]
    assert problems(broken) == ["$.url: missing from WebhookEndpoint"]


def test_nested_hashes_literals_and_the_object_of_an_event_are_walked() -> None:
    assert problems({**EVENT, "request": {"id": "req_1", "who": "me"}}) == [
        "$.request.who: unknown field of Event.Request"
    ]
    assert problems({**EVENT, "type": "customer.subscription.wobbled"})[0].startswith(
        "$.type: 'customer.subscription.wobbled' is none of"
    )
    broken = {**EVENT, "data": {"object": {**ENDPOINT, "url": 7}}}
    assert problems(broken) == ["$.data.object.url: 7 is no str"]


def test_an_expanded_object_must_be_the_right_one() -> None:
    discount = {"object": "discount", "id": "di_1", "customer": ENDPOINT}
    found = [p for p in problems(discount) if p.startswith("$.customer")]
    assert len(found) == 1
    assert "webhook_endpoint" in found[0]


def test_an_error_envelope_has_a_known_type_and_a_message() -> None:
    error = {"type": "invalid_request_error", "message": "No such customer: 'cus_x'"}
    assert_conforms({"error": error})
    with pytest.raises(AssertionError, match=r"\$\.error\.message: missing"):
        assert_conforms({"error": {"type": "card_error"}})
    assert problems({"error": {**error, "type": "my_error"}})


def _quoted(hint: object) -> list[str]:
    if isinstance(hint, str):
        return [hint]
    if isinstance(hint, typing.ForwardRef):
        return [hint.__forward_arg__]
    if typing.get_origin(hint) is typing.Literal:
        return []
    return [name for arg in typing.get_args(hint) for name in _quoted(arg)]


def test_every_name_in_every_class_of_the_sdk_can_be_resolved() -> None:
    """Otherwise a part of an answer would go unchecked without anybody noticing."""
    waiting: list[Any] = [getattr(import_module(m), name) for m, name in OBJECT_CLASSES.values()]
    seen: set[type] = set()
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.add(cls)
        waiting += [c for c in vars(cls).values() if inspect.isclass(c) and c is not type]
        if issubclass(cls, StripeObject):
            for hint in _annotations(cls).values():
                for name in _quoted(hint):
                    assert _resolve(name, cls) is not typing.Any, f"{cls}: {name}"
    assert len(seen) > 1000
