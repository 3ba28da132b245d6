"""The time, in whole seconds since the epoch as Stripe counts it: real, shifted or frozen.

A customer's test clock is an object of the store (`test_clocks`), not this.
"""

from __future__ import annotations

import time


class Clock:
    """The sandbox's own time; `set` moves it, `freeze` stops it, `release` lets it run on."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._frozen_at: int | None = None

    def now(self) -> int:
        """Seconds since the epoch."""
        if self._frozen_at is not None:
            return self._frozen_at
        return int(time.time() + self._offset_s)

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen_at is not None

    def set(self, epoch_s: int, *, frozen: bool) -> None:
        """Make it this late now; frozen time stays there until told otherwise."""
        self._offset_s = epoch_s - time.time()
        self._frozen_at = epoch_s if frozen else None

    def reset(self) -> None:
        """Back to the time of the machine."""
        self._offset_s = 0.0
        self._frozen_at = None
