"""What an interpreter of ours does not do for its own sake."""

import subprocess
import sys

# Garbage that only a collection finds, and that says so when it is found.
PROGRAM = """
import gc
from reconcile import garbage

class Found:
    def __del__(self):
        print("found")

garbage.look_seldom()
lost = Found()
lost.itself = lost
del lost
print("ends", gc.get_threshold()[0] > 10_000)
"""


def test_the_end_of_a_process_does_not_look_for_garbage() -> None:
    ended = subprocess.run(
        (sys.executable, "-c", PROGRAM), capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines() == ["ends True"]
