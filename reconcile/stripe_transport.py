"""The SDK's transport, without its JSON: bodies are kept as they came, and read by orjson.

The SDK parses every answer into ordered dictionaries in Python, which takes most of the time of a
page of 100 subscriptions. Errors still go through it. Only `stripe_api` uses this.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import orjson
import stripe

from reconcile.stripe_errors import replayed

_KEPT = "trueup-body"  # among the headers, which the SDK hands on untouched


class Transport(stripe.RequestsClient):
    """Sends as the SDK does; of what went well it gets an empty object to parse."""

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:
        """Return the body, the status and the headers of one answer."""
        body, status, answered = super().request(method, url, headers, post_data)
        if status >= 300:
            return body, status, answered
        cast("MutableMapping[str, Any]", answered)[_KEPT] = body
        return b"{}", status, answered


def read_body(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON object of an answer that went well. Raises ValueError when it is none."""
    data = orjson.loads(headers[_KEPT])
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the same as no JSON at all
    return data


@dataclass(frozen=True, slots=True)
class Answer:
    """What the headers of an answer say; `at` is Stripe's clock."""

    at: datetime
    request_id: str | None
    replayed: bool

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Answer":
        try:
            at = parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError):
            at = datetime.now(UTC)
        return cls(at, headers.get("request-id"), replayed(headers))
