"""Plain child processes: started, waited for, watched, stopped; each with a log file.

A child dies with its parent, also with one that was killed: on Linux the kernel tells it, and
everywhere a record of the child lets the next start of the same data directory end what is left.
Only the process itself is named, by id and start time; nothing is ever ended by its name.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backoffice.local import leftovers
from backoffice.local.account import Account
from backoffice.local.errors import ProcessFailedError
from backoffice.local.network import free_port

PORT_ATTEMPTS = 3
PORT_TAKEN = "Address already in use"
POLL_S = 0.02
TAIL_BYTES = 4_000
LOG_KEPT_BYTES = 10_000_000
_PR_SET_PDEATHSIG = 1


def always_ready() -> bool:
    """For a process that listens to nothing: running is ready."""
    return True


@dataclass(frozen=True)
class Command:
    """What to run and how to tell that it is up. Times in seconds."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = always_ready
    ready_timeout_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 15.0
    account: Account | None = None


class Process:
    """One child process, restartable: the same command, the same log, a new process id."""

    def __init__(self, command: Command, home: Path) -> None:
        self.command = command
        self.log = home / "log" / f"{command.name}.log"
        self._record = home / "run" / f"{command.name}.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        if self._child is None:
            raise RuntimeError(f"{self.command.name} was never started")
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or before the first start); negative: ended by that signal."""
        return self._child.poll() if self._child else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; does not wait until it is ready. It must not run already."""
        if self.alive:
            raise RuntimeError(f"{self.command.name} runs already as process {self.pid}")
        for directory in (self.log.parent, self._record.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        account = self.command.account
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603  # our own commands, no shell
                self.command.argv,
                env=dict(self.command.env),
                cwd="/" if account else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                # A session of its own: Ctrl-C reaches the parent, which stops in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(self.command.stop_signal),  # noqa: PLW1509  # one prctl
            )
        self._asked = False
        leftovers.remember(self._record, self._child.pid)

    def wait_ready(self) -> None:
        """Return when its probe says yes; ProcessFailedError when it ends or takes too long."""
        deadline = time.monotonic() + self.command.ready_timeout_s
        while not self.command.ready():
            if (code := self.exit_code) is not None:
                raise self.failure(f"ended with exit code {code} before it was ready")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {self.command.ready_timeout_s:g} s")
            time.sleep(POLL_S)
        if (code := self.exit_code) is not None:
            raise self.failure(f"ended with exit code {code}")

    def ask_to_stop(self) -> None:
        """Ask it to end, once: to many processes a second request means "at once"."""
        if self._child and self.alive and not self._asked:
            self._child.send_signal(self.command.stop_signal)
            self._asked = True

    def stop(self) -> int | None:
        """Ask it to end, insist after its time; its exit code, None when it was never started."""
        if self._child is None:
            return None
        if self.alive:
            self.ask_to_stop()
            try:
                self._child.wait(self.command.stop_timeout_s)
            except subprocess.TimeoutExpired:
                return self.kill()
        leftovers.forget(self._record)
        return self._child.wait()

    def kill(self) -> int:
        """End it without warning (SIGKILL), with what it forked; its exit code."""
        if self._child is None:
            raise RuntimeError(f"{self.command.name} was never started")
        if self.alive:
            # The child leads its own group, and is not reaped yet: the group can be no other's.
            os.killpg(self._child.pid, signal.SIGKILL)
        code = self._child.wait()
        leftovers.forget(self._record)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, for instance SIGSTOP in a rehearsal."""
        if self._child is None:
            raise RuntimeError(f"{self.command.name} was never started")
        self._child.send_signal(number)

    def tail(self) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    def failure(self, what: str) -> ProcessFailedError:
        """The error that says what happened, with the tail of the log."""
        return ProcessFailedError(self.command.name, what, self.log, self.tail())


def started_on_a_free_port(command: Callable[[int], Command], home: Path) -> tuple[Process, int]:
    """Start what `command` says for a port and wait until it is ready; the process and its port.

    Between choosing a port and taking it somebody else may have: then another one is chosen.
    ProcessFailedError when it ends for another reason, or takes too long.
    """
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = free_port()
        process = Process(command(port), home)
        process.start()
        try:
            process.wait_ready()
        except ProcessFailedError:
            process.stop()
            if attempt == PORT_ATTEMPTS or PORT_TAKEN not in process.tail():
                raise
        else:
            return process, port
    raise AssertionError("the last attempt returns or raises")


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """On Linux the kernel sends `number` to the child when the thread that started it ends."""
    if not sys.platform.startswith("linux"):
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: the child only calls it

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended in between, and no signal will come

    return ask
