"""Threads that a night begins, and does not wait for when it is told to end."""

import threading
from contextlib import closing

import pytest

from reconcile.nights import threads
from reconcile.nights.threads import in_threads, started


def test_everything_is_done_and_so_many_at_a_time() -> None:
    lock, running, most = threading.Lock(), 0, 0
    all_in = threading.Barrier(3)

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_in.wait(timeout=60)
        with lock:
            running -= 1
        return number * number

    assert sorted(in_threads(work, range(9), at_once=3)) == sorted(n * n for n in range(9))
    assert most == 3


def test_what_a_thread_raises_is_raised_where_it_is_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0], at_once=2))


def test_who_closes_early_begins_no_other_and_waits_for_the_grace_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "GRACE_S", 0.05)
    hangs, begun = threading.Event(), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            hangs.wait(timeout=60)
        return number

    with closing(in_threads(work, range(100), at_once=2)) as ended:
        assert next(ended) == 0
    assert len(begun) <= 2
    hangs.set()


def test_nobody_waits_for_them_at_the_end_of_the_process() -> None:
    inside: list[threading.Thread] = []
    started(lambda: inside.append(threading.current_thread())).result(timeout=60)
    assert inside[0].daemon
