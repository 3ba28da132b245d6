"""Drafts: adding, refreshing and dropping the lines of invoice items."""

from __future__ import annotations

from sandbox.billing.invoice import item_line, total_up
from sandbox.http.errors import bad_request
from sandbox.store import Obj, peek
from sandbox.world import World

_OF_ITEM = "parent.invoice_item_details.invoice_item"
_OF_SUBSCRIPTION = "parent.subscription_item_details.invoice_item"


def editable(world: World, invoice: Obj) -> Obj:
    """A copy of a draft; anything else is refused."""
    if invoice["status"] != "draft":
        raise bad_request("This invoice is no longer editable", code="invoice_not_editable")
    return world.store.edit("invoice", invoice["id"])


def add_item(world: World, invoice: Obj, item_id: str) -> None:
    """Put one invoice item on a draft; newest first (recorded)."""
    draft = editable(world, invoice)
    item_line(world, draft, world.store.need("invoiceitem", item_id))
    draft["lines"].insert(0, draft["lines"].pop())
    total_up(world, draft)
    world.store.put(draft, "invoice.updated")


def refresh_item(world: World, invoice_id: str, item: Obj) -> None:
    """Bring the line of a changed item up to date."""
    draft = world.store.edit("invoice", invoice_id)
    place = _place(draft, item["id"])
    line_id = draft["lines"].pop(place)["id"]
    item_line(world, draft, item)
    line = draft["lines"].pop()
    line["id"] = line_id
    draft["lines"].insert(place, line)
    total_up(world, draft)
    world.store.put(draft, "invoice.updated")


def drop_item(world: World, invoice_id: str, item_id: str) -> None:
    """Take the line of a deleted item off its draft."""
    draft = world.store.edit("invoice", invoice_id)
    draft["lines"].pop(_place(draft, item_id))
    total_up(world, draft)
    world.store.put(draft, "invoice.updated")


def _place(invoice: Obj, item_id: str) -> int:
    return next(
        place
        for place, line in enumerate(invoice["lines"])
        if item_id in (peek(line, _OF_ITEM), peek(line, _OF_SUBSCRIPTION))
    )
