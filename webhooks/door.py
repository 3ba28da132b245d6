"""`POST /webhooks/stripe`: verify the raw bytes, store, commit, answer (Law 1).

Plain WSGI in front of the Flask application: what Flask does around a view costs more than all the
work in here together, and this is the one path that bursts (docs/decisions/0004-the-receiver.md).

Answers: 200 after the commit; 400 not authentic, nothing is stored; 405; 413 too large, not read;
503 not known to be stored, Stripe comes again. What went wrong inside is logged, never answered.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from reconcile import tracing
from reconcile.envelope import Ours, read_event
from reconcile.settings import Settings
from webhooks.metrics import DoorMetrics
from webhooks.signatures import Signatures
from webhooks.writer import GroupCommitWriter, NotStored

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/webhooks/stripe"
Answer = tuple[HTTPStatus, dict[str, str]]

# Nothing here is a page; a browser that is led to it shows, keeps and passes on nothing.
SECURITY_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)

# The label of an answer's latency, besides those that are counted by name.
_OUTCOMES = {
    HTTPStatus.OK: "accepted",
    HTTPStatus.BAD_REQUEST: "bad_signature",
    HTTPStatus.METHOD_NOT_ALLOWED: "not_post",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}


class Door:
    """A WSGI application that takes Stripe's webhooks and hands everything else on."""

    def __init__(
        self,
        settings: Settings,
        signatures: Signatures,
        writer: GroupCommitWriter,
        metrics: DoorMetrics,
        others: "WSGIApplication",
    ) -> None:
        self._limit = settings.webhook_max_body_bytes
        self._ours = Ours.of(settings)
        self._signatures = signatures
        self._writer = writer
        self._metrics = metrics
        self._others = others
        self._log = structlog.get_logger()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return self._others(environ, _secured(start_response))
        began = time.monotonic()
        try:
            with tracing.span("receive"):
                status, content = self._receive(environ)
        except Exception:  # noqa: BLE001 - whatever it is, the answer is 500 and no trace
            self._log.exception("webhook failed")
            status, content = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"}
        self._metrics.answered(_OUTCOMES.get(status, "error"), time.monotonic() - began)
        body = orjson.dumps(content)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *SECURITY_HEADERS,
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "POST"))
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _receive(self, environ: "WSGIEnvironment") -> Answer:
        if environ["REQUEST_METHOD"] != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only POST"}
        body = self._read_body(environ)
        if body is None:
            self._metrics.count("too_large")
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"over {self._limit} bytes"}
        secret_name = self._signatures.matching(body, environ.get("HTTP_STRIPE_SIGNATURE"))
        if secret_name is None:
            self._metrics.count("bad_signature")
            self._log.warning("webhook refused: bad signature", bytes=len(body))
            return HTTPStatus.BAD_REQUEST, {"error": "the signature does not match"}
        row = read_event(body, self._ours, source="webhook", secret_name=secret_name)
        if traceparent := tracing.traceparent():
            row = replace(row, traceparent=traceparent)
            tracing.tell(event_id=row.id, type=row.type, work_key=row.work_key)
        try:
            self._writer.store(row)
        except NotStored as error:
            self._metrics.count("unavailable", secret_name)
            self._log.error("webhook not stored", event_id=row.id, why=str(error))
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "not stored, deliver it again"}
        self._metrics.count("ignored" if row.reason else "stored", secret_name)
        if row.stripe_created_at:
            self._metrics.ack_age.observe(max(0.0, time.time() - row.stripe_created_at.timestamp()))
        return HTTPStatus.OK, {"event": row.id, "state": row.state}

    def _read_body(self, environ: "WSGIEnvironment") -> bytes | None:
        """Return the raw body, whole, or None when it is over the limit."""
        stated = environ.get("CONTENT_LENGTH")
        if stated and int(stated) > self._limit:
            return None
        # Without a stated length (chunked) the server ends the stream; one byte more gives it away.
        body: bytes = environ["wsgi.input"].read(int(stated) if stated else self._limit + 1)
        return body if len(body) <= self._limit else None


def _secured(start_response: "StartResponse") -> "StartResponse":
    """The same for what the application behind the door answers."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, *SECURITY_HEADERS], *rest)

    return start
