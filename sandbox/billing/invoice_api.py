"""`/v1/invoices`: reading, drafting by hand, finalizing, paying, giving up."""

from __future__ import annotations

from typing import Any

from sandbox.billing.collect import refusal
from sandbox.billing.invoice import DRAFT_S, finalize, item_line, new_invoice, total_up
from sandbox.billing.invoice_edit import editable
from sandbox.billing.invoice_items import pending
from sandbox.billing.payments import Attempt, attempt, default_method, settle
from sandbox.billing.preview import create_preview
from sandbox.billing.voiding import void
from sandbox.http.errors import ApiError, bad_request, missing_param, no_such
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page, page_of
from sandbox.http.routes import Context, Route
from sandbox.objects.payment_methods import materialised
from sandbox.store import Obj, Row, copy, peek

DAY_S = 86400
_FIELDS = "description footer custom_fields statement_descriptor"


def create(ctx: Context) -> Obj:
    """`POST /v1/invoices`: an empty draft; pending items only when asked for (recorded)."""
    world, params = ctx.world, ctx.params
    if "customer" not in params:
        raise missing_param("customer")
    customer = ctx.named("customer", params["customer"], param="customer", status=400)
    subscription = None
    if params.get("subscription"):
        subscription = ctx.named(
            "subscription", params["subscription"], param="subscription", status=400
        )
    now = world.now_of(customer)
    items = pending(world, customer["id"], params.get("subscription"))
    include = params.get("pending_invoice_items_behavior") == "include"
    currency = params.get("currency") or customer["currency"]
    if include and items:
        currency = currency or items[0]["currency"]
    invoice = new_invoice(
        world, customer, reason="manual", currency=currency or "usd", now=now,
        subscription=subscription,
    )  # fmt: skip
    _fill(invoice, params, now)
    if include or subscription:
        for item in items:
            item_line(world, invoice, item)
    total_up(world, invoice)
    return world.store.put(invoice, "invoice.created")


def _fill(invoice: Obj, params: dict[str, Any], now: int) -> None:
    set_fields(invoice, params, f"{_FIELDS} default_payment_method collection_method")
    set_metadata(invoice, params)
    invoice["auto_advance"] = params.get("auto_advance", False)
    sends = invoice["collection_method"] == "send_invoice"
    if sends:
        if "due_date" in params:
            invoice["due_date"] = params["due_date"]
        elif "days_until_due" in params:
            invoice["due_date"] = now + params["days_until_due"] * DAY_S
        elif invoice["due_date"] is None:
            raise bad_request(
                "If invoice collection method is 'send_invoice', you must specify "
                "'days_until_due' or 'due_date'."
            )
    elif {"due_date", "days_until_due"} & set(params):
        raise bad_request(
            "You can only specify 'days_until_due' if invoice collection method is 'send_invoice'."
        )
    schedule_advance(invoice)


def schedule_advance(invoice: Obj) -> None:
    """Automatic drafts are finalized an hour after they were made (recorded)."""
    automatic = invoice["status"] == "draft" and invoice["auto_advance"]
    charged = invoice["collection_method"] == "charge_automatically"
    invoice["automatically_finalizes_at"] = invoice["created"] + DRAFT_S + 1 if automatic else None
    invoice["next_payment_attempt"] = (
        invoice["created"] + DRAFT_S if automatic and charged else None
    )


