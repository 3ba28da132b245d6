"""Sends a webhook the way Stripe does: the signature made by the official SDK."""

import json
import time
from typing import Any

import requests
from stripe import WebhookSignature

SECRET = "whsec_of_the_tests"
TIMEOUT_S = 30


def signature(body: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    """The `Stripe-Signature` header of these raw bytes."""
    timestamp = int(time.time() if at is None else at)
    header: str = WebhookSignature.generate_signature_header(
        body.decode("utf-8"), secret, timestamp=timestamp
    )
    return header


def post_event(
    url: str,
    event: dict[str, Any] | bytes,
    *,
    secret: str = SECRET,
    at: float | None = None,
    timeout_s: float = TIMEOUT_S,
) -> requests.Response:
    """POST one signed event to the receiver's base url."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return requests.post(
        f"{url}/webhooks/stripe",
        data=body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, secret=secret, at=at),
        },
        timeout=timeout_s,
    )
