"""Keeps processes running: starts them, restarts what ends, stops all of them together.

A process that keeps ending right away is a mistake no restart heals: then everything stops and the
end of its log is shown.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from backoffice.local.errors import ProcessFailedError
from backoffice.local.processes import Process

WATCH_S = 0.2


@dataclass(frozen=True)
class RestartPolicy:
    """How long to wait before each restart, and when to give up. Times in seconds."""

    first_delay_s: float = 0.2
    longest_delay_s: float = 10.0
    steady_s: float = 30.0
    most_in_a_row: int = 8

    def delay_s(self, failures: int) -> float | None:
        """The wait before the restart after this many failures in a row; None: give up."""
        if failures > self.most_in_a_row:
            return None
        return min(self.longest_delay_s, self.first_delay_s * 2.0 ** (failures - 1))


@dataclass
class _Watched:
    process: Process
    started_at: float
    failures: int = 0
    restart_at: float | None = None


class Supervisor:
    """Watches processes until told to stop.

    `processes` are started and stopped here; `servers` run already, are only watched and restarted,
    and are stopped by whoever started them. `tell` receives a line whenever something happens.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        *,
        servers: Sequence[Process] = (),
        policy: RestartPolicy | None = None,
        tell: Callable[[str], None],
    ) -> None:
        self._processes = list(processes)
        self._servers = list(servers)
        self._policy = policy or RestartPolicy()
        self._tell = tell

    def start(self) -> None:
        """Start all and wait for them; ProcessFailedError, and all stopped, when one fails."""
        try:
            for process in self._processes:
                process.start()
            for process in self._processes:
                process.wait_ready()
        except BaseException:
            self.stop()
            raise

    def watch(self, stop: threading.Event) -> None:
        """Restart what ends, until `stop` is set; ProcessFailedError when restarting is no use."""
        now = time.monotonic()
        watched = [_Watched(process, now) for process in self._servers + self._processes]
        while not stop.wait(WATCH_S):
            for one in watched:
                self._look_at(one, time.monotonic())

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Start all, watch them from a thread meanwhile, stop all at the end.

        ProcessFailedError at the end when restarting was no use. The thread also does the stopping:
        on Linux a child is told to end when the thread that started it ends.
        """
        self.start()
        stop, failures = threading.Event(), list[ProcessFailedError]()

        def watch() -> None:
            try:
                self.watch(stop)
            except ProcessFailedError as failure:
                failures.append(failure)
            finally:
                self.stop()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Stop the processes: all at once, since none needs another in order to end."""
        for process in self._processes:
            process.ask_to_stop()
        for process in self._processes:
            process.stop()

    def _look_at(self, one: _Watched, now: float) -> None:
        if one.process.alive:
            return
        if one.restart_at is None:
            one.failures = 1 if now - one.started_at > self._policy.steady_s else one.failures + 1
            delay_s = self._policy.delay_s(one.failures)
            ended = f"ended with exit code {one.process.exit_code}"
            if delay_s is None:
                raise one.process.failure(f"{ended}, {one.failures} times in a row")
            self._tell(f"{one.process.command.name} {ended}; starting it again in {delay_s:g} s")
            one.restart_at = now + delay_s
        elif now >= one.restart_at:
            one.process.start()
            one.started_at, one.restart_at = now, None
