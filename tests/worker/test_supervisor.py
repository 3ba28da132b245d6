"""The supervisor, as a process of its own: what hangs or dies is replaced, what stops is let go."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.support.workshop import eventually

CHILD = """
import os, signal, sys, time
from pathlib import Path
from reconcile.log import configure
from reconcile.settings import Settings
from worker.supervisor import Supervisor

home = Path(sys.argv[1])

def work(lease):
    with (home / "children").open("a") as children:
        children.write(f"{os.getpid()} {time.monotonic()}\\n")
    first = len((home / "children").read_text().splitlines()) == 1
    WORK

configure(Settings())
Supervisor(work, grace_s=1.0).run()
"""

# What the child does, by name. `first` is true in the first child only.
CRASH = "os._exit(3) if first else time.sleep(60)"
# A call into C that no signal handler gets past: SIGTERM and SIGALRM stay blocked.
HANG = """
    if first:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM, signal.SIGINT})
        lease.renew(0.5)
    time.sleep(60)
"""
STUBBORN = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lease.renew(60)
    (home / "at work").touch()
    time.sleep(60)
"""
POLITE = """
    def stop(signum, frame):
        time.sleep(0.3)
        (home / "finished").touch()
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    (home / "at work").touch()
    while True:
        lease.renew(60)
        time.sleep(0.05)
"""

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def start_one(work: str) -> subprocess.Popen[bytes]:
        code = CHILD.replace("WORK", work.strip())
        running.append(subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()
        process.wait()
    for pid in children(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def births(home: Path) -> list[tuple[int, float]]:
    """The children so far: the process id of each, and when it began."""
    told = home / "children"
    lines = told.read_text().splitlines() if told.exists() else []
    return [(int(pid), float(at)) for pid, at in map(str.split, lines)]


def children(home: Path) -> list[int]:
    return [pid for pid, _ in births(home)]


@pytest.mark.parametrize("work", [CRASH, HANG], ids=["crashes", "hangs where no signal helps"])
def test_a_worker_that_ends_or_hangs_is_replaced(start: Start, tmp_path: Path, work: str) -> None:
    start(work)
    eventually(lambda: len(children(tmp_path)) == 2)
    first, second = children(tmp_path)
    assert not psutil.pid_exists(first)
    assert psutil.pid_exists(second)


def test_a_worker_killed_from_outside_is_replaced(start: Start, tmp_path: Path) -> None:
    start(POLITE)
    eventually(lambda: len(children(tmp_path)) == 1)
    os.kill(children(tmp_path)[0], signal.SIGKILL)
    eventually(lambda: len(children(tmp_path)) == 2)


def test_sigterm_lets_the_worker_finish_and_starts_no_other(start: Start, tmp_path: Path) -> None:
    supervisor = start(POLITE)
    eventually((tmp_path / "at work").exists)
    supervisor.terminate()
    assert supervisor.wait(timeout=60) == 0
    assert (tmp_path / "finished").exists()
    assert len(children(tmp_path)) == 1


def test_a_worker_that_does_not_stop_is_killed_after_its_grace(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start(STUBBORN)
    eventually((tmp_path / "at work").exists)
    asked_at = time.monotonic()
    supervisor.terminate()
    assert supervisor.wait(timeout=60) == 0
    assert 1.5 < time.monotonic() - asked_at < 50, "its own sleep would take a minute"
    assert not psutil.pid_exists(children(tmp_path)[0])


def test_a_worker_does_not_outlive_its_supervisor(start: Start, tmp_path: Path) -> None:
    supervisor = start(POLITE)
    eventually((tmp_path / "at work").exists)
    supervisor.kill()
    eventually((tmp_path / "finished").exists)
    eventually(lambda: not psutil.pid_exists(children(tmp_path)[0]))


def test_a_worker_that_keeps_failing_is_not_started_in_a_tight_loop(
    start: Start, tmp_path: Path
) -> None:
    start("os._exit(3)")
    eventually(lambda: len(children(tmp_path)) >= 5)
    began = [at for _, at in births(tmp_path)[:5]]
    pauses = [later - sooner for sooner, later in pairwise(began)]
    assert all(pause >= 0.1 * 2**n for n, pause in enumerate(pauses)), pauses
