"""Threads beside a night's main one, which nobody has to wait for.

A call to Stripe may hang for minutes; a process that is told to stop ends within seconds. So they
are daemons: `concurrent.futures` would join its own at the end. What they were at is resumed like
what a killed process was at.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import TypeVar

# Who stops in the middle lets what is under way come to its end for so long.
GRACE_S = 5.0

T = TypeVar("T")
R = TypeVar("R")


def started(work: Callable[[], R]) -> Future[R]:
    """Start the work in a thread of its own and return what will come of it."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return future


def in_threads(work: Callable[[T], R], items: Iterable[T], *, at_once: int) -> Generator[R]:
    """Yield what comes of each item, as it comes, with so many of them under way at a time.

    Closed early, it begins no other and waits for those under way, for the grace at most.
    """
    running: set[Future[R]] = set()
    try:
        for item in items:
            while len(running) >= at_once:
                yield from _ended(running)
            running.add(started(partial(work, item)))
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
