"""What time brings: trials end, periods renew, drafts are charged, retries run, updates expire.

Every object that waits for a moment says so (`due_at`); a heap by clock holds the moments. An
entry is a hint only: when it comes up, the object is asked again. Each piece of work is a unit of
its own, done at the moment it was due, so that an advance over months replays them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from sandbox.billing import invoice_cycle
from sandbox.store import Obj
from sandbox.subscriptions import cycle, schedules
from sandbox.world import Commit, World

MAX_STEPS = 200_000  # of one advance: years of a large clock, and still an end
MAIN = ""  # the sandbox's own clock


class Lifecycle:
    """The timers of one world; a listener of its commits."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._number = count()

    def note(self, commit: Commit) -> None:
        """Remember when a changed object is due."""
        for entry in commit.changes:
            if entry.after is not None:
                self._remember(entry.after)

    def _remember(self, obj: Obj) -> None:
        kind = _KINDS.get(obj["object"])
        due = kind[0](obj) if kind else None
        if due is not None:
            heap = self.world.timers.setdefault(obj["test_clock"] or MAIN, [])
            rank = _ORDER.index(obj["object"])
            heappush(heap, (due, rank, next(self._number), obj["object"], obj["id"]))

    def catch_up(self) -> None:
        """Do what is due on the sandbox's own clock by now; cheap when nothing is."""
        heap = self.world.timers.get(MAIN)
        if heap and heap[0][0] <= self.world.clock.now():
            with self.world.lock:
                self.run(MAIN, self.world.clock.now(), lambda _moment: None)

    def run(self, clock_id: str, until: int, arrive: Callable[[int], None]) -> None:
        """Do everything due on one clock until then; `arrive` sets the clock to each moment."""
        heap = self.world.timers.get(clock_id, [])
        for _ in range(MAX_STEPS):
            if not heap or heap[0][0] > until:
                return
            due, _rank, _number, name, object_id = heappop(heap)
            obj = self.world.store.get(name, object_id)
            if obj is None or self.world.store.get("customer", obj["customer"]) is None:
                continue  # gone, or nobody is left to bill
            due_at, work = _KINDS[name]
            if due_at(obj) != due:
                continue  # it waits for another moment by now, and has an entry for that
            arrive(due)
            with self.world.unit():
                work(self.world, obj, due)
        raise RuntimeError("the clock does not come to rest")


_KINDS: dict[str, tuple[Callable[[Obj], int | None], Callable[[World, Obj, int], None]]] = {
    "subscription": (cycle.due_at, cycle.work),
    "invoice": (invoice_cycle.due_at, invoice_cycle.work),
    "subscription_schedule": (schedules.due_at, schedules.work),
}
# At one and the same moment a new phase comes first: the new period bills its items.
_ORDER = ("subscription_schedule", "subscription", "invoice")
