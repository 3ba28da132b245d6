"""Keeps one worker running: starts it, watches its lease, starts it anew when it ends.

RQ's own answer to a job that hangs or crashes is a fork for every job, several times slower. Here
the worker runs its jobs itself, in one child of this process, and this process does nothing but
watch: a child that misses its lease is killed, whatever it hangs in, and its rows come due again.
Signals: SIGTERM and SIGINT let the child finish or give back its job, then end both.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType

import structlog

from reconcile import metrics
from worker.deadline import Lease

LOOK_S = 0.2
FIRST_LEASE_S = 60.0
LONGEST_PAUSE_S = 5.0
SETTLED_AFTER_S = 30.0  # a child that lived this long did not fail at its start

# Why a child ended; a short closed list, as it is a metric's label.
REASONS = ("crashed", "killed", "overdue", "did not stop", "quit")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """One child at a time, running `work(lease)` until it is told to stop."""

    def __init__(self, work: Callable[[Lease], None], *, grace_s: float) -> None:
        self._work = work
        self._grace_s = grace_s
        self._lease = Lease()
        # Nobody writes to it: a child reads the end of it when this process is gone.
        self._alive, self._alive_here = os.pipe()
        self._child: BaseProcess | None = None
        self._stop_asked_at: float | None = None
        self._log = structlog.get_logger()
        # Told from the start, for the alert: the first of a series is no growth.
        for reason in REASONS:
            metrics.WORKER_RESTARTS.labels(reason=reason)

    def run(self) -> None:
        """Return when told to stop by a signal."""
        before = {each: signal.signal(each, self._stop) for each in _SIGNALS}
        failures = 0
        try:
            while self._stop_asked_at is None:
                started_at = time.monotonic()
                self._start()
                reason = self._watch()
                if self._stop_asked_at is not None:
                    return
                if time.monotonic() - started_at > SETTLED_AFTER_S:
                    failures = 0
                metrics.WORKER_RESTARTS.labels(reason=reason).inc()
                self._log.warning("worker ended, starting another", reason=reason)
                self._pause(min(0.1 * 2**failures, LONGEST_PAUSE_S))
                failures = min(failures + 1, 10)
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            os.close(self._alive)
            os.close(self._alive_here)

    def _start(self) -> None:
        self._lease.renew(FIRST_LEASE_S)
        # A signal between the fork and the child's first line would run our handler there.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._child = multiprocessing.get_context("fork").Process(target=self._in_child)
        self._child.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _in_child(self) -> None:
        os.close(self._alive_here)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        self._work(self._lease)

    def _end_with_parent(self) -> None:
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace_s + 1)
        os._exit(1)

    def _watch(self) -> str:
        """Return why the child ended."""
        child = self._child
        assert child is not None
        while True:
            child.join(LOOK_S)
            if child.exitcode is not None:
                return _told(child.exitcode)
            if self._lease.overdue():
                reason = "overdue"
            elif self._stop_asked_at and time.monotonic() > self._stop_asked_at + self._grace_s + 1:
                reason = "did not stop"
            else:
                continue
            self._log.error("killing the worker", reason=reason, pid=child.pid)
            child.kill()
            child.join()
            return reason

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._stop_asked_at is None and time.monotonic() < until:
            time.sleep(0.05)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        if self._stop_asked_at is None:
            self._stop_asked_at = time.monotonic()
        if self._child is not None and self._child.pid and self._child.exitcode is None:
            os.kill(self._child.pid, signal.SIGTERM)


def _told(exitcode: int) -> str:
    """One of `REASONS`."""
    if exitcode == 0:
        return "quit"
    if exitcode == -signal.SIGKILL:
        return "killed"
    return "crashed"
