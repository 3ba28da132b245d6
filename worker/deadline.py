"""How long a job may take: an alarm inside the process, and a lease that a supervisor watches.

The alarm raises in the main thread between two steps of Python. It cannot stop a call into C that
does not come back; for that the supervisor, another process, reads the lease and kills.
"""

import mmap
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from reconcile.errors import Interrupted, JobOverdue, ShuttingDown


class Lease:
    """Until when a worker is to be believed alive, in memory it shares with its supervisor.

    Made before the fork. Both sides read the same monotonic clock.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def renew(self, seconds: float) -> None:
        """Be believed alive for that long from now."""
        struct.pack_into("d", self._memory, 0, time.monotonic() + seconds)

    def overdue(self) -> bool:
        """Return whether the worker has missed its own time."""
        until = float(struct.unpack_from("d", self._memory)[0])
        return time.monotonic() > until


class Deadline:
    """The alarm of the job in hand. Only in the main thread: signals arrive there."""

    def __init__(self) -> None:
        self._reason: type[Interrupted] | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raise JobOverdue in the block when it takes longer."""
        self._reason = JobOverdue
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self._reason = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def hurry(self, seconds: float) -> None:
        """Raise ShuttingDown in the block that is running, at the latest after so long."""
        if self._reason is None:
            return
        self._reason = ShuttingDown
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, min(left or seconds, seconds))

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        # An alarm that was on its way when the block ended is for nobody.
        if self._reason is not None:
            raise self._reason
