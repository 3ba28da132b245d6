"""Giving up an invoice: void or uncollectible, and what it does to payment and balance."""

from __future__ import annotations

from sandbox.billing.invoice import finalize
from sandbox.billing.payments import abandon
from sandbox.objects.balance import move_balance
from sandbox.store import Obj
from sandbox.subscriptions.standing import after_given_up
from sandbox.world import World


def void(world: World, invoice_id: str, now: int, *, uncollectible: bool = False) -> Obj:
    """Void an invoice or write it off; a draft is finalized first. Returns the stored invoice.

    A void invoice gives back the customer balance it used. What was open stays visible as
    `amount_remaining` (recorded).
    """
    invoice = world.store.edit("invoice", invoice_id)
    if invoice["status"] == "draft":
        finalize(world, invoice, now)
        invoice = world.store.edit("invoice", invoice_id)
    if invoice["status"] == "paid":
        return invoice
    if not uncollectible:
        abandon(world, invoice, now)
    invoice.update(auto_advance=False, next_payment_attempt=None)
    if uncollectible:
        invoice["status"] = "uncollectible"
        invoice["status_transitions"]["marked_uncollectible_at"] = now
        world.store.put(invoice, "invoice.updated", "invoice.marked_uncollectible")
    else:
        invoice["status"] = "void"
        invoice["status_transitions"]["voided_at"] = now
        world.store.put(invoice, "invoice.updated", "invoice.voided")
        _give_back(world, invoice)
    after_given_up(world, invoice)
    return world.store.need("invoice", invoice_id)


def _give_back(world: World, invoice: Obj) -> None:
    used = invoice["ending_balance"] - invoice["starting_balance"]
    if used == 0:
        return
    customer = world.store.edit("customer", invoice["customer"])
    move_balance(world, customer, -used, "unapplied_from_invoice", invoice_id=invoice["id"])
    world.store.put(customer, "customer.updated")
