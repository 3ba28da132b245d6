"""Errors nobody foresaw, reported to Sentry: `trueup[sentry]`, off unless `sentry_dsn` is set.

What is logged as an error with its traceback is reported; nothing else is collected: no local
variables, no requests, no breadcrumbs, no performance data. What goes out passes `scrub` as the
logs do, and carries the same ids.
"""

import sys
from collections.abc import MutableMapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

from reconcile import scrub
from reconcile.settings import Settings

# The only parts of a report that hold our words; the rest says which Python and which package.
_OURS = ("exception", "logentry", "message", "tags", "extra", "request", "user", "breadcrumbs")
_TOLD_AS_TAGS = ("event_id", "work_key", "job", "organization", "subscription", "adjustment")
_FLUSH_S = 2.0


def configure(settings: Settings) -> None:
    """Report errors from now on, if `sentry_dsn` is set. Raises ValueError without the extra."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    try:
        sentry = import_module("sentry_sdk")
    except ImportError:
        raise ValueError("TRUEUP_SENTRY_DSN is set: install trueup[sentry]") from None
    sentry.init(
        dsn=dsn,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        default_integrations=False,
        auto_enabling_integrations=False,
        send_client_reports=False,
        auto_session_tracking=False,
        shutdown_timeout=_FLUSH_S,
        before_send=_scrubbed,
        release=f"trueup@{version('trueup')}",
    )


def processor(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Report the line's error, when it has one and reports are on; a processor of structlog."""
    del logger
    sentry = sys.modules.get("sentry_sdk")
    if sentry is None or method not in {"error", "critical", "exception"}:
        return line
    error = line.get("exc_info")
    if error is True:
        error = sys.exc_info()
    elif isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    if not isinstance(error, tuple) or error[1] is None or not sentry.is_initialized():
        return line
    with sentry.new_scope() as scope:
        for name in _TOLD_AS_TAGS:
            if line.get(name):
                scope.set_tag(name, str(line[name]))
        scope.set_extra("line", str(line.get("event")))
        scope.capture_exception(error)
    return line


def flush() -> None:
    """Send what waits; a process that ends by `os._exit` or a signal would lose it."""
    sentry = sys.modules.get("sentry_sdk")
    if sentry is not None:
        sentry.flush(_FLUSH_S)


def _scrubbed(report: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    del hint
    return report | {name: scrub.values(report[name]) for name in _OURS if report.get(name)}
