"""Says that a process is alive while its own loop is busy for hours. Nothing depends on it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from redis import RedisError

from reconcile.settings import Settings
from worker.queues import BEAT_S, Queue


@contextmanager
def signs_of_life(settings: Settings, who: str, say: Callable[[], str] = str) -> Iterator[None]:
    """Show the queue's server a sign of life from a thread; the block's end takes it back.

    With each goes what `say` returns. While the server is away nobody sees any, and the next one is
    shown when it is back.
    """
    queue, over = Queue(settings), threading.Event()

    def show() -> None:
        while not over.is_set():
            with suppress(RedisError):
                queue.sign_of_life(who, say())
            over.wait(BEAT_S)

    showing = threading.Thread(target=show, name="signs-of-life", daemon=True)
    showing.start()
    try:
        yield
    finally:
        over.set()
        showing.join()
        with suppress(RedisError):
            queue.gone(who)
        queue.close()
