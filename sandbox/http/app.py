"""From a request to an answer: key, version, route, parameters, one unit, JSON.

No rules about any object live here. Layers (faults, idempotency, the call log) wrap `answer`
and are given by whoever builds the application.
"""

from __future__ import annotations

import base64
import secrets
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sandbox.http import forms
from sandbox.http.errors import ApiError, bad_request, unauthorized, unknown_url, unsupported_param
from sandbox.http.params import schema
from sandbox.http.render import Include, expand, show
from sandbox.http.routes import Context, Handle, Layer, Request, Response, Route, Router
from sandbox.world import API_VERSION, World

JSON = "application/json"


class Application:
    """The API on one world. `handle` is thread-safe."""

    def __init__(
        self,
        world: World,
        routes: list[Route],
        includes: dict[str, Include],
        layers: Sequence[Layer] = (),
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.world = world
        self.routes = tuple(routes)
        self._router = Router(routes)
        self._includes = includes
        self.tick = tick  # does what became due; before every request, and from outside
        self.handle: Handle = self.answer
        for layer in reversed(layers):
            self.handle = _wrapped(layer, self.handle)

    def answer(self, request: Request) -> Response:
        """The answer of the API itself, without layers."""
        try:
            self.tick()
            return self._answer(request)
        except ApiError as problem:
            return error_response(request, problem)
        except Exception:  # noqa: BLE001 - a bug here must look like Stripe's 500, and be seen on stderr
            traceback.print_exc()
            broken = ApiError(500, "The sandbox failed; see its standard error.", type="api_error")
            return error_response(request, broken)

    def _answer(self, request: Request) -> Response:
        found = self._router.find(request.method, request.path)
        if found is None:
            raise unknown_url(request.method, request.path)
        route, args = found
        if route.raw:
            return self._run(Context(self.world, request, route, args, _json(request)))
        check_key(request)
        check_version(request)
        values = forms.decode(request.query)
        if request.body:
            values.update(forms.decode(_text(request.body)))
        params = validated(route, values)
        return self._run(Context(self.world, request, route, args, params))

    def _run(self, ctx: Context) -> Response:
        with self.world.lock:
            if ctx.route.own_units or ctx.request.method == "GET":
                shown = ctx.route.handler(ctx)
            else:
                with self.world.unit(ctx.origin):
                    shown = ctx.route.handler(ctx)
            if isinstance(shown, bytes):
                return _ok(ctx.request, shown)
            shown = show(self.world, shown)
            paths = ctx.params.get("expand") or []
            if paths:
                shown = expand(self.world, shown, paths, self._includes)
            return _ok(ctx.request, orjson.dumps(shown))


def validated(route: Route, values: dict[str, Any]) -> dict[str, Any]:
    """Typed parameters, or the error for the first that is unknown, wrong or not implemented."""
    known_by = route.schema or "BalanceRetrieveParams"
    params = (schema(known_by) if isinstance(known_by, str) else known_by).validate(values)
    if route.accepts is not None:
        known = {"expand", *route.accepts.split()}
        for name in params:
            if name not in known:
                raise unsupported_param(name)
    return params


def check_key(request: Request) -> None:
    """Any test key is let in, secret or restricted, as Bearer or as Basic user name."""
    key = key_of(request)
    if not key.startswith(("sk_test_", "rk_test_")):
        raise unauthorized(key)


def key_of(request: Request) -> str:
    """The API key of a request, or an empty string."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return ""
    return value.strip()


def check_version(request: Request) -> None:
    """The version has to look like one; answers are in the sandbox's own version's shapes."""
    version = request.headers.get("stripe-version", API_VERSION)
    day, _, _name = version.partition(".")
    if not (len(day) == 10 and day.replace("-", "").isdigit()):
        raise ApiError(400, f"Invalid Stripe API version: {version}", log_url=False)


def error_response(request: Request, problem: ApiError) -> Response:
    """An error as the API answers it."""
    body = orjson.dumps(problem.body(request.id))
    return Response(problem.status, body, {**_headers(request), **problem.headers})


def new_request_id() -> str:
    """An id as in Stripe's Request-Id header."""
    return "req_" + secrets.token_hex(7)


def _ok(request: Request, body: bytes) -> Response:
    return Response(200, body, _headers(request))


def _headers(request: Request) -> dict[str, str]:
    headers = {
        "Content-Type": JSON,
        "Request-Id": request.id,
        "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
    }
    key = request.headers.get("idempotency-key")
    if key:
        headers["Idempotency-Key"] = key
        headers["Original-Request"] = request.id
    return headers


def _wrapped(layer: Layer, inner: Handle) -> Handle:
    return lambda request: layer(request, inner)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as problem:
        raise bad_request("Invalid request: the body is not UTF-8") from problem


def _json(request: Request) -> dict[str, Any]:
    if not request.body:
        return dict(forms.decode(request.query))
    try:
        value = orjson.loads(request.body)
    except ValueError as problem:
        raise bad_request(f"Invalid JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise bad_request("Invalid JSON: an object is expected")
    return value