def update(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id`: a finalized one takes metadata only (recorded)."""
    before = ctx.the("invoice")
    params = {name: value for name, value in ctx.params.items() if name != "expand"}
    invoice = ctx.world.store.edit("invoice", before["id"])
    if before["status"] != "draft":
        if set(params) - {"metadata", "auto_advance"}:
            raise bad_request(
                "Finalized invoices can't be updated in this way", code="invoice_not_editable"
            )
        set_metadata(invoice, params)
        set_fields(invoice, params, "auto_advance")
    else:
        set_fields(invoice, params, f"{_FIELDS} default_payment_method")
        set_metadata(invoice, params)
        if "auto_advance" in params:
            invoice["auto_advance"] = params["auto_advance"]
            schedule_advance(invoice)
    if changed(before, invoice):
        ctx.world.store.put(invoice, "invoice.updated")
    return invoice


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/invoices/:id`: drafts only; their items go with them (recorded)."""
    draft = editable(ctx.world, _the(ctx, "invoice"))
    if draft["parent"] is not None:
        raise bad_request("You can only delete draft invoices that are not of a subscription.")
    for item in list(ctx.world.store.all("invoiceitem", ("invoice", draft["id"]))):
        ctx.world.store.delete("invoiceitem", item["id"], "invoiceitem.deleted")
    ctx.world.store.delete("invoice", draft["id"], "invoice.deleted")
    return {"id": draft["id"], "object": "invoice", "deleted": True}


def finalize_invoice(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id/finalize`."""
    invoice = ctx.the("invoice")
    if invoice["status"] != "draft":
        raise bad_request(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        )
    draft = copy(invoice)
    if "auto_advance" in ctx.params:
        draft["auto_advance"] = ctx.params["auto_advance"]
    draft["next_payment_attempt"] = None
    now = ctx.world.now_of(invoice)
    finalize(ctx.world, draft, now)
    if draft["status"] == "open" and draft["auto_advance"]:
        later = ctx.world.store.edit("invoice", draft["id"])
        charged = later["collection_method"] == "charge_automatically"
        later["next_payment_attempt"] = now + DRAFT_S if charged else None
        ctx.world.store.put(later)
    return ctx.world.store.need("invoice", invoice["id"])


def pay(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id/pay`: a draft is finalized first; a decline is a 402 that stays."""
    world, params = ctx.world, ctx.params
    invoice = ctx.the("invoice")
    now = world.now_of(invoice)
    if invoice["status"] == "draft":
        finalize(world, copy(invoice), now)
        invoice = world.store.need("invoice", invoice["id"])
        if invoice["status"] == "paid":
            return invoice
    if invoice["status"] == "paid":
        raise bad_request("Invoice is already paid")
    if invoice["status"] not in ("open", "uncollectible"):
        raise bad_request(f"Invoices with status {invoice['status']} cannot be paid.")
    if params.get("paid_out_of_band"):
        settle(world, world.store.edit("invoice", invoice["id"]), now, outside=True)
        return world.store.need("invoice", invoice["id"])
    _charge(ctx, invoice, now)
    return world.store.need("invoice", invoice["id"])


def confirm(ctx: Context) -> Obj:
    """`POST /v1/payment_intents/:id/confirm`: pays the invoice the intent belongs to."""
    intent = ctx.the("payment_intent")
    invoice = ctx.world.store.need("invoice", intent["_invoice"])
    if intent["status"] in ("succeeded", "canceled"):
        raise bad_request(
            f"This PaymentIntent's status is {intent['status']}: it can't be confirmed.",
            code="payment_intent_unexpected_state",
        )
    _charge(ctx, invoice, ctx.world.now_of(invoice))
    return ctx.world.store.need("payment_intent", intent["id"])


def _charge(ctx: Context, invoice: Obj, now: int) -> None:
    """Charge the named card or the default; a decline is an error, and stays on record."""
    method_id, method = ctx.params.get("payment_method"), None
    if method_id:
        method = materialised(ctx, method_id, "payment_method", 400)
    outcome = attempt(ctx.world, invoice["id"], now, method)
    if outcome.result != "paid":
        problem = _pay_refusal(outcome, method or default_method(ctx.world, invoice))
        problem.keep = True
        raise problem


def _pay_refusal(outcome: Attempt, method: Obj | None) -> ApiError:
    if outcome.result == "requires_action":
        return ApiError(
            402,
            "This payment requires additional user action before it can be completed successfully.",
            type="card_error",
            code="invoice_payment_intent_requires_action",
        )
    return refusal(outcome, method)


def void_invoice(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id/void`."""
    return _give_up(ctx, uncollectible=False)


def mark_uncollectible(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id/mark_uncollectible`."""
    return _give_up(ctx, uncollectible=True)


def _give_up(ctx: Context, *, uncollectible: bool) -> Obj:
    invoice = ctx.the("invoice")
    allowed = ("open",) if uncollectible else ("open", "uncollectible")
    if invoice["status"] not in allowed:
        verb = "mark as uncollectible" if uncollectible else "void"
        raise bad_request(f"You can only {verb} an open invoice; this one is {invoice['status']}.")
    now = ctx.world.now_of(invoice)
    return void(ctx.world, invoice["id"], now, uncollectible=uncollectible)


def send(ctx: Context) -> Obj:
    """`POST /v1/invoices/:id/send`: finalizes a draft; nothing is mailed in test mode."""
    invoice = _the(ctx, "invoice")
    if invoice["collection_method"] != "send_invoice":
        raise bad_request(
            "You can only manually send an invoice if its collection method is 'send_invoice'."
        )
    if invoice["status"] == "draft":
        finalize(ctx.world, copy(invoice), ctx.world.now_of(invoice))
    stored = ctx.world.store.need("invoice", invoice["id"])
    return ctx.world.store.put(stored, "invoice.sent")


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/invoices/:id`."""
    return _the(ctx, "invoice")


def _the(ctx: Context, param: str) -> Obj:
    """Which parameter a missing invoice is blamed on differs by call (recorded)."""
    return ctx.the("invoice", param=param)


def lines(ctx: Context) -> Obj:
    """`GET /v1/invoices/:id/lines`, of a recent preview too."""
    previewed = ctx.world.previews.get(ctx.args["id"])
    shown = [
        {name: value for name, value in line.items() if not name.startswith("_")}
        for line in (_the(ctx, "invoice")["lines"] if previewed is None else previewed)
    ]
    return page_of(ctx, shown, ctx.request.path, "line item")


def list_invoices(ctx: Context) -> Obj | bytes:
    """`GET /v1/invoices`."""
    params = ctx.params

    def keep(row: Row) -> bool:
        return all(
            peek(row, name) == params[name]
            for name in ("status", "collection_method")
            if name in params
        ) and ("customer" not in params or peek(row, "customer") == params["customer"])

    by: tuple[str, Any] | None = None
    if params.get("subscription"):
        if ctx.world.store.get("subscription", params["subscription"]) is None:
            raise no_such("subscription", params["subscription"], "subscription", 400)
        by = ("parent.subscription_details.subscription", params["subscription"])
    elif params.get("customer"):
        by = ("customer", params["customer"])
    return list_page(ctx, "invoice", by=by, keep=keep)


_ALL, _ONE = "/v1/invoices", "/v1/invoices/:id"
_PREVIEW = "customer subscription subscription_details preview_mode"
ROUTES = (
    Route(
        "POST",
        _ALL,
        create,
        "InvoiceCreateParams",
        f"{_FIELDS} customer subscription auto_advance collection_method currency days_until_due "
        "default_payment_method due_date metadata pending_invoice_items_behavior",
    ),
    Route(
        "GET",
        _ALL,
        list_invoices,
        "InvoiceListParams",
        "customer subscription status collection_method created limit starting_after ending_before",
    ),
    Route(
        "POST",
        f"{_ALL}/create_preview",
        create_preview,
        "InvoiceCreatePreviewParams",
        _PREVIEW,
        own_units=True,
    ),
    Route("GET", _ONE, retrieve, "InvoiceRetrieveParams"),
    Route(
        "POST",
        _ONE,
        update,
        "InvoiceUpdateParams",
        f"{_FIELDS} auto_advance default_payment_method metadata",
    ),
    Route("DELETE", _ONE, delete, "InvoiceDeleteParams"),
    Route("POST", f"{_ONE}/finalize", finalize_invoice, "InvoiceFinalizeInvoiceParams"),
    Route(
        "POST",
        f"{_ONE}/pay",
        pay,
        "InvoicePayParams",
        "off_session paid_out_of_band payment_method",
    ),
    Route(
        "POST",
        "/v1/payment_intents/:id/confirm",
        confirm,
        "PaymentIntentConfirmParams",
        "payment_method off_session",
    ),
    Route("POST", f"{_ONE}/void", void_invoice, "InvoiceVoidInvoiceParams"),
    Route(
        "POST", f"{_ONE}/mark_uncollectible", mark_uncollectible, "InvoiceMarkUncollectibleParams"
    ),
    Route("POST", f"{_ONE}/send", send, "InvoiceSendInvoiceParams"),
    Route("GET", f"{_ONE}/lines", lines, "InvoiceLineItemListParams"),
)
