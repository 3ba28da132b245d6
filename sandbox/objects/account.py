"""The account the keys belong to, and its balance: what start-up checks read."""

from __future__ import annotations

from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.world import ACCOUNT_ID

CREATED = 1735689600


def retrieve(_ctx: Context) -> Obj:
    """`GET /v1/account`."""
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": CREATED,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@sandbox.invalid",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


def balance(_ctx: Context) -> Obj:
    """`GET /v1/balance`: nothing is ever settled here."""
    nothing = {"amount": 0, "currency": "usd", "source_types": {"card": 0}}
    return {
        "object": "balance",
        "available": [nothing],
        "livemode": False,
        "pending": [nothing],
    }


ROUTES = (
    Route("GET", "/v1/account", retrieve, "AccountRetrieveCurrentParams"),
    Route("GET", "/v1/balance", balance, "BalanceRetrieveParams"),
)
