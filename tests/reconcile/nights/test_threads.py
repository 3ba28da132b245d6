"""Threads that a night begins, and does not wait for when it is told to end."""

import threading
from contextlib import closing

import pytest

from reconcile.nights import threads as module
from reconcile.nights.threads import each_in, threads


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

    with threads(3) as three:
        assert sorted(each_in(three, work, range(9))) == sorted(n * n for n in range(9))
    assert most == 3


def test_what_a_thread_raises_is_raised_where_it_is_asked_for() -> None:
    with threads(2) as two, pytest.raises(ZeroDivisionError):
        list(each_in(two, lambda number: 1 // number, [1, 0]))


def test_who_closes_early_begins_no_other_and_waits_for_the_grace_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    hangs, begun = threading.Event(), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            hangs.wait(timeout=60)
        return number

    with threads(2) as two, closing(each_in(two, work, range(100))) as ended:
        assert next(ended) == 0
    assert len(begun) <= 2
    hangs.set()


def test_they_live_as_long_as_their_work_and_nobody_waits_for_them() -> None:
    """A thread has its connection to Stripe: another one for each call would greet it each time."""
    with threads(1) as one:
        inside = [one.start(threading.current_thread).result(timeout=60) for _ in range(3)]
    assert len(set(inside)) == 1
    assert inside[0].daemon
    inside[0].join(timeout=60)
    assert not inside[0].is_alive()
