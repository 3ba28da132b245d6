"""The demo is the acceptance test of the whole: it passes, and it can fail."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from backoffice.demo import accidents, products, purchase, run
from backoffice.demo.stage import Stage
from reconcile.settings import Settings
from tests.support.workshop import eventually

ROOT = Path(__file__).parents[2]
DATA_DIR = ROOT / ".trueup"
PATIENCE_S = 200
# What is shown when everything is over and stays.
LAST_LINE = "export TRUEUP_WEBHOOK_SECRETS"

pytestmark = pytest.mark.timeout(500)


def test_the_whole_story_as_a_person_starts_it(tmp_path: Path) -> None:
    """Kept running at its end, so that one performance shows both."""
    shown = tmp_path / "shown"
    with shown.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "backoffice", "demo", "--keep"],
            cwd=ROOT,
            env=os.environ | {"TRUEUP_DATA_DIR": str(DATA_DIR)},
            stdout=out,
            stderr=out,
        )
    try:
        eventually(
            lambda: LAST_LINE in shown.read_text() or process.poll() is not None,
            within_s=PATIENCE_S,
        )
        said = shown.read_text()
        assert process.poll() is None, said[-8000:]
        (url,) = re.findall(r"curl (http\S+/_sandbox/calls)", said)
        assert requests.get(url, timeout=10).json()["calls"], "it is still running"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, said[-8000:]
    finally:
        process.kill()
        process.wait()
    assert "✗" not in said
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
        "pid",
    ):
        assert wanted in said


def a_cent_goes_astray(stage: Stage) -> None:
    with stage.services.engine.begin() as connection:
        connection.execute(text("update ledger_lines set amount_minor = amount_minor + 1"))


def an_event_vanishes(stage: Stage) -> None:
    with stage.services.engine.begin() as connection:
        connection.execute(text("delete from events where type = 'customer.subscription.created'"))


def test_each_failed_check_is_a_failed_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper = a_cent_goes_astray, an_event_vanishes
    told = purchase.play, products.agency, accidents.dashboard_edit, *tamper
    monkeypatch.setattr(run, "CHAPTERS", told)
    assert run.main(Settings(data_dir=DATA_DIR), keep=False) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "✗" in line]
    assert len(failed) == 2, failed
    for check in ("ledger equal to Stripe", "every event accounted for"):
        assert [check in line for line in failed].count(True) == 1, failed
