"""Charging an invoice: payment intents, invoice payments, and what a card answers.

Knows invoices and cards; what a payment means for a subscription is `standing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox.http.listing import list_page
from sandbox.http.render import list_of, show
from sandbox.http.routes import Context, Route
from sandbox.objects.payment_methods import card_error, card_of
from sandbox.store import Obj, Row, peek
from sandbox.subscriptions.standing import after_failed, after_paid
from sandbox.world import World

DAY_S = 86400
# Days after a failed attempt until the next one; after the last the subscription's fate is set.
RETRY_AFTER_DAYS = (3, 5, 7)


@dataclass(frozen=True)
class Attempt:
    """How one attempt to charge ended."""

    result: Literal["paid", "declined", "requires_action", "no_method"]
    decline_code: str | None = None


def default_method(world: World, invoice: Obj) -> Obj | None:
    """The card that pays: the invoice's, the subscription's, or the customer's default."""
    customer = world.store.need("customer", invoice["customer"])
    subscription_id = subscription_of(invoice)
    subscription = world.store.get("subscription", subscription_id) if subscription_id else None
    for method_id in (
        invoice["default_payment_method"],
        subscription and subscription["default_payment_method"],
        customer["invoice_settings"]["default_payment_method"],
    ):
        if method_id:
            return world.store.get("payment_method", method_id)
    return None


def subscription_of(invoice: Obj) -> str | None:
    """The subscription an invoice bills, if any."""
    found: str | None = peek(invoice, "parent.subscription_details.subscription")
    return found


