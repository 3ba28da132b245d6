"""The application behind the door: `/healthz`, `/readyz`, and the door itself; nothing else.

No page and no command for people, no template, no static file; errors are short JSON and say
nothing about the inside.
"""

from collections.abc import Callable

import orjson
import structlog
from flask import Flask, Response
from prometheus_client import CollectorRegistry
from werkzeug.exceptions import HTTPException

from reconcile.database import build_engine
from reconcile.settings import Settings
from webhooks.door import Door
from webhooks.metrics import DoorMetrics
from webhooks.readiness import ReadinessProbe
from webhooks.refusals import Refusals
from webhooks.signatures import Signatures
from webhooks.writer import GroupCommitWriter


def create_app(
    settings: Settings,
    ping_queue: Callable[[], None],
    registry: CollectorRegistry,
    refusals: Refusals,
) -> Flask:
    """Return the public door's application; connections are opened by the first request.

    `ping_queue` returns when the queue answers and raises when it does not; only `/readyz` asks.
    What is refused is counted in `refusals`.
    """
    app = Flask("webhooks", static_folder=None, template_folder=None)
    signatures = Signatures(settings.webhook_secrets, tolerance_s=settings.webhook_tolerance_s)
    metrics = DoorMetrics(registry, refusals, tuple(settings.webhook_secrets))
    writer = GroupCommitWriter(settings.database_url, on_batch=metrics.batch_rows.observe)
    probe = ReadinessProbe(
        settings,
        build_engine(settings.database_url, pool_size=1),
        ping_queue,
        secrets_usable=signatures.usable,
    )
    app.add_url_rule("/healthz", view_func=_alive, methods=["GET"])
    app.add_url_rule("/readyz", endpoint="readyz", view_func=lambda: _readiness(probe))
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _failed)
    door = Door(settings, signatures, writer, metrics, others=app.wsgi_app)
    app.wsgi_app = door  # type: ignore[method-assign] # Flask's own way to put a layer in front
    return app


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
