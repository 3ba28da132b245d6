"""Processes of their own that do one thing each at the same moment, round after round.

`python -m tests.support.racing` reads a line with a list of calls, does them by as many threads,
and answers with a line: of each `done`, `already`, the refusal's code, or the error's name.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.members import activation, inviting, membership
from reconcile.members.joining import Done
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.settings import Settings
from tests.support.activating import services
from tests.support.services import environment

Call = dict[str, Any]

_DEEDS: dict[str, Callable[..., Any]] = {
    "activate": activation.activate,
    "unblock": activation.unblock,
    "invite": inviting.invite,
    "accept": inviting.accept,
    "block": membership.block,
    "remove": membership.remove,
    "change_role": membership.change_role,
    "swap_seats": membership.swap_seats,
    "transfer_ownership": membership.transfer_ownership,
    "transfer_admin": membership.transfer_admin,
    "apply": seat_change.apply,
}


def call(deed: str, *args: str, by: str = "token:race", **named: Any) -> Call:
    """One thing to do: a deed, its positional arguments, who asks, and the rest by name."""
    return {"deed": deed, "args": args, "by": by, "named": named}


@dataclass(frozen=True)
class Racer:
    """One process, ready to go."""

    process: subprocess.Popen[str]

    def told(self, *calls: Call) -> None:
        """Send it what to do."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(calls) + "\n")
        self.process.stdin.flush()

    def said(self) -> list[str]:
        """What became of each."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the process ended"
        found: list[str] = json.loads(line)
        return found


@dataclass
class Stable:
    """The processes of a module of tests, started when they are first asked for."""

    started: list[Racer] = field(default_factory=list)

    def ready(self, settings: Settings, count: int) -> list[Racer]:
        """So many processes with services that were opened just now."""
        while len(self.started) < count:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.racing"],
                env=os.environ | environment(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            self.started.append(Racer(process))
        racers = self.started[:count]
        for racer in racers:
            racer.told()
        assert [racer.said() for racer in racers] == [[]] * count
        return racers

    def end(self) -> None:
        """End them."""
        for racer in self.started:
            racer.process.communicate(timeout=60)


def race(each: Sequence[Racer], *calls: Call | Sequence[Call]) -> list[str]:
    """Let them all go at the same moment; returns what became of each call, in order."""
    for racer, what in zip(each, calls, strict=True):
        racer.told(*([what] if isinstance(what, dict) else what))
    return [said for racer in each for said in racer.said()]


def _do(ready: Services | None, what: Call) -> str:
    deed, actor = _DEEDS[what["deed"]], Actor(what["by"])
    try:
        outcome = deed(ready, *what["args"], actor=actor, **what["named"])
    except Exception as error:  # noqa: BLE001 - it is what became of it
        traceback.print_exc()
        return type(error).__name__
    if isinstance(outcome, Refuse):
        return outcome.code
    refusal = getattr(outcome, "refusal", None)
    if isinstance(refusal, Refuse):
        return refusal.code
    return "already" if isinstance(outcome, Done) and "already" in outcome.line else "done"


def main() -> None:
    """Do what is read until there is nothing more; an empty list of calls opens the services."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with ThreadPoolExecutor(8) as pool, ExitStack() as opened:
        ready: Services | None = None
        for line in sys.stdin:
            calls = json.loads(line)
            if not calls:
                opened.close()
                ready = opened.enter_context(services(Settings()))
            said = list(pool.map(partial(_do, ready), calls))
            print(json.dumps(said), flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    main()