def open_payment(world: World, invoice: Obj, now: int) -> None:
    """The payment intent a finalized invoice gets; the caller stores the invoice."""
    intent: Obj = {
        "id": world.store.new_id("payment_intent"),
        "object": "payment_intent",
        "_invoice": invoice["id"],
        "amount": invoice["amount_due"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": None,
        "confirmation_method": "automatic",
        "created": now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "description": invoice["description"],
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": None,
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    intent["client_secret"] = f"{intent['id']}_secret_sandbox"
    world.store.put(intent, "payment_intent.created")
    payment: Obj = {
        "id": world.store.new_id("invoice_payment"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    world.store.put(payment)
    invoice["_payment_intent"] = intent["id"]


def attempt(world: World, invoice_id: str, now: int, method: Obj | None = None) -> Attempt:
    """Charge what is due on an open invoice and record how it went, events included."""
    invoice = world.store.edit("invoice", invoice_id)
    assert invoice["status"] in ("open", "uncollectible")
    method = method or default_method(world, invoice)
    if method is None:
        return Attempt("no_method")
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    card = card_of(world, method)
    decline = card.charge_decline or card.attach_decline
    if decline is None and not card.needs_action:
        settle(world, invoice, now, method)
        return Attempt("paid")
    outcome = Attempt("declined", decline) if decline else Attempt("requires_action")
    _record_failure(world, invoice, method, outcome, now)
    after_failed(world, world.store.need("invoice", invoice_id), now)
    return outcome


def miss(world: World, invoice_id: str, now: int) -> None:
    """An attempt that found no card to charge."""
    invoice = world.store.edit("invoice", invoice_id)
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    _schedule_retry(invoice, now)
    world.store.put(invoice, "invoice.updated", "invoice.payment_failed")
    after_failed(world, invoice, now)


def settle(
    world: World, invoice: Obj, now: int, method: Obj | None = None, *, outside: bool = False
) -> None:
    """Mark an invoice the caller edits as paid; `outside` is money that came another way."""
    due = invoice["amount_remaining"]
    intent_id = invoice["_payment_intent"]
    if intent_id and not outside:
        intent = world.store.edit("payment_intent", intent_id)
        intent.update(
            status="succeeded",
            amount_received=due,
            payment_method=method["id"] if method else None,
            last_payment_error=None,
            next_action=None,
        )
        world.store.put(intent, "payment_intent.succeeded")
        for payment in _open_payments(world, invoice):
            done = {**payment, "status": "paid", "amount_paid": due}
            done["status_transitions"] = {"canceled_at": None, "paid_at": now}
            world.store.put(done, "invoice_payment.paid")
    elif intent_id:
        abandon(world, invoice, now)
    invoice.update(
        status="paid",
        amount_paid=due,
        amount_remaining=0,
        auto_advance=False,
        next_payment_attempt=None,
        automatically_finalizes_at=None,
    )
    invoice["status_transitions"]["paid_at"] = now
    world.store.put(invoice, "invoice.updated", "invoice.paid", "invoice.payment_succeeded")
    after_paid(world, invoice)


def _open_payments(world: World, invoice: Obj) -> list[Obj]:
    found = world.store.all("invoice_payment", ("invoice", invoice["id"]))
    return [payment for payment in found if payment["status"] == "open"]


def abandon(world: World, invoice: Obj, now: int) -> None:
    """Give up on the payment of an invoice that is void, or was paid another way."""
    if invoice["_payment_intent"] is None:
        return
    intent = world.store.edit("payment_intent", invoice["_payment_intent"])
    if intent["status"] in ("succeeded", "canceled"):
        return
    intent.update(status="canceled", canceled_at=now, cancellation_reason="void_invoice")
    world.store.put(intent, "payment_intent.canceled")
    for payment in _open_payments(world, invoice):
        gone = {**payment, "status": "canceled"}
        gone["status_transitions"] = {"canceled_at": now, "paid_at": None}
        world.store.put(gone)


def _record_failure(world: World, invoice: Obj, method: Obj, outcome: Attempt, now: int) -> None:
    intent = world.store.edit("payment_intent", invoice["_payment_intent"])
    if outcome.decline_code:
        intent["status"] = "requires_payment_method"
        error = card_error(outcome.decline_code).body("")["error"]
        error.pop("request_log_url", None)
        intent["last_payment_error"] = {**error, "payment_method": shown_method(method)}
        world.store.put(intent, "payment_intent.payment_failed")
    else:
        intent["status"] = "requires_action"
        intent["payment_method"] = method["id"]
        intent["next_action"] = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect"},
        }
        world.store.put(intent, "payment_intent.requires_action")
    _schedule_retry(invoice, now)
    events = ["invoice.updated", "invoice.payment_failed"]
    if outcome.decline_code is None:
        events.append("invoice.payment_action_required")
    world.store.put(invoice, *events)


def _schedule_retry(invoice: Obj, now: int) -> None:
    retries = invoice["attempt_count"] <= len(RETRY_AFTER_DAYS)
    automatic = invoice["billing_reason"] != "subscription_create" and invoice["auto_advance"]
    wait_days = RETRY_AFTER_DAYS[invoice["attempt_count"] - 1] if retries else 0
    invoice["next_payment_attempt"] = now + wait_days * DAY_S if automatic and retries else None


def shown_method(method: Obj) -> Obj:
    """A payment method inside an error: without the sandbox's own keys."""
    return {name: value for name, value in method.items() if not name.startswith("_")}


def list_payments(ctx: Context) -> Obj | bytes:
    """`GET /v1/invoice_payments`."""
    invoice, status = ctx.params.get("invoice"), ctx.params.get("status")

    def keep(row: Row) -> bool:
        return status in (None, peek(row, "status"))

    by = ("invoice", invoice) if invoice is not None else None
    return list_page(ctx, "invoice_payment", by=by, keep=keep)


def retrieve_payment(ctx: Context) -> Obj:
    """`GET /v1/invoice_payments/:id`."""
    return ctx.the("invoice_payment")


def retrieve_intent(ctx: Context) -> Obj:
    """`GET /v1/payment_intents/:id`."""
    return ctx.the("payment_intent")


def list_intents(ctx: Context) -> Obj | bytes:
    """`GET /v1/payment_intents`."""
    customer = ctx.params.get("customer")
    by = ("customer", customer) if customer is not None else None
    return list_page(ctx, "payment_intent", by=by)


def payments_of(world: World, invoice: Obj) -> Obj:
    """`invoice.payments`, shown only when it is expanded."""
    found = world.store.all("invoice_payment", ("invoice", invoice["id"]))
    data = [show(world, payment) for payment in found]
    return list_of(data[::-1], f"/v1/invoices/{invoice['id']}/payments")


def confirmation_secret_of(world: World, invoice: Obj) -> Obj | None:
    """`invoice.confirmation_secret`, shown only when it is expanded."""
    intent_id = world.store.need("invoice", invoice["id"])["_payment_intent"]
    if intent_id is None:
        return None
    secret = world.store.need("payment_intent", intent_id)["client_secret"]
    return {"client_secret": secret, "type": "payment_intent"}


INCLUDES = {
    "invoice.payments": payments_of,
    "invoice.confirmation_secret": confirmation_secret_of,
}
ROUTES = (
    Route(
        "GET",
        "/v1/invoice_payments",
        list_payments,
        "InvoicePaymentListParams",
        "invoice status limit starting_after ending_before created",
    ),
    Route("GET", "/v1/invoice_payments/:id", retrieve_payment, "InvoicePaymentRetrieveParams"),
    Route(
        "GET",
        "/v1/payment_intents",
        list_intents,
        "PaymentIntentListParams",
        "customer limit starting_after ending_before created",
    ),
    Route(
        "GET",
        "/v1/payment_intents/:id",
        retrieve_intent,
        "PaymentIntentRetrieveParams",
        "client_secret",
    ),
)
