"""The demo is the acceptance test of the whole: it passes, and it can fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from backoffice.demo import accidents, products, purchase, run
from backoffice.demo.stage import Stage
from reconcile.settings import Settings

ROOT = Path(__file__).parents[2]
DATA_DIR = ROOT / ".trueup"
Make = Callable[..., Settings]

pytestmark = pytest.mark.timeout(240)


def test_the_whole_story_as_a_person_starts_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "backoffice", "demo"],
        cwd=ROOT,
        env=os.environ | {"TRUEUP_DATA_DIR": str(DATA_DIR)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "✗" not in ended.stdout
    for wanted in (
        "every event accounted for",
        "every adjustment charged exactly once",
        "ledger equal to Stripe to the minor unit",
        "floor never broken in any invoice",
        "Admin seat limit reached",
        "The seat joins when it is paid",
        "every notice arrived, its signature verified",
        "the payment was declined",
        "SIGKILL",
    ):
        assert wanted in ended.stdout


def a_cent_goes_astray(stage: Stage) -> None:
    with stage.services.engine.begin() as connection:
        connection.execute(text("update ledger_lines set amount_minor = amount_minor + 1"))


def an_event_vanishes(stage: Stage) -> None:
    with stage.services.engine.begin() as connection:
        connection.execute(text("delete from events where type = 'customer.subscription.created'"))


@pytest.mark.parametrize(
    ("tamper", "check"),
    [
        (a_cent_goes_astray, "ledger equal to Stripe"),
        (an_event_vanishes, "every event accounted for"),
    ],
    ids=["a cent", "an event"],
)
def test_a_failed_check_is_a_failed_demo(
    tamper: Callable[[Stage], None],
    check: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = purchase.play, products.agency, accidents.dashboard_edit, tamper
    monkeypatch.setattr(run, "CHAPTERS", told)
    assert run.main(Settings(data_dir=DATA_DIR), keep=False) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "✗" in line]
    assert len(failed) == 1
    assert check in failed[0]


def test_kept_it_stays_until_it_is_told_to_stop(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    with shown.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", KEPT],
            cwd=ROOT,
            env=os.environ | {"TRUEUP_DATA_DIR": str(DATA_DIR), "KEEP": "1"},
            stdout=out,
        )
    try:
        for _ in range(600):
            if "Still running" in shown.read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
    said = shown.read_text()
    assert "pid" in said
    assert "/_sandbox/calls" in said


# The first chapter is enough to leave something running.
KEPT = """
from backoffice.commands.demo import demo
from backoffice.demo import purchase, run
run.CHAPTERS = (purchase.play,)
demo()
"""
