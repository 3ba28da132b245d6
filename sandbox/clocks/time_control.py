"""`/_sandbox/clock`: setting, freezing and advancing the sandbox's own time.

JSON: `{"now": epoch, "frozen": true}` sets it, `{"advance": seconds}` moves it on, `{"real": true}`
gives it back to the machine. What becomes due on the way happens, in order, at its moment.
"""

from __future__ import annotations

from sandbox.clocks.lifecycle import MAIN, Lifecycle
from sandbox.http.errors import bad_request
from sandbox.http.routes import Context, Route
from sandbox.store import Obj


class TimeControl:
    """The clock of one world, and its timers."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._world = lifecycle.world

    def get(self, _ctx: Context) -> Obj:
        """What time it is, in seconds since the epoch, and whether it stands still."""
        return {"now": self._world.clock.now(), "frozen": self._world.clock.frozen}

    def set(self, ctx: Context) -> Obj:
        """Move the time; answers as `get`."""
        clock, params = self._world.clock, ctx.params
        if params.get("real"):
            clock.reset()
            return self.get(ctx)
        frozen = bool(params.get("frozen", clock.frozen))
        target = params.get("now", clock.now())
        if not isinstance(target, int) or not isinstance(params.get("advance", 0), int):
            raise bad_request("`now` and `advance` are whole seconds.")
        target += params.get("advance", 0)
        if target > clock.now():
            self._lifecycle.run(MAIN, target, lambda moment: clock.set(moment, frozen=True))
        clock.set(target, frozen=frozen)
        return self.get(ctx)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The two calls."""
        path = "/_sandbox/clock"
        return (
            Route("GET", path, self.get, raw=True),
            Route("POST", path, self.set, raw=True, own_units=True),
        )
