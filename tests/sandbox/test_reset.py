"""`POST /_sandbox/reset`: as if just started, in the same process."""

import time

from tests.sandbox.client import Api


def test_nothing_of_before_is_left(api: Api) -> None:
    """Objects, clock, faults, idempotency keys, endpoints and the call log are all gone."""
    api.control("POST", "clock", {"now": 1_790_000_000, "frozen": True})
    first = api.post("/v1/customers", {"email": "a@example.com"}, key="one")
    api.post("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/x", "enabled_events": ["*"]})
    api.control("POST", "declines", {"customer": first["id"], "code": "lost_card"})
    api.control("POST", "settings", {"after_retries": "cancel"})
    api.control("POST", "faults", {"kind": "server_error", "times": 5})
    api.control("POST", "reset")
    assert api.control("GET", "calls")["total"] == 0
    assert api.get("/v1/customers")["data"] == []
    assert api.get("/v1/webhook_endpoints")["data"] == []
    assert api.get("/v1/events")["data"] == []
    again = api.post("/v1/customers", {"email": "b@example.com"}, key="one")
    assert again["id"] != first["id"]
    assert abs(api.control("GET", "clock")["now"] - time.time()) < 60
    assert api.control("POST", "settings")["after_retries"] == "unpaid"


def test_an_unknown_fate_is_refused(api: Api) -> None:
    """Only what Stripe offers can happen after the last retry."""
    answer = api.call("POST", "/_sandbox/settings", json={"after_retries": "forgive"})
    assert answer.status == 400
