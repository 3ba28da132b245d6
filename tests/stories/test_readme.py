"""The first steps of the README, typed into a shell as they stand there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backoffice.local.account import temporary_home, unprivileged_account
from backoffice.local.network import answers_http, free_port

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
BASH = shutil.which("bash") or "bash"
SECTION = "## From nothing to a seat change"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with nothing in it but what `make` leaves there."""
    made = temporary_home(unprivileged_account())
    (made / ".venv").symlink_to(sys.prefix)
    yield made
    shutil.rmtree(made)


def steps() -> str:
    """The shell lines of the section, one after the other."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(SECTION)[2].partition("\n## ")[0]
    return "".join(re.findall(r"```bash\n(.+?)```", section, re.DOTALL))


@contextmanager
def everything_up(directory: Path, door: int, api: int) -> Iterator[None]:
    """`trueup up`, as in the first shell."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    with (directory / "up.log").open("wb") as log:
        running = subprocess.Popen(
            [".venv/bin/trueup", "up", "--port", str(door), "--api-port", str(api)],
            cwd=directory,
            env=plain,
            stdout=log,
            stderr=log,
        )
        try:
            until = time.monotonic() + PATIENCE_S
            while not (directory / ".trueup" / "env").exists() or not answers_http(api):
                assert running.poll() is None, (directory / "up.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(PATIENCE_S)


def test_the_first_steps_lead_to_a_seat_change(directory: Path) -> None:
    door, api = free_port(), free_port()
    with everything_up(directory, door, api):
        typed = subprocess.run(
            [BASH, "-euo", "pipefail", "-c", f"{steps()}\nkill %1"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    shown = typed.stdout
    assert typed.returncode == 0, shown + typed.stderr
    for wanted in (
        '"line":"active: 1 of 1 Base seats"',
        '"detail":"No free Base seat: 1 active, 1 bought"',
        '"remedies":["buy a Base seat","remove a Base member","turn on Auto-Add Seats"]',
        "Change: +1 Base seat. New plan total: USD 110.00/month (+USD 30.00/month).",
        '"amount_paid":3000',
        '"line":"active: 2 of 2 Base seats"',
        "member.changed  acme  bo: activated; active, base seat",
    ):
        assert wanted in shown, f"{wanted}\n---\n{shown}\n---\n{typed.stderr}"
