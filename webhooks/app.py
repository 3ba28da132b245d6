"""The application behind the door: `POST /webhooks/stripe`, `/healthz`, `/readyz`, nothing else.

Answers: 200 after the commit; 400 not authentic, nothing is stored; 413 too large, not read; 503
not known to be stored, Stripe comes again. What went wrong inside is logged and never answered.
"""

from collections.abc import Callable

import orjson
import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from werkzeug.exceptions import HTTPException

from reconcile.database import build_engine
from reconcile.envelope import Ours, read_event
from reconcile.settings import Settings
from webhooks.metrics import DoorMetrics, build_metrics
from webhooks.readiness import ReadinessProbe
from webhooks.signatures import Signatures
from webhooks.writer import GroupCommitWriter, NotStored


def create_app(
    settings: Settings, ping_queue: Callable[[], None], registry: CollectorRegistry
) -> Flask:
    """Return the public door's application; connections are opened by the first request.

    `ping_queue` returns when the queue answers and raises when it does not; only `/readyz` asks.
    """
    app = Flask("webhooks", static_folder=None, template_folder=None)
    signatures = Signatures(settings.webhook_secrets, tolerance_s=settings.webhook_tolerance_s)
    metrics = build_metrics(registry)
    writer = GroupCommitWriter(settings.database_url, on_batch=metrics.batch_rows.observe)
    probe = ReadinessProbe(
        settings,
        build_engine(settings.database_url, pool_size=1),
        ping_queue,
        secrets_usable=signatures.usable,
    )
    door = _Door(settings, signatures, writer, metrics)

    app.add_url_rule("/webhooks/stripe", view_func=door.receive, methods=["POST"])
    app.add_url_rule("/healthz", view_func=_alive, methods=["GET"])
    app.add_url_rule("/readyz", view_func=lambda: _readiness(probe), methods=["GET"])
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _failed)
    return app


class _Door:
    """What it takes to let an event in."""

    def __init__(
        self,
        settings: Settings,
        signatures: Signatures,
        writer: GroupCommitWriter,
        metrics: DoorMetrics,
    ) -> None:
        self._limit = settings.webhook_max_body_bytes
        self._ours = Ours.of(settings)
        self._signatures = signatures
        self._writer = writer
        self._requests = metrics.requests
        self._log = structlog.get_logger()

    def receive(self) -> Response:
        """Store one event (Law 1: verify, insert, commit, answer)."""
        body = self._read_body()
        if body is None:
            self._requests.labels("too_large", "").inc()
            return _answer(413, {"error": f"the body is larger than {self._limit} bytes"})
        secret_name = self._signatures.matching(body, request.headers.get("Stripe-Signature"))
        if secret_name is None:
            self._requests.labels("bad_signature", "").inc()
            self._log.warning("webhook refused: bad signature", bytes=len(body))
            return _answer(400, {"error": "the signature does not match"})
        row = read_event(body, self._ours, source="webhook", secret_name=secret_name)
        try:
            self._writer.store(row)
        except NotStored as error:
            self._requests.labels("unavailable", secret_name).inc()
            self._log.error("webhook not stored", event_id=row.id, why=str(error))
            return _answer(503, {"error": "not stored, deliver it again"})
        self._requests.labels("ignored" if row.reason else "stored", secret_name).inc()
        return _answer(200, {"event": row.id, "state": row.state})

    def _read_body(self) -> bytes | None:
        """Return the raw body, or None when it is over the limit: one byte more is never kept."""
        stated = request.content_length
        if stated is not None and stated > self._limit:
            return None
        # Without a stated length (chunked) the server ends the stream itself.
        stream = request.environ["wsgi.input"]
        body: bytes = stream.read(self._limit + 1 if stated is None else stated)
        return body if len(body) <= self._limit else None


def _alive() -> Response:
    return _answer(200, {"status": "alive"})


def _readiness(probe: ReadinessProbe) -> Response:
    found = probe.look()
    return _answer(
        200 if found.ready else 503,
        {
            "status": "ready" if found.ready else "not ready",
            "checks": found.checks,
            "unfinished_events": found.unfinished,
            "oldest_unfinished_s": found.oldest_age_s,
        },
    )


def _refused(error: HTTPException) -> Response:
    return _answer(error.code or 500, {"error": error.name})


def _failed(error: Exception) -> Response:
    structlog.get_logger().error("request failed", exc_info=error)
    return _answer(500, {"error": "internal error"})


def _answer(status: int, content: dict[str, object]) -> Response:
    return Response(orjson.dumps(content), status, content_type="application/json")
