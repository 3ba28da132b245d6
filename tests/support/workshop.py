"""Relays and workers of a test as real processes on real servers, and what they wrote down."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backoffice.local.processes import Command, Process
from reconcile.settings import Settings
from reconcile.tables import events
from tests.support.inbox import an_event
from worker.relay import Relay

RELAY = "from reconcile.settings import Settings; from worker.relay import main; main(Settings())"


def eventually(check: Callable[[], bool], *, within_s: float = 60) -> None:
    """Return when it is so; fail when it is not in time."""
    until = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


class RelayHere:
    """A relay in a thread of the test: for tests that are about the worker, and quick to start."""

    def __init__(self, settings: Settings) -> None:
        self._relay = Relay(settings)
        self._thread = threading.Thread(target=self._relay.run)
        self._thread.start()

    def stop(self) -> None:
        """End it; once more does nothing."""
        self._relay.stop()
        self._thread.join()


@dataclass
class Workshop:
    """One relay and some workers on the test's servers."""

    home: Path
    env: dict[str, str]
    sessions: sessionmaker[Session]
    running: list[Process | RelayHere] = field(default_factory=list)

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
        process = Process(command, self.home)
        self.running.append(process)
        process.start()
        return process

    def relay_here(self) -> RelayHere:
        """Start a relay in this process."""
        settings = Settings(
            database_url=self.env["TRUEUP_DATABASE_URL"],
            redis_url=self.env["TRUEUP_REDIS_URL"],
            hint_lease_s=float(self.env["TRUEUP_HINT_LEASE_S"]),
        )
        relay = RelayHere(settings)
        self.running.append(relay)
        return relay

    def relay(self, **settings: str) -> Process:
        """Start a relay as a process."""
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
