"""Errors nobody foresaw, reported to Sentry: with the ids, without what may not leave."""

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from pydantic import SecretStr

from reconcile import error_reports, log
from reconcile.settings import Settings
from tests.observability.conftest import Sink, listening

SECRET = "sk_live_51HverySecretKey"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A loopback Sentry, and logging put back at the end."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    hook = sys.excepthook
    with listening() as found:
        yield found
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    structlog.configure(**before)


def dsn(sink: Sink) -> SecretStr:
    return SecretStr(sink.url.replace("http://", "http://public@") + "/42")


def reports(sink: Sink) -> list[dict[str, Any]]:
    error_reports.flush()
    found = []
    for body in sink.bodies:
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        lines = plain.decode().splitlines()
        found += [json.loads(line) for line in lines if '"exception"' in line]
    return found


def fail(email: str) -> None:
    card = "4242424242424242"
    raise ValueError(f"no seat for {email}, {card}, {SECRET}")


def test_an_error_is_reported_with_its_ids_and_scrubbed(sink: Sink) -> None:
    log.configure(Settings(sentry_dsn=dsn(sink)))
    with log.about(event_id="evt_1", job="job_1"):
        try:
            fail("ann@example.com")
        except ValueError:
            structlog.get_logger().exception("dead letter", payload={"name": "Ann Lee"})
    (report,) = reports(sink)
    (error,) = report["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["value"].startswith("no seat for")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert (report["tags"]["event_id"], report["tags"]["job"]) == ("evt_1", "job_1")
    for hidden in ("ann@", "42424242", "51Hvery", "Ann Lee"):
        assert hidden not in json.dumps(report), hidden


def test_what_was_foreseen_is_not_reported(sink: Sink) -> None:
    log.configure(Settings(sentry_dsn=dsn(sink)))
    structlog.get_logger().warning("cannot relay, trying on", exc_info=ValueError("away"))
    structlog.get_logger().error("webhook not stored")
    assert reports(sink) == []


def test_without_a_dsn_nothing_is_imported() -> None:
    look = (
        "import sys; from reconcile import log; from reconcile.settings import Settings;"
        "log.configure(Settings()); import structlog; structlog.get_logger().error('x');"
        "print('sentry_sdk' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_without_the_extra_the_process_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(ValueError, match=r"trueup\[sentry\]"):
        error_reports.configure(Settings(sentry_dsn=SecretStr("http://public@127.0.0.1:1/1")))
