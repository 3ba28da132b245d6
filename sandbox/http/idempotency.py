"""Idempotency keys: one request is carried out once, however often it is sent.

A layer around the API. It keeps the first answer of every key and replays it; what never began
to run (validation errors, conflicts, rate limits) is not kept. Facts:
https://docs.stripe.com/api/idempotent_requests.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from sandbox.http import forms
from sandbox.http.app import error_response
from sandbox.http.errors import ApiError, bad_request
from sandbox.http.routes import Handle, Request, Response
from sandbox.world import World

KEPT_S = 24 * 3600
KEPT_KEYS = 50_000
MAX_KEY = 255


@dataclass(frozen=True)
class _Kept:
    """What a key stands for; `response` is None while the first request still runs."""

    method_and_path: str
    params: Any
    at: int
    response: Response | None = None
    request_id: str = ""


class Idempotency:
    """The keys of one sandbox, by its own clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __call__(self, request: Request, inner: Handle) -> Response:
        """The layer: replay, refuse, or run and keep."""
        key = request.headers.get("idempotency-key")
        if not key or request.method != "POST" or request.path.startswith("/_sandbox"):
            return inner(request)
        try:
            mine = self._mine(request)
            first = self._begin(key, mine)
        except ApiError as problem:
            return error_response(request, problem)
        if first is not None:
            return _replayed(first, request)
        response: Response | None = None
        try:
            response = inner(request)
        finally:
            self._end(key, mine, response, request.id)
        return response

    def forget(self) -> int:
        """Drops every key that is not in use, as a day's passing does; returns how many."""
        with self._lock:
            done = [key for key, kept in self._kept.items() if kept.response is not None]
            for key in done:
                del self._kept[key]
        return len(done)

    def _mine(self, request: Request) -> _Kept:
        if len(request.headers["idempotency-key"]) > MAX_KEY:
            raise bad_request(f"Idempotency keys have at most {MAX_KEY} characters.")
        body = request.body.decode("utf-8", "replace")
        is_form = not request.path.startswith("/v2/")
        return _Kept(
            f"{request.method} {request.path}",
            forms.decode(body) if is_form else body,
            self._world.clock.now(),
        )

    def _begin(self, key: str, mine: _Kept) -> _Kept | None:
        """The kept answer, or None when this request is the first and may run."""
        with self._lock:
            first = self._kept.get(key)
            if first is not None and first.response and mine.at - first.at >= KEPT_S:
                first = None
            if first is None:
                self._kept[key] = mine
                self._kept.move_to_end(key)
                while len(self._kept) > KEPT_KEYS:
                    self._kept.popitem(last=False)
                return None
        if first.method_and_path != mine.method_and_path:
            raise _misused(
                "Keys for idempotent requests can only be used for the same endpoint they were "
                f"first used for ('{first.method_and_path}'). Try using a key other than '{key}' "
                "if you meant to execute a different request."
            )
        if first.params != mine.params:
            raise _misused(
                "Keys for idempotent requests can only be used with the same parameters they "
                f"were first used with. Try using a key other than '{key}' if you meant to "
                "execute a different request."
            )
        if first.response is None:
            raise ApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key: "
                f"{key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        return first

    def _end(self, key: str, mine: _Kept, response: Response | None, request_id: str) -> None:
        with self._lock:
            if response is not None and _began(response.status):
                self._kept[key] = replace(mine, response=response, request_id=request_id)
            else:
                self._kept.pop(key, None)


def _began(status: int) -> bool:
    """Whether an answer of this status came from a request that began to run."""
    return status < 400 or status == 402 or status >= 500


def _misused(message: str) -> ApiError:
    return ApiError(400, message, type="idempotency_error")


def _replayed(first: _Kept, request: Request) -> Response:
    assert first.response is not None, "only finished requests are replayed"
    headers = {
        **first.response.headers,
        "Request-Id": request.id,
        "Idempotent-Replayed": "true",
        "Original-Request": first.request_id,
    }
    return replace(first.response, headers=headers)
