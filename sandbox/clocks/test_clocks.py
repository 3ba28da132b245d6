"""`/v1/test_helpers/test_clocks`: time that only some customers live in.

An advance is done before it is answered; the answer still says `advancing`, as Stripe's does, and
the clock is `ready` when it is read.
"""

from __future__ import annotations

from sandbox.billing.proration import add_intervals
from sandbox.clocks.lifecycle import Lifecycle
from sandbox.http.errors import bad_request
from sandbox.http.fields import set_fields
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.subscriptions.cancel import cancel_now
from sandbox.subscriptions.creation import GONE
from sandbox.world import World

NAME = "test_helpers.test_clock"
LIFE_S = 30 * 86400
MAX_ADVANCE = 2  # intervals of the shortest subscription, as at Stripe


def create(ctx: Context) -> Obj:
    """`POST /v1/test_helpers/test_clocks`."""
    now = ctx.world.clock.now()
    clock: Obj = {
        "id": ctx.world.store.new_id(NAME),
        "object": NAME,
        "created": now,
        "deletes_after": now + LIFE_S,
        "frozen_time": ctx.params["frozen_time"],
        "livemode": False,
        "name": None,
        "status": "ready",
        "status_details": {},
    }
    set_fields(clock, ctx.params, "name")
    return ctx.world.store.put(clock, "test_helpers.test_clock.created")


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/test_helpers/test_clocks/:id`."""
    return ctx.the(NAME, what="test clock")


def list_clocks(ctx: Context) -> Obj | bytes:
    """`GET /v1/test_helpers/test_clocks`."""
    return list_page(ctx, NAME, what="test clock")


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/test_helpers/test_clocks/:id`: its customers go with it."""
    clock = ctx.the(NAME, what="test clock")
    store = ctx.world.store
    for customer in list(store.all("customer", ("test_clock", clock["id"]))):
        for one in list(store.all("subscription", ("customer", customer["id"]))):
            if one["status"] not in GONE:
                cancel_now(ctx.world, one["id"], clock["frozen_time"], "cancellation_requested")
        store.delete("customer", customer["id"], "customer.deleted")
    store.delete(NAME, clock["id"], "test_helpers.test_clock.deleted")
    return {"id": clock["id"], "object": NAME, "deleted": True}


class Advance:
    """`POST /v1/test_helpers/test_clocks/:id/advance`, on the timers of one world."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def __call__(self, ctx: Context) -> Obj:
        clock = ctx.the(NAME, what="test clock")
        target = ctx.params["frozen_time"]
        _refuse(ctx.world, clock, target)
        details = {"advancing": {"target_frozen_time": target}}
        advancing = {**clock, "status": "advancing", "status_details": details}
        with ctx.world.unit(ctx.origin):
            ctx.world.store.put(advancing, "test_helpers.test_clock.advancing")

        def arrive(moment: int) -> None:
            with ctx.world.unit():
                ctx.world.store.put({**advancing, "frozen_time": moment})

        self._lifecycle.run(clock["id"], target, arrive)
        with ctx.world.unit(ctx.origin):
            ready = {**clock, "frozen_time": target}
            ctx.world.store.put(ready, "test_helpers.test_clock.ready")
        return advancing

    @property
    def route(self) -> Route:
        """The call."""
        return Route(
            "POST",
            "/v1/test_helpers/test_clocks/:id/advance",
            self,
            "test_helpers.TestClockAdvanceParams",
            own_units=True,
        )


def _refuse(world: World, clock: Obj, target: int) -> None:
    if target <= clock["frozen_time"]:
        raise bad_request(
            "You can only advance a test clock to a time later than its current frozen time.",
            "frozen_time",
        )
    spans = [
        world.store.need("price", item["price"])["recurring"]
        for one in world.store.all("subscription", ("test_clock", clock["id"]))
        if one["status"] not in GONE
        for item in one["items"]
    ]
    furthest = [
        add_intervals(clock["frozen_time"], s["interval"], MAX_ADVANCE * s["interval_count"])
        for s in spans
    ]
    if furthest and target > min(furthest):
        raise bad_request(
            "Cannot advance test clock by more than two intervals at a time, based on the "
            "shortest subscription in the test clock.",
            "frozen_time",
        )


_ALL = "/v1/test_helpers/test_clocks"
ROUTES = (
    Route("POST", _ALL, create, "test_helpers.TestClockCreateParams"),
    Route("GET", _ALL, list_clocks, "test_helpers.TestClockListParams"),
    Route("GET", f"{_ALL}/:id", retrieve, "test_helpers.TestClockRetrieveParams"),
    Route("DELETE", f"{_ALL}/:id", delete, "test_helpers.TestClockDeleteParams"),
)
