"""Relays and workers of a test as real processes on real servers, and what they wrote down."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backoffice.local.processes import Command, Process
from reconcile.tables import events
from tests.support.inbox import an_event

RELAY = "from reconcile.settings import Settings; from worker.relay import main; main(Settings())"


def eventually(check: Callable[[], bool], *, within_s: float = 40) -> None:
    """Return when it is so; fail when it is not in time."""
    until = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@dataclass
class Workshop:
    """One relay and some workers on the test's servers."""

    home: Path
    env: dict[str, str]
    sessions: sessionmaker[Session]
    running: list[Process] = field(default_factory=list)

    @property
    def diary(self) -> Path:
        """What the settling of every worker wrote down."""
        return self.home / "diary"

    def entries(self, work_key: str = "") -> list[tuple[str, str, int]]:
        """Its lines: (begin or end, work key, process id), of one key or of all."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        found = [(what, key, int(pid)) for what, key, pid in map(str.split, lines)]
        return [entry for entry in found if work_key in ("", entry[1])]

    def start(self, name: str, *argv: str, **settings: str) -> Process:
        """Start a process of ours."""
        command = Command(name, (sys.executable, *argv), self.env | settings, stop_timeout_s=20)
        self.running.append(Process(command, self.home))
        self.running[-1].start()
        return self.running[-1]

    def relay(self, **settings: str) -> Process:
        """Start a relay."""
        return self.start(f"relay-{len(self.running)}", "-c", RELAY, **settings)

    def worker(self, **settings: str) -> Process:
        """Start a supervised worker whose settling writes the diary."""
        name = f"worker-{len(self.running)}"
        return self.start(name, "-m", "tests.worker.settling", str(self.diary), **settings)

    def trueup(self, command: str, **settings: str) -> Process:
        """Start a process of ours as an operator does."""
        name = f"{command}-{len(self.running)}"
        return self.start(name, "-m", "backoffice", command, **settings)

    def stop(self) -> None:
        """Stop whatever runs."""
        for process in self.running:
            process.stop()

    def event(self, work_key: str, **values: Any) -> str:
        """Put an event into the inbox, due now."""
        with self.sessions.begin() as session:
            return an_event(session, work_key=work_key, **values)

    def row(self, event_id: str) -> Any:
        """An event's row."""
        with self.sessions() as session:
            return session.execute(select(events).where(events.c.id == event_id)).one()

    def count(self, state: str) -> int:
        """How many events are in a state."""
        with self.sessions() as session:
            counted = select(func.count()).select_from(events).where(events.c.state == state)
            return session.execute(counted).scalar_one()
