"""The people on Stripe's side: who buys, who clicks in the dashboard, whose card declines.

Plain HTTP to the sandbox, as Stripe's own pages would do it; the service is not involved.
"""

import time
from collections.abc import Mapping
from typing import Any

import requests

from reconcile.catalog import Catalog, Price
from reconcile.policy.proration import PriceModel

API_KEY = "sk_test_of_the_demo"
TIMEOUT_S = 30


class Buyer:
    """Talks to the sandbox. Paths start with a slash; answers are parsed JSON."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.auth = (API_KEY, "")

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read from Stripe's API; raises requests.HTTPError."""
        return self._answer("GET", path, params=query)

    def post(self, path: str, **form: Any) -> dict[str, Any]:
        """Write to Stripe's API; nested values become its bracket notation."""
        return self._answer("POST", path, data=dict(_flattened(form)))

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask the sandbox for a fault or a turn of events."""
        return self._answer("POST", f"/_sandbox/{path}", json=body)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind the sandbox holds, oldest first."""
        found: list[dict[str, Any]] = self.get(f"/_sandbox/objects/{kind}")["data"]
        return found

    def create_prices(self, catalog: Catalog) -> None:
        """Put the catalog's prices into Stripe, each under its lookup key."""
        for price in catalog.prices():
            self.post("/v1/prices", **_price_form(price))

    def customer(self, name: str, email: str) -> str:
        """A customer with a good card; its id."""
        created = self.post(
            "/v1/customers",
            name=name,
            email=email,
            payment_method="pm_card_visa",
            invoice_settings={"default_payment_method": "pm_card_visa"},
        )
        return str(created["id"])

    def subscribe(
        self, customer_id: str, prices: Mapping[str, int], metadata: Mapping[str, str]
    ) -> str:
        """A subscription by lookup keys and quantities; its id."""
        ids = self.price_ids(list(prices))
        created = self.post(
            "/v1/subscriptions",
            customer=customer_id,
            items=[{"price": ids[key], "quantity": count} for key, count in prices.items()],
            metadata=dict(metadata),
        )
        return str(created["id"])

    def price_ids(self, lookup_keys: list[str]) -> dict[str, str]:
        """Stripe's ids of lookup keys."""
        found = self.get("/v1/prices", **{"lookup_keys[]": lookup_keys, "limit": 100})
        return {price["lookup_key"]: price["id"] for price in found["data"]}

    def quantities(self, subscription_id: str) -> dict[str, int]:
        """Lookup key to quantity, as Stripe has it now."""
        found = self.get(f"/v1/subscriptions/{subscription_id}")
        return {item["price"]["lookup_key"]: item["quantity"] for item in found["items"]["data"]}

    def edit_in_dashboard(
        self, subscription_id: str, lookup_key: str, quantity: int, *, prorated: bool = True
    ) -> None:
        """Somebody sets a quantity by hand, past the service."""
        found = self.get(f"/v1/subscriptions/{subscription_id}")
        item = next(i for i in found["items"]["data"] if i["price"]["lookup_key"] == lookup_key)
        self.post(
            f"/v1/subscription_items/{item['id']}",
            quantity=quantity,
            proration_behavior="create_prorations" if prorated else "none",
        )

    def days_ago(self, days: int) -> None:
        """Set Stripe's clock back: what is bought now was bought then."""
        self.control("clock", now=int(time.time()) - days * 86_400)

    def today(self) -> None:
        """Give Stripe's clock back to the machine; what became due on the way happens first."""
        self.control("clock", now=int(time.time()))
        self.control("clock", real=True)

    def _answer(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        response = self._session.request(method, self.url + path, timeout=TIMEOUT_S, **what)
        if not response.ok:
            raise requests.HTTPError(f"{method} {path}: {response.text}", response=response)
        answer: dict[str, Any] = response.json()
        return answer


def _price_form(price: Price) -> dict[str, Any]:
    label = f"{price.plan} {price.seat_type or 'plan'}".replace("_", " ").title()
    return {
        "currency": price.currency,
        "lookup_key": price.lookup_key,
        "product_data": {"name": label},
        "recurring": {"interval": price.interval},
        **_amounts(price.model),
    }


def _amounts(model: PriceModel) -> dict[str, Any]:
    if model.tiers_mode is None:
        return {"unit_amount": model.unit_minor}
    tiers = [
        {
            "up_to": "inf" if tier.up_to is None else tier.up_to,
            "unit_amount": tier.unit_minor,
            **({"flat_amount": tier.flat_minor} if tier.flat_minor else {}),
        }
        for tier in model.tiers
    ]
    return {"billing_scheme": "tiered", "tiers_mode": model.tiers_mode.value, "tiers": tiers}


def _flattened(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """`{"a": {"b": [1]}}` becomes `a[b][0]=1`."""
    pairs: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return [(name, value)]
    return [
        found
        for key, inner in pairs
        for found in _flattened(inner, f"{name}[{key}]" if name else str(key))
    ]
