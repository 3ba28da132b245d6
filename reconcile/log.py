"""Logs: one line an outcome, JSON for machines or coloured for a terminal, on standard error.

Whoever works on something binds what it is about (`event_id`, `subscription`, `organization`,
`adjustment`, `stripe_request_id`) with `structlog.contextvars.bound_contextvars`; every line inside
carries it. No payloads, no e-mail addresses, no secrets in a line.
"""

import logging
import sys
from typing import Any

import orjson
import structlog

from reconcile.settings import Settings


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's logging the same way; once, at an entry point."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # RQ tells every step of every job at INFO; what happened is in our own line about it. Its
    # worker's logger gets a level of its own on import, so it is named besides its parent.
    for chatty in ("rq", "rq.worker", "alembic", "stripe", "urllib3"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def _renderers(settings: Settings) -> list[structlog.typing.Processor]:
    if settings.log_format == "console":
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    json = structlog.processors.JSONRenderer(serializer=_to_json)
    return [structlog.processors.format_exc_info, json]


def _to_json(fields: Any, **options: Any) -> str:
    del options  # structlog passes the standard library's `default`; orjson has its own
    return orjson.dumps(fields, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
