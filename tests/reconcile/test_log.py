"""One line an outcome, in the form the settings ask for, whoever writes it."""

import logging
import sys
import threading
from collections.abc import Iterator

import orjson
import pytest
import rq  # noqa: F401 - it gives its worker's logger a level of its own
import structlog

from reconcile.log import about, configure, learned
from reconcile.settings import Settings


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before, hook, in_threads = structlog.get_config(), sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hook, in_threads
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


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_somebody_else_wrote_stays_in_its_line(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a line of its own that looks like ours, nor a word to the terminal.

    Of libraries' own words only JSON, which is what runs in production, makes one line.
    """
    configure(Settings.model_validate({"log_format": log_format}))
    theirs = "org\n2026-11-22 [info] charged\r\x1b[2J"
    structlog.get_logger().info("worked off", organization=theirs)
    if log_format == "json":
        logging.getLogger("sqlalchemy").warning("%s", theirs)
    said = capsys.readouterr().err
    assert said.count("\n") == (2 if log_format == "json" else 1), said
    assert "\x1b[2J" not in said
    assert "\r" not in said


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


def test_what_was_learned_of_one_thing_is_not_told_of_the_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(Settings())
    with about(event_id="evt_1"):
        learned(adjustment="adj_1", stripe_request_id="req_1")
        structlog.get_logger().info("first")
    with about(event_id="evt_2"):
        structlog.get_logger().info("second")
    first, second = lines(capsys)
    assert (first["adjustment"], first["stripe_request_id"]) == ("adj_1", "req_1")
    assert not {"adjustment", "stripe_request_id"} & set(second)


def test_no_secret_and_nobody_comes_out_whoever_writes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for form in ("json", "console"):
        configure(Settings(log_format=form))
        structlog.get_logger().info("told", body={"email": "ann@example.com"}, key="sk_test_12345")
        logging.getLogger("library").warning("url %s", "redis://:hunter2@queue:6379/0")
        try:
            int("Authorization: Bearer abcdefghijkl")
        except ValueError:
            structlog.get_logger().exception("failed")
        text = capsys.readouterr().err
        assert "told" in text
        assert "ValueError" in text
        for hidden in ("ann@", "_12345", "hunter2", "abcdefghijkl"):
            assert hidden not in text
