"""A crash point kills for real, once when asked to, and never with a live key."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconcile.crash_points import CrashPoint, crash_point

CALL = "from reconcile.crash_points import crash_point; crash_point('after_call'); print('alive')"


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_variable_nothing_happens() -> None:
    assert run().stdout == "alive\n"


def test_the_named_place_dies_of_sigkill() -> None:
    died = run(TRUEUP_CRASH_POINT="after_call")
    assert died.returncode == -signal.SIGKILL
    assert died.stdout == ""


def test_another_place_goes_on() -> None:
    assert run(TRUEUP_CRASH_POINT="after_intent").stdout == "alive\n"


def test_with_a_file_only_the_first_one_dies(tmp_path: Path) -> None:
    wanted = f"after_call:{tmp_path / 'died'}"
    assert run(TRUEUP_CRASH_POINT=wanted).returncode == -signal.SIGKILL
    assert run(TRUEUP_CRASH_POINT=wanted).stdout == "alive\n"


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1"])
def test_nothing_dies_with_a_live_key(key: str) -> None:
    went_on = run(TRUEUP_CRASH_POINT="after_call", TRUEUP_STRIPE_API_KEY=key)
    assert went_on.stdout == "alive\n"


def test_a_place_nobody_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="after_lunch"):
        crash_point("after_lunch")


def test_every_place_is_somewhere_in_the_code() -> None:
    root = Path(__file__).parent.parent.parent
    rooms = ("reconcile", "worker", "backoffice")
    code = "\n".join(
        path.read_text()
        for room in rooms
        for path in (root / room).rglob("*.py")
        if path.name != "crash_points.py"
    )
    for place in CrashPoint:
        assert f"CrashPoint.{place.name}" in code or f'"{place}"' in code, place


def test_every_place_is_exercised_by_a_test() -> None:
    """Somebody dies there for real; a name in this file does not count."""
    root = Path(__file__).parent.parent
    code = "\n".join(
        path.read_text() for path in root.rglob("test_*.py") if path.name != Path(__file__).name
    )
    for place in CrashPoint:
        named = f"CrashPoint.{place.name}" in code or f'"{place}"' in code
        assert named or f"{place}:" in code, place
