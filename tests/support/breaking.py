"""`python -m tests.support.breaking [RULE ...]`: break each rule in a copy and see its tests fail.

A test that cannot fail holds nothing. The copy is thrown away; exit code 1 when a rule was broken
and nobody noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.rules import Break, Rule, breaks, rules
from tests.support.source import ROOT

LONGEST_S = 300
FAILED = 1  # pytest's exit code when tests ran and some failed; a file that does not load is 2
LATE = -1
TOO_SLOW = "Timeout (>"  # a busy machine has noticed nothing
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".trueup", ".*_cache", ".hypothesis", "__pycache__"
)


def main(wanted: Sequence[str]) -> int:
    """Break the rules asked for, or all of them, and say which break was noticed."""
    known = {rule.id: rule for rule in rules()}
    chosen = [way for way in breaks() if not wanted or way.rule in wanted]
    unnoticed = []
    with _copy() as copy:
        tests = dict.fromkeys(str(test) for way in chosen for test in known[way.rule].tests)
        if _run(copy, tests) != 0:
            _say("the tests fail before anything is broken")
            return 1
        for number, way in enumerate(chosen, 1):
            began = time.monotonic()
            noticed = _is_noticed(copy, way, known[way.rule])
            _say(
                f"{number}/{len(chosen)} {way.rule:<26} {'red' if noticed else 'NOT NOTICED'}"
                f"  {time.monotonic() - began:.1f} s"
            )
            unnoticed += [] if noticed else [f"{way.rule} in {way.path}"]
    _say(f"{len(chosen)} breaks, {len(unnoticed)} not noticed")
    for each in unnoticed:
        _say(f"  {each}")
    return 1 if unnoticed else 0


def _is_noticed(copy: Path, way: Break, rule: Rule) -> bool:
    path = copy / way.path
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(way.old, way.new), encoding="utf-8")
    try:
        return _run(copy, [str(test) for test in rule.tests]) == FAILED
    finally:
        path.write_text(whole, encoding="utf-8")


def _run(copy: Path, tests: Iterable[str]) -> int:
    # Without bytecode: a broken file may have the size and the second of the whole one.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    if ran.returncode not in (0, FAILED):
        _say(ran.stdout[-2000:] + ran.stderr[-2000:])
    return LATE if TOO_SLOW in ran.stdout else ran.returncode


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trueup-rules-") as home:
        copy = Path(home) / "copy"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
        yield copy


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
