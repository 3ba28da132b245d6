"""What goes wrong on purpose: rules for requests, rules for webhooks, rate limits.

Rules are set through the control API and used up one request, or one event, at a time. Nothing
here changes an object: a fault only decides whether and when the real thing happens or is told.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, TypeVar, get_args

from sandbox.http.app import error_response
from sandbox.http.errors import ApiError
from sandbox.http.routes import Handle, Request, Response

RequestKind = Literal[
    "rate_limit",
    "lock_timeout",
    "server_error",
    "server_error_after",
    "timeout_before",
    "timeout_after",
    "slow",
    "permission",
]
WebhookKind = Literal["drop", "lose", "double", "delay", "reorder"]
REQUEST_KINDS: tuple[str, ...] = get_args(RequestKind)
WEBHOOK_KINDS: tuple[str, ...] = get_args(WebhookKind)
REASONS = (
    "global-rate",
    "endpoint-rate",
    "global-concurrency",
    "endpoint-concurrency",
    "resource-specific",
)
MAX_RULES = 1000
MAX_DELAY_S = 600.0


@dataclass
class RequestRule:
    """One fault for requests: which, for what, how often. `times` None lasts until cleared."""

    kind: str
    method: str = "*"
    path: str = "*"
    times: int | None = 1
    delay_s: float = 0.0
    reason: str = "global-rate"
    id: int = 0
    used: int = 0

    def fits(self, request: Request) -> bool:
        """Whether this request is one it waits for."""
        return (
            (self.times is None or self.used < self.times)
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(request.path, self.path)
        )


@dataclass
class WebhookRule:
    """One fault for webhooks. `mentions` is an id that the event's body must contain."""

    kind: str
    type: str = "*"
    mentions: str = ""
    endpoint: str = "*"
    times: int | None = 1
    delay_s: float = 1.0
    id: int = 0
    used: int = 0
    first_at: float = 0.0

    def fits(self, event_type: str, endpoint_id: str, body: bytes) -> bool:
        """Whether this event for this endpoint is one it waits for."""
        return (
            (self.times is None or self.used < self.times)
            and fnmatchcase(event_type, self.type)
            and fnmatchcase(endpoint_id, self.endpoint)
            and self.mentions.encode() in body
        )


Rule = TypeVar("Rule", RequestRule, WebhookRule)


@dataclass(frozen=True)
class Sending:
    """One way in which an event leaves, or does not."""

    delay_s: float = 0.0
    lost: bool = False
    looks_delivered: bool = False


class Rules(Generic[Rule]):
    """Rules in the order in which they are tried; bounded."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.lock = threading.Lock()
        self._ids = itertools.count(1)

    def add(self, rule: Rule) -> Rule:
        """Puts a rule at the end; the first that fits is used."""
        with self.lock:
            rule.id = next(self._ids)
            self.rules.append(rule)
            del self.rules[:-MAX_RULES]
        return rule

    def clear(self) -> None:
        """Everything works again."""
        with self.lock:
            self.rules = []


class RequestFaults(Rules[RequestRule]):
    """The rules for requests. Two layers: `outer` before the idempotency keys, `inner` behind."""

    def outer(self, request: Request, inner: Handle) -> Response:
        """Faults of the way to the API and back, and refusals before a request begins."""
        rule = self._take(request, _OUTER)
        if rule is None:
            return inner(request)
        if rule.kind == "timeout_after":
            inner(request)
        if rule.kind.startswith("timeout"):
            time.sleep(rule.delay_s)
            return Response(0, b"", drop=True)
        return error_response(request, _refusal(rule, request))

    def inner(self, request: Request, inner: Handle) -> Response:
        """Faults of the API itself: their answers are kept under the idempotency key."""
        rule = self._take(request, _INNER)
        if rule is None:
            return inner(request)
        time.sleep(rule.delay_s)
        if rule.kind == "slow":
            return inner(request)
        if rule.kind == "server_error_after":
            inner(request)
        return error_response(request, server_error())

    def _take(self, request: Request, kinds: Iterable[str]) -> RequestRule | None:
        if not self.rules or request.path.startswith("/_sandbox"):
            return None
        with self.lock:
            for rule in self.rules:
                if rule.kind in kinds and rule.fits(request):
                    rule.used += 1
                    return rule
        return None


_INNER = frozenset({"server_error", "server_error_after", "slow"})
_OUTER = frozenset(REQUEST_KINDS) - _INNER


def _refusal(rule: RequestRule, request: Request) -> ApiError:
    if rule.kind == "rate_limit":
        return rate_limited(rule.reason)
    if rule.kind == "lock_timeout":
        return ApiError(
            429,
            "This object cannot be accessed right now because another API request or Stripe "
            "process is currently accessing it.",
            code="lock_timeout",
        )
    return ApiError(
        403,
        "The provided key does not have the required permissions for this endpoint "
        f"({request.method} {request.path}).",
    )


def server_error() -> ApiError:
    """Stripe's own fault."""
    return ApiError(500, "An unknown error occurred.", type="api_error")


