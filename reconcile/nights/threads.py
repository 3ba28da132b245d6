"""Threads beside a night's main one, which nobody has to wait for.

A call to Stripe may hang for minutes; a process that is told to stop ends within seconds. So they
are daemons: `concurrent.futures` would join its own at the end. What they were at is resumed like
what a killed process was at. Each lives as long as its work lasts: the SDK keeps a connection to
Stripe for each thread.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

# Who stops in the middle lets what is under way come to its end for so long.
GRACE_S = 5.0

T = TypeVar("T")
R = TypeVar("R")


class Threads:
    """So many threads that do what they are given, first come, first served."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for _ in range(count):
            # As the main one, they say in the log which night it is.
            Thread(target=copy_context().run, args=(self._work,), daemon=True).start()

    def start(self, work: Callable[[], R]) -> Future[R]:
        """Have the work done and return what will come of it."""
        future: Future[R] = Future()
        self._given.put(partial(_do, work, future))
        return future

    def end(self) -> None:
        """Have each thread end when it comes to it."""
        for _ in range(self.count):
            self._given.put(None)

    def _work(self) -> None:
        while (work := self._given.get()) is not None:
            work()


def _do(work: Callable[[], Any], future: Future[Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)


@contextmanager
def threads(count: int) -> Iterator[Threads]:
    """So many threads, for as long as the block lasts; none is waited for."""
    found = Threads(count)
    try:
        yield found
    finally:
        found.end()


def each_in(found: Threads, work: Callable[[T], R], items: Iterable[T]) -> Generator[R]:
    """Yield what comes of each item, as it comes, with one under way in each thread.

    Closed early, it begins no other and waits for those under way, for the grace at most.
    """
    running: set[Future[R]] = set()
    try:
        for item in items:
            while len(running) >= found.count:
                yield from _ended(running)
            running.add(found.start(partial(work, item)))
        while running:
            yield from _ended(running)
    finally:
        wait(running, timeout=GRACE_S)


def _ended(running: set[Future[R]]) -> Iterator[R]:
    """Take out those that have ended, one at least, and yield what came of them."""
    ended, _ = wait(running, return_when=FIRST_COMPLETED)
    running -= ended
    for future in ended:
        yield future.result()
