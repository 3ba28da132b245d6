"""The customer balance: what is owed or credited between invoices."""

from __future__ import annotations

from typing import Any

from sandbox.http.errors import bad_request
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj, peek
from sandbox.world import World


def move_balance(
    world: World,
    customer: Obj,
    amount_minor: int,
    kind: str,
    *,
    invoice_id: str | None = None,
    **extra: Any,
) -> Obj:
    """Change a customer's balance and record why; `customer` is the caller's copy to put.

    Negative is credit for the customer, positive is owed. Returns the transaction.
    """
    customer["balance"] += amount_minor
    transaction: Obj = {
        "id": world.store.new_id("customer_balance_transaction"),
        "object": "customer_balance_transaction",
        "amount": amount_minor,
        "checkout_session": None,
        "created": world.now_of(customer),
        "credit_note": None,
        "currency": customer["currency"],
        "customer": customer["id"],
        "customer_account": None,
        "description": None,
        "ending_balance": customer["balance"],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": {},
        "type": kind,
        **extra,
    }
    return world.store.put(transaction)


def create_balance_transaction(ctx: Context) -> Obj:
    """`POST /v1/customers/:id/balance_transactions`."""
    params = ctx.params
    customer = ctx.world.store.edit("customer", ctx.the("customer")["id"])
    if customer["currency"] not in (None, params["currency"]):
        raise bad_request(
            f"The customer's currency is {customer['currency']}; a balance has one currency.",
            "currency",
        )
    customer["currency"] = params["currency"]
    transaction = move_balance(
        ctx.world,
        customer,
        params["amount"],
        "adjustment",
        description=params.get("description") or None,
        metadata=params.get("metadata") or {},
    )
    ctx.world.store.put(customer, "customer.updated")
    return transaction


def list_balance_transactions(ctx: Context) -> Obj | bytes:
    """`GET /v1/customers/:id/balance_transactions`."""
    customer = ctx.the("customer")
    invoice = ctx.params.get("invoice")
    return list_page(
        ctx,
        "customer_balance_transaction",
        by=("customer", customer["id"]),
        keep=lambda row: invoice is None or peek(row, "invoice") == invoice,
    )


def retrieve_balance_transaction(ctx: Context) -> Obj:
    """`GET /v1/customers/:id/balance_transactions/:transaction`."""
    ctx.the("customer")
    return ctx.named("customer_balance_transaction", ctx.args["transaction"])


_BALANCE = "/v1/customers/:id/balance_transactions"
ROUTES = (
    Route("POST", _BALANCE, create_balance_transaction, "CustomerBalanceTransactionCreateParams"),
    Route("GET", _BALANCE, list_balance_transactions, "CustomerBalanceTransactionListParams"),
    Route(
        "GET",
        f"{_BALANCE}/:transaction",
        retrieve_balance_transaction,
        "CustomerBalanceTransactionRetrieveParams",
    ),
)
