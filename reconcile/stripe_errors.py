"""Stripe's errors, translated once into ours. Only `stripe_api` meets them."""

from collections.abc import Mapping
from typing import Any

import stripe

from reconcile.errors import (
    CardDeclined,
    OutcomeUnknown,
    StripeGone,
    StripeKeyRefused,
    StripeRateLimited,
    StripeRejected,
    StripeUnavailable,
)


class StoredFailure(OutcomeUnknown):
    """Stripe keeps another answer under this idempotency key: the key is used up.

    A server error, or the answer to the parameters that an earlier release of ours sent.
    """


def replayed(headers: Mapping[str, str]) -> bool:
    """Return whether Stripe answered from what it keeps under the idempotency key."""
    return (headers.get("idempotent-replayed") or "").lower() == "true"


def concerns_everyone(error: stripe.StripeError) -> bool:
    """Whether a 429 is about the account's calls, not about one object that is busy.

    https://docs.stripe.com/rate-limits, `Stripe-Rate-Limited-Reason`
    """
    reason = (error.headers or {}).get("stripe-rate-limited-reason", "")
    return reason.startswith(("global-", "endpoint-"))


def translated(error: stripe.StripeError, *, writes: bool) -> Exception:
    """Return our own error for one of Stripe's, told by the HTTP status.

    The body names no class reliably: a 409 is an APIError, a 402 need not be about a card.
    """
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    told = body.get("error")
    told = told if isinstance(told, Mapping) else {}
    status = error.http_status
    message = str(told.get("message") or error.user_message or "")
    # Without an answer the SDK asks the reader to write to its makers, and names the cause last.
    _, _, cause = message.rpartition("(Network error: ")
    message = cause.removesuffix(")") if status is None else message
    facts: dict[str, Any] = {
        "code": told.get("decline_code") or told.get("code"),
        "param": told.get("param"),
        "http_status": status,
        "request_id": error.request_id,
    }
    if status == 429:
        return StripeRateLimited(message, **facts)
    if status in (401, 403):
        return StripeKeyRefused(message, **facts)
    other_parameters = status == 400 and told.get("type") == "idempotency_error"
    if status is None or status >= 500 or status == 409 or other_parameters:
        if not writes:
            return StripeUnavailable(message, **facts)
        used_up = other_parameters or replayed(error.headers or {})
        return (StoredFailure if used_up else OutcomeUnknown)(message, **facts)
    if status == 400 and facts["code"] == "resource_missing" and facts["param"] is None:
        # "This customer has no attached payment source": no card is as good as a declined one.
        return CardDeclined(message, **(facts | {"code": "no_payment_method"}))
    known: dict[int, type[StripeRejected]] = {402: CardDeclined, 404: StripeGone}
    return known.get(status, StripeRejected)(message, **facts)
