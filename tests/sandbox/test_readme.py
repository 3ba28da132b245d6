"""The README names every control call and every kind of fault, and none that is not there."""

import re
from pathlib import Path

import sandbox
from sandbox.api import build
from sandbox.control.faults import REQUEST_KINDS, WEBHOOK_KINDS

README = (Path(sandbox.__file__).parent / "README.md").read_text()


def test_every_control_call_is_in_the_readme() -> None:
    named = set(re.findall(r"/_sandbox/[a-z_/:]+", README))
    there = {route.path for route in build().routes if route.path.startswith("/_sandbox/")}
    assert named == there


def test_every_kind_of_fault_is_in_the_readme() -> None:
    named = set(re.findall(r"^\| `([a-z_]+)` \|", README, re.MULTILINE))
    assert named == {*REQUEST_KINDS, *WEBHOOK_KINDS}
