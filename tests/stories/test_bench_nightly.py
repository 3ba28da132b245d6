"""The benchmark of the nightly run still runs, small, and what it prints is what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_small_run_prints_its_figures() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.nightly"],
        env=os.environ | {"BENCH_SUBSCRIPTIONS": "250", "BENCH_DRIFT_EVERY": "50"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    calls = re.search(r"calls: (\d+) of (\d+) allowed", ran.stdout)
    assert calls, ran.stdout
    assert int(calls[1]) <= int(calls[2]) == 3 + 3 * 5
    assert "5 differing, 5 settled, 0 failed, 5 raised" in ran.stdout
    assert "0 differing, 0 settled" in ran.stdout
    assert "ratio: " in ran.stdout
