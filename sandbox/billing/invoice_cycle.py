"""What an invoice waits for: its finalization, the next attempt to charge it, its due date."""

from __future__ import annotations

from sandbox.billing.invoice import finalize
from sandbox.billing.payments import attempt, default_method, miss
from sandbox.store import Obj, copy
from sandbox.subscriptions.standing import after_overdue
from sandbox.world import World


def due_at(invoice: Obj) -> int | None:
    """The next moment something happens to it by itself."""
    moment: int | None = None
    if invoice["status"] == "draft":
        moment = invoice["automatically_finalizes_at"]
    elif invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        moment = invoice["next_payment_attempt"]
    elif invoice["status"] == "open" and not invoice.get("_overdue"):
        moment = invoice["due_date"]
    return moment


def work(world: World, invoice: Obj, now: int) -> None:
    """Finalize a draft and charge it, try again, or find it overdue."""
    charged = invoice["collection_method"] == "charge_automatically"
    if invoice["status"] == "open" and not charged:
        after_overdue(world, world.store.put({**invoice, "_overdue": True}, "invoice.overdue"))
        return
    if invoice["status"] == "draft":
        finalize(world, copy(invoice), now)
        if world.store.need("invoice", invoice["id"])["status"] != "open" or not charged:
            return
    if default_method(world, invoice) is None:
        miss(world, invoice["id"], now)
    else:
        attempt(world, invoice["id"], now)
