"""Logs: one line an outcome, JSON for machines or coloured for a terminal, on standard error.

Whoever works on something says what it is about with `about` (`event_id`, `subscription`,
`organization`, `job`, `adjustment`); every line inside carries it. No payloads, no e-mail
addresses, no secrets in a line: whatever is written, by us or a library, passes `scrub` last.
"""

import logging
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import orjson
import structlog

from reconcile import error_reports, scrub
from reconcile.settings import Settings

# What a worker learns on its way, and must not tell of the next thing it works on.
_LEARNED = ("adjustment", "organization", "stripe_request_id")


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's logging the same way; once, at an entry point.

    Errors nobody caught are written the same way, and reported where `sentry_dsn` is set.
    """
    error_reports.configure(settings)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            *shared,
            error_reports.processor,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
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
                structlog.processors.format_exc_info,
                _scrubbed,
                _renderer(settings),
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
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Let every line inside carry these; what is learned inside stays inside."""
    with structlog.contextvars.bound_contextvars(**dict.fromkeys(_LEARNED), **ids):
        yield


def learned(**ids: str | None) -> None:
    """Let the lines that follow, until the end of `about`, carry these as well.

    Outside of it nothing would end them, so nothing is kept.
    """
    assert set(ids) <= set(_LEARNED), ids
    if _LEARNED[0] not in structlog.contextvars.get_contextvars():
        return
    structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value})


def _renderer(settings: Settings) -> structlog.typing.Processor:
    if settings.log_format == "console":
        return structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _scrubbed(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, method
    told = {k: value for k, value in line.items() if value is not None or k not in _LEARNED}
    scrubbed: dict[str, Any] = scrub.values(told)
    return scrubbed


def _to_json(fields: Any, **options: Any) -> str:
    del options  # structlog passes the standard library's `default`; orjson has its own
    return orjson.dumps(fields, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("ended by an error", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not issubclass(found.exc_type, SystemExit):
        _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
