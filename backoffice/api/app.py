"""The application: the frame around every view, in the order a request goes through it.

In: a request id, the token, its scope and organization, the body's form, the idempotency key. Out:
the answer is kept under that key, gets its headers, and is counted and logged in one line.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from flask import Flask, Response, g, request
from flask_openapi.models.info import Info
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.openapi import OpenAPI

from backoffice.api import answers, form, metrics, page
from backoffice.api.authentication import Failures, Gate
from backoffice.api.context import SERVICES, visible
from backoffice.api.document import ABOUT, describe
from backoffice.api.frame import Resource
from backoffice.api.health import Health
from backoffice.api.idempotency import Claim, Idempotency
from backoffice.api.problems import ProblemAnswer, problem, refuse_invalid
from backoffice.api.resources import RESOURCES
from backoffice.api.tokens import Scope
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.services import Services
from reconcile.store.tokens import Token

OPEN = frozenset({"healthz", "readyz"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

log = structlog.get_logger()


class Api(OpenAPI):
    """A Flask application whose views may return what `answers` understands."""

    request_class = form.JsonRequest

    def make_response(self, rv: Any) -> Response:
        """Return the answer for a view's value."""
        return super().make_response(answers.of(rv))


def create_app(
    services: Services,
    *,
    ping_queue: Callable[[], None] = lambda: None,
    resources: Iterable[Resource] = RESOURCES,
) -> Flask:
    """Return the API's application. Connections are opened by the first request that needs one.

    `ping_queue` raises when the queue is away; only `/readyz` asks.
    """
    app = Api(
        "trueup",
        static_folder=None,
        template_folder=None,
        doc_ui=False,
        info=Info(title="Trueup", version="1", description=ABOUT),
        security_schemes={
            "bearer": SecurityScheme(type="http", scheme="bearer", description="A token."),
            "basic": SecurityScheme(
                type="http",
                scheme="basic",
                description="For browsers, reading only: any name, the token as the password.",
            ),
        },
        validation_error_callback=refuse_invalid,
    )
    app.config["MAX_CONTENT_LENGTH"] = form.READ_BYTES
    app.extensions[SERVICES] = services
    scopes: dict[str, Scope] = {}
    for resource in resources:
        app.register_api(resource)
        scopes |= resource.scopes
    scopes |= _add_document(app)
    _add_health(app, Health(services.engine, ping_queue))
    answers.handle_errors(app)
    _Frame(services, scopes).surround(app)
    return app


def _add_document(app: Api) -> dict[str, Scope]:
    """Add the document, now complete, and its page; they need a token like everything else."""
    document = orjson.dumps(describe(app))
    app.add_url_rule(
        "/openapi.json",
        "document",
        lambda: Response(document, content_type="application/json"),
    )
    app.add_url_rule("/docs", "docs", page.page)
    app.add_url_rule("/docs/start.js", "docs_start", page.start)
    app.add_url_rule("/docs/redoc.js", "docs_redoc", page.redoc)
    return dict.fromkeys(("document", "docs", "docs_start", "docs_redoc"), "read")


def _add_health(app: Flask, health: Health) -> None:
    app.add_url_rule("/healthz", "healthz", health.alive)
    app.add_url_rule("/readyz", "readyz", health.ready)


class _Frame:
    """What happens before and after every view."""

    def __init__(self, services: Services, scopes: dict[str, Scope]) -> None:
        self._gate = Gate(services, Failures(services.settings))
        self._idempotency = Idempotency(services)
        self._scopes = scopes

    def surround(self, app: Flask) -> None:
        """Put the frame around every view of the application."""
        app.before_request(_begin)
        for step in (self._admit, self._permit, _check_form, self._claim):
            app.before_request(step)
        # The last one registered comes first.
        for finish in (_tell, _put_headers, self._keep):
            app.after_request(finish)

    def _admit(self) -> Response | None:
        if request.endpoint in OPEN:
            return None
        admitted = self._gate.admit(request)
        if isinstance(admitted, Response):
            return admitted
        g.token = admitted
        return None

    def _permit(self) -> Response | None:
        if request.endpoint in OPEN or request.routing_exception is not None:
            return None  # the routing's own answer comes next
        token: Token = g.token
        # An endpoint that nobody declared a scope for is nobody's.
        needed = self._scopes.get(request.endpoint or "")
        if needed is None or needed not in token.scopes:
            return problem(
                HTTPStatus.FORBIDDEN,
                "scope_missing",
                f"The token lacks the scope {needed}" if needed else "This is for nobody",
                remedies=("use a token with this scope",),
            )
        named = (request.view_args or {}).get("organization_id")
        if named is not None:
            visible(named)
        return None

    def _claim(self) -> Response | None:
        if request.method in form.READS or request.routing_exception is not None:
            return None
        begun = self._idempotency.begin(request, g.token.id)
        if isinstance(begun, Response):
            return begun
        g.claim = begun
        return None

    def _keep(self, answer: Response) -> Response:
        claim: Claim | None = g.pop("claim", None)
        if claim is not None:
            crash_point(CrashPoint.BEFORE_ANSWER)
            try:
                self._idempotency.end(claim, answer)
            except Exception:  # what was done is done; the key runs out by itself
                log.warning("the answer was not kept", exc_info=True)
        return answer


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
    g.begun = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _check_form() -> Response | None:
    return None if request.routing_exception is not None else form.check(request)


def _put_headers(answer: Response) -> Response:
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers["X-Request-Id"] = g.get("request_id", "")
    return answer


def _tell(answer: Response) -> Response:
    """Count the request and log it: one line."""
    route = request.url_rule.rule if request.url_rule else "none"
    seconds = time.perf_counter() - g.begun
    token: Token | None = g.get("token")
    metrics.REQUESTS.labels(route, _method(), "5xx")  # for its alert: the first one is no growth
    metrics.REQUESTS.labels(route, _method(), f"{answer.status_code // 100}xx").inc()
    metrics.SECONDS.labels(route).observe(seconds)
    if request.endpoint not in OPEN:
        log.info(
            "api",
            method=_method(),
            route=route,
            status=answer.status_code,
            code=_code_of(answer),
            token_id=token.id if token else None,
            organization=str((request.view_args or {}).get("organization_id", ""))[:100] or None,
            ms=round(seconds * 1000),
        )
    return answer


def _method() -> str:
    """A label is from a closed list; a method is whatever a client writes."""
    known = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
    return request.method if request.method in known else "other"


def _code_of(answer: Response) -> str | None:
    return answer.code if isinstance(answer, ProblemAnswer) else None
