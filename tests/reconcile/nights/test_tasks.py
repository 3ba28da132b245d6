"""One task, one night, once: over processes, after failures, after a crash."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconcile.database import exclusive
from reconcile.errors import ShuttingDown, StripeUnavailable
from reconcile.nights.tasks import once
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store.runs import Run
from reconcile.tables import runs
from tests.support.services import environment, running_services

NIGHT = date(2026, 3, 1)

# Two of these at the same moment: each would leave a line for the work it did.
PROCESS = """
import datetime, sys, time
from reconcile.services import build_services
from reconcile.settings import Settings
from reconcile.budget import Unbudgeted
from reconcile.nights.tasks import once

def work(services, run):
    with open(sys.argv[1], "a") as done:
        done.write("worked\\n")
    time.sleep(0.5)
    return {}

services = build_services(Settings(), Unbudgeted())
print(once(services, "prune", datetime.date(2026, 3, 1), work).state)
"""


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with running_services(settings) as running:
        yield running


def done(services: Services, run: Run) -> Mapping[str, Any]:
    return {"deleted": 1}


def test_processes_at_the_same_moment_do_the_work_once(settings: Settings, tmp_path: Path) -> None:
    worked = tmp_path / "worked"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(worked)],
            env=os.environ | environment(settings),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=60)[0].split()[-1] for process in started]
    assert worked.read_text() == "worked\n"
    assert "done" in ended
    assert set(ended) <= {"done", "elsewhere"}


def test_a_night_that_is_done_gives_its_report_again(services: Services) -> None:
    def never(services: Services, run: Run) -> Mapping[str, Any]:
        pytest.fail("done already")

    first = once(services, "prune", NIGHT, done)
    assert once(services, "prune", NIGHT, never) == first
    assert first.report == {"deleted": 1}


def test_a_failure_is_told_and_the_next_call_goes_on(services: Services) -> None:
    def fail(services: Services, run: Run) -> Mapping[str, Any]:
        raise StripeUnavailable("no answer")

    failed = once(services, "prune", NIGHT, fail)
    assert failed.state == "failed"
    assert "no answer" in failed.report["error"]
    assert once(services, "prune", NIGHT, done).state == "done"


def test_an_interruption_leaves_the_run_to_go_on_from(services: Services) -> None:
    def interrupted(services: Services, run: Run) -> Mapping[str, Any]:
        raise ShuttingDown

    with pytest.raises(ShuttingDown):
        once(services, "prune", NIGHT, interrupted)
    with services.sessions() as session:
        assert session.execute(select(runs.c.state)).scalar_one() == "running"
    assert once(services, "prune", NIGHT, done).state == "done"


def test_a_task_in_other_hands_is_left_there(services: Services) -> None:
    with exclusive(services.engine, "prune"):
        assert once(services, "prune", NIGHT, done).state == "elsewhere"
