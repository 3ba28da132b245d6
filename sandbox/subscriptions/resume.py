"""`POST /v1/subscriptions/:id/resume`: a paused subscription starts again when it is paid.

Recorded: without a card it stays paused, with the new invoice and a `pending_update` of nothing.
"""

from __future__ import annotations

from sandbox.billing.collect import bill, collect
from sandbox.http.errors import bad_request, no_such
from sandbox.http.routes import Context, Route
from sandbox.store import Obj, copy
from sandbox.subscriptions.creation import GONE
from sandbox.subscriptions.standing import UPDATED
from sandbox.subscriptions.update import PENDING_UPDATE_S, restart


def resume(ctx: Context) -> Obj:
    """`POST /v1/subscriptions/:id/resume`: bills a new period; paid, it is active again."""
    world = ctx.world
    before = ctx.the("subscription")
    if before["status"] in GONE:
        raise no_such("subscription", before["id"])
    if before["status"] != "paused":
        raise bad_request("You can only resume a subscription with a status of `paused`.")
    now = world.now_of(before)
    trial = copy(before)
    restart(world, trial, now)
    invoice = bill(world, trial, "subscription_update", now, whole=trial["items"])
    waiting = copy(before)
    waiting["latest_invoice"] = invoice["id"]
    after = {"status": "active", "billing_cycle_anchor": now, "items": trial["items"]}
    waiting["_pending"] = {"invoice": invoice["id"], "after": after}
    waiting["pending_update"] = {
        "billing_cycle_anchor": None,
        "expires_at": now + PENDING_UPDATE_S,
        "subscription_items": None,
        "trial_end": None,
        "trial_from_plan": None,
    }
    world.store.put(waiting, UPDATED)
    collect(world, copy(invoice), now)
    return world.store.need("subscription", before["id"])


ROUTES = (
    Route(
        "POST",
        "/v1/subscriptions/:id/resume",
        resume,
        "SubscriptionResumeParams",
        "proration_behavior",
    ),
)