def rate_limited(reason: str) -> ApiError:
    """Too many requests; the header says of what kind."""
    return ApiError(
        429,
        "Request rate limit exceeded.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


class WebhookFaults(Rules[WebhookRule]):
    """The rules for webhooks."""

    def plan(self, event_type: str, endpoint_id: str, body: bytes) -> list[Sending]:
        """How an event leaves for an endpoint: once and now, unless a rule says otherwise.

        `drop` never leaves and counts as undelivered; `lose` never arrives but counts as
        delivered, like an event that a receiver answered with 200 and then forgot.
        """
        with self.lock:
            rule = next((r for r in self.rules if r.fits(event_type, endpoint_id, body)), None)
            if rule is None:
                return [Sending()]
            rule.used += 1
            if rule.kind == "reorder":
                return [Sending(self._reversed(rule))]
        if rule.kind == "double":
            return [Sending(), Sending()]
        if rule.kind == "delay":
            return [Sending(rule.delay_s)]
        return [Sending(lost=True, looks_delivered=rule.kind == "lose")]

    def _reversed(self, rule: WebhookRule) -> float:
        """The wait that puts the n-th event of a rule before the one that came before it.

        All of them leave in the second half of a window of `delay_s` after the first one.
        """
        now = time.monotonic()
        if rule.used == 1:
            rule.first_at = now
        places = rule.times or 10
        rest = max(0, places - rule.used) / places
        due = rule.first_at + rule.delay_s * (0.5 + 0.5 * rest)
        return max(0.0, due - now)


@dataclass
class RateLimits:
    """Stripe's limits, off until they are set: https://docs.stripe.com/rate-limits.

    Counts the requests of the last second, of all endpoints together and of each.
    """

    per_second: int | None = None
    per_endpoint_second: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def __call__(self, request: Request, inner: Handle) -> Response:
        """The layer: refuse what is too much."""
        reason = self._exceeded(request)
        if reason is not None:
            return error_response(request, rate_limited(reason))
        return inner(request)

    def configure(self, per_second: int | None, per_endpoint_second: int | None) -> None:
        """Switches limits on, or off with None."""
        with self.lock:
            self.per_second, self.per_endpoint_second = per_second, per_endpoint_second
            self.seen.clear()

    def _exceeded(self, request: Request) -> str | None:
        if request.path.startswith("/_sandbox"):
            return None
        if self.per_second is None and self.per_endpoint_second is None:
            return None
        now = time.monotonic()
        with self.lock:
            windows = (
                ("", self.per_second, "global-rate"),
                (endpoint_of(request), self.per_endpoint_second, "endpoint-rate"),
            )
            for key, limit, reason in windows:
                window = self.seen[key]
                while window and window[0] <= now - 1:
                    window.popleft()
                if limit is not None and len(window) >= limit:
                    return reason
            for key, _limit, _reason in windows:
                self.seen[key].append(now)
        return None


def endpoint_of(request: Request) -> str:
    """Method and path with ids blanked: `POST /v1/subscriptions/:id`."""
    parts = [":id" if _is_id(part) else part for part in request.path.split("/")]
    return f"{request.method} {'/'.join(parts)}"


def _is_id(part: str) -> bool:
    prefix, underscore, rest = part.rpartition("_")
    return bool(underscore and prefix and any(c.isdigit() for c in rest))


def rule_of(kinds: tuple[str, ...], cls: Any, sent: dict[str, Any]) -> Any:
    """A rule from the control API's JSON; raises ValueError in words for what is wrong."""
    allowed = set(cls.__dataclass_fields__) - {"id", "used", "first_at"}
    unknown = sorted(sent.keys() - allowed)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(allowed))}")
    if sent.get("kind") not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}")
    if sent.get("reason", REASONS[0]) not in REASONS:
        raise ValueError(f"reason must be one of {', '.join(REASONS)}")
    delay_s = sent.get("delay_s", 0.0)
    if not isinstance(delay_s, int | float) or not 0 <= delay_s <= MAX_DELAY_S:
        raise ValueError(f"delay_s must be between 0 and {MAX_DELAY_S:g}")
    times = sent.get("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise ValueError("times must be a positive number, or null for until cleared")
    return cls(**sent)
