"""Stripe's errors, in Stripe's shapes.

Only values and their constructors: which error is raised when is decided where the rule is.
Wording follows recorded answers of API version 2026-08-26.dahlia where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DOC_URL = "https://stripe.com/docs/error-codes/"


@dataclass
class ApiError(Exception):
    """An answer that is not a 2xx; the envelope is `{"error": {...}}`."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    decline_code: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    log_url: bool = True
    keep: bool = False  # true: what the request did before failing stays (a recorded payment)

    def body(self, request_id: str) -> dict[str, Any]:
        """The envelope; fields that have no value are absent, as Stripe leaves them out."""
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        if self.code is not None:
            error["code"] = self.code
            if self.type == "invalid_request_error" or self.decline_code is not None:
                error["doc_url"] = DOC_URL + self.code.replace("_", "-")
        if self.param is not None:
            error["param"] = self.param
        if self.decline_code is not None:
            error["decline_code"] = self.decline_code
        error.update(self.extra)
        if self.log_url:
            error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 without further consequences."""
    return ApiError(400, message, param=param, code=code)


def missing_param(param: str) -> ApiError:
    """A required parameter was not sent."""
    return bad_request(f"Missing required param: {param}.", param, "parameter_missing")


def unknown_param(param: str) -> ApiError:
    """A parameter Stripe does not know for this call."""
    return bad_request(f"Received unknown parameter: {param}", param, "parameter_unknown")


def unsupported_param(param: str) -> ApiError:
    """A parameter Stripe knows and this stand-in does not: refused rather than ignored."""
    return bad_request(
        f"The sandbox does not implement the parameter {param}.", param, "sandbox_unsupported"
    )


def no_such(what: str, object_id: str, param: str = "id", status: int = 404) -> ApiError:
    """An object that does not exist; `what` is Stripe's name of it in messages."""
    return ApiError(status, f"No such {what}: '{object_id}'", code="resource_missing", param=param)


def unauthorized(key: str) -> ApiError:
    """The key is missing or not one of a test mode."""
    if not key:
        return ApiError(
            401,
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
            "YOUR_SECRET_KEY').",
            log_url=False,
        )
    masked = key[:8] + "*" * max(0, len(key) - 12) + key[-4:]
    return ApiError(401, f"Invalid API Key provided: {masked}", log_url=False)


def unknown_url(method: str, path: str) -> ApiError:
    """No route: Stripe's words for it."""
    return ApiError(404, f"Unrecognized request URL ({method}: {path}).", log_url=False)
