"""A customer with a card, prices and a clock: what most tests of billing begin with."""

from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.client import Answer, Api

Json = dict[str, Any]
START = 1_790_000_000  # 21 September 2026, 14:13:20 UTC: a period of 30 days begins
DAY = 86400


@dataclass
class Shop:
    """One customer on a test clock of their own; amounts are minor units of usd."""

    api: Api
    card: str | None = "pm_card_visa"
    mode: str = "flexible"
    clock: str = field(init=False)
    customer: str = field(init=False)

    def __post_init__(self) -> None:
        clocks = "/v1/test_helpers/test_clocks"
        self.clock = self.api.post(clocks, {"frozen_time": START})["id"]
        params: Json = {"test_clock": self.clock}
        self.customer = self.api.post("/v1/customers", params)["id"]
        if self.card:
            self.pay_with(self.card)

    def pay_with(self, card: str) -> str:
        """Attach a card and make it the default."""
        path = f"/v1/payment_methods/{card}/attach"
        method = str(self.api.post(path, {"customer": self.customer})["id"])
        settings = {"invoice_settings": {"default_payment_method": method}}
        self.api.post(f"/v1/customers/{self.customer}", settings)
        return method

    def to(self, days: float) -> None:
        """Advance the clock to so many days after the start."""
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.api.post(path, {"frozen_time": int(START + days * DAY)})

    def price(self, amount: int = 1000, interval: str = "month", **extra: Any) -> str:
        """A price of a new product."""
        product = self.api.post("/v1/products", {"name": "Seat"})["id"]
        sent = {"unit_amount": amount} if "tiers" not in extra else {}
        return str(
            self.api.post(
                "/v1/prices",
                {
                    "product": product,
                    "currency": "usd",
                    "recurring": {"interval": interval},
                    **sent,
                    **extra,
                },
            )["id"]
        )

    def subscribe(self, *items: tuple[str, int], **params: Any) -> Json:
        """A subscription to prices and quantities."""
        return self.api.post("/v1/subscriptions", self._subscription(items, params))

    def try_subscribe(self, *items: tuple[str, int], **params: Any) -> Answer:
        """The same, whatever is answered."""
        return self.api.call("POST", "/v1/subscriptions", self._subscription(items, params))

    def _subscription(self, items: tuple[tuple[str, int], ...], params: Json) -> Json:
        return {
            "customer": self.customer,
            "items": [{"price": price, "quantity": quantity} for price, quantity in items],
            "billing_mode": {"type": self.mode},
            **params,
        }

    def change(self, subscription: Json, quantity: int, **params: Any) -> Answer:
        """Set the first item's quantity, whatever is answered; the invoice is expanded."""
        item = subscription["items"]["data"][0]["id"]
        return self.api.call(
            "POST",
            f"/v1/subscriptions/{subscription['id']}",
            {
                "items": [{"id": item, "quantity": quantity}],
                "proration_behavior": "always_invoice",
                "expand": ["latest_invoice"],
                **params,
            },
        )

    def read(self, subscription: Json) -> Json:
        """The subscription now, its latest invoice expanded."""
        path = f"/v1/subscriptions/{subscription['id']}"
        return self.api.get(path, {"expand": ["latest_invoice"]})

    def lines(self, invoice: str | Json) -> list[tuple[int, str]]:
        """Amounts and descriptions of an invoice's lines."""
        invoice_id = invoice if isinstance(invoice, str) else invoice["id"]
        found = self.api.get(f"/v1/invoices/{invoice_id}/lines", {"limit": 100})["data"]
        return [(line["amount"], line["description"]) for line in found]

    def events(self, *types: str) -> list[str]:
        """The types of all events so far, oldest first; `types` chooses."""
        found = self.api.get("/v1/events", {"limit": 100})["data"]
        return [one["type"] for one in reversed(found) if not types or one["type"] in types]
