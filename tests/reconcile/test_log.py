"""One line an outcome, in the form the settings ask for, whoever writes it."""

import logging
from collections.abc import Iterator

import orjson
import pytest
import rq  # noqa: F401 - it gives its worker's logger a level of its own
import structlog

from reconcile.log import configure
from reconcile.settings import Settings


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_with_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    with structlog.contextvars.bound_contextvars(event_id="evt_1"):
        structlog.get_logger().info("worked off", ended="done")
    structlog.get_logger().info("idle")
    told, idle = lines(capsys)
    assert told["event"] == "worked off"
    assert (told["event_id"], told["ended"], told["level"]) == ("evt_1", "done", "info")
    assert str(told["timestamp"]).endswith("Z")
    assert "event_id" not in idle


def test_libraries_write_the_same_way_and_only_from_their_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(Settings())
    logging.getLogger("rq.worker").info("every step of a job")
    logging.getLogger("sqlalchemy").warning("slow: %s", "query")
    assert [line["event"] for line in lines(capsys)] == ["slow: query"]


def test_what_cannot_be_json_is_told_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    structlog.get_logger().info("odd", thing={1: object}, body=b"\xff")
    (line,) = lines(capsys)
    assert "object" in str(line["thing"])


def test_an_error_keeps_its_traceback_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    try:
        int("broken")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_the_level_is_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_level="warning"))
    structlog.get_logger().info("quiet")
    assert lines(capsys) == []


def test_a_console_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="console"))
    structlog.get_logger().info("worked off", ended="done")
    text = capsys.readouterr().err
    assert "worked off" in text
    assert not text.startswith("{")
