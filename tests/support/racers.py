"""Processes that wait at a line and start together, for tests of what two of them do at once.

Each is an interpreter of its own with services of its own, as a worker and a web server are. It is
told what to do in JSON on its standard input and answers how it ended: a word, and what was done.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from reconcile.actor import Actor
from reconcile.adjustments import contract, seat_change
from reconcile.adjustments.seat_change import Applied, Stale
from reconcile.errors import TrueupError
from reconcile.members.activation import activate
from reconcile.members.joining import Done
from reconcile.nights import nightly
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.settling.work import work_off
from reconcile.store.renewals import Approved
from tests.support import activating
from tests.support.services import environment

HOST = Actor("token:host")


class Racers:
    """Some processes, ready to start."""

    def __init__(self, count: int, settings: Settings) -> None:
        env = os.environ | environment(settings) | {"TRUEUP_STRIPE_TIMEOUT_S": "20"}
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.racers"],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            for _ in range(count)
        ]
        assert [self._read(process) for process in self._processes] == [["ready"]] * count

    def race(self, *told: list[Any]) -> list[list[Any]]:
        """Tell each process what to do at the same moment; returns how each ended."""
        assert len(told) <= len(self._processes)
        pairs = list(zip(self._processes, told, strict=False))
        for process, what in pairs:
            assert process.stdin is not None
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()
        return [self._read(process) for process, _ in pairs]

    def stop(self) -> None:
        """End them."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait(timeout=20)
            assert process.stdout is not None
            process.stdout.close()

    @staticmethod
    def _read(process: "subprocess.Popen[str]") -> list[Any]:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("["):  # the others are log lines
                answer: list[Any] = json.loads(line)
                return answer
        raise AssertionError("the process ended")


@contextmanager
def racers(count: int, settings: Settings) -> Iterator[Racers]:
    """So many processes at the line; ended at the end."""
    started = Racers(count, settings)
    try:
        yield started
    finally:
        started.stop()


_DEEDS: dict[str, Callable[..., object]] = {
    "apply": seat_change.apply,
    "activate": activate,
    "withdraw": contract.withdraw,
}


def _do(services: Services, what: str, *args: Any) -> list[Any]:
    match what:
        case "after":
            time.sleep(args[0])
            return _do(services, *args[1:])
        case "work_off":
            return ["worked off", work_off(services, *args).ended]
        case "night":
            report = nightly.run(services, date.fromisoformat(args[0]), writes=True, again=True)
            return ["night", report.state]
        case "edit":
            services.stripe._call("post", args[0], args[1], idempotency_key=None)
            return ["edited"]
        case _:
            return _ended(_DEEDS[what](services, *args, actor=HOST))


def _ended(outcome: object) -> list[Any]:
    match outcome:
        case Applied():
            return ["applied", outcome.adjustment.id if outcome.adjustment else None]
        case Approved():
            return ["withdrawn"]
        case Stale():
            return ["stale", outcome.refusal.code]
        case Refuse():
            return ["refused", outcome.code]
        case Done():
            return ["done", outcome.line]
        case _:
            raise AssertionError(outcome)


def main() -> None:
    """Wait for something to do, do it, and say how it ended."""
    with activating.services(Settings()) as services:
        print(json.dumps(["ready"]), flush=True)  # noqa: T201 - its parent reads it
        for line in sys.stdin:
            what, *args = json.loads(line)
            try:
                ended = _do(services, what, *args)
            except TrueupError as error:
                ended = ["raised", type(error).__name__, str(error)]
            print(json.dumps(ended), flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    main()
