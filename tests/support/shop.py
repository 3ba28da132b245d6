"""A shop for tests: the catalog's prices in the sandbox, organizations that buy seats on them.

What a customer or a person in Stripe's dashboard does goes through Stripe's API, as in life; what
the host application does goes into the roster's tables.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete

from reconcile.catalog import Catalog, Price, load_catalog
from reconcile.database import exclusive
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.settling.course import Settled
from reconcile.settling.settle import settle_subscription
from reconcile.store import adjustments, findings, subscriptions
from reconcile.store.adjustments import Adjustment
from reconcile.store.findings import Scope
from reconcile.store.subscriptions import Seat
from reconcile.tables import members
from tests.support.roster import add_members, add_organization
from tests.support.sandbox import Sandbox
from tests.support.services import running_services


@dataclass
class Shop:
    """The services on a sandbox that has the catalog's prices."""

    services: Services
    sandbox: Sandbox

    def organization(
        self,
        organization_id: str = "org_1",
        *,
        plan: str = "agency",
        test_clock: str | None = None,
        **active: int,
    ) -> str:
        """An organization with so many active members of each seat type, and its customer."""
        customer = self.sandbox.post(
            "/v1/customers",
            {
                "payment_method": "pm_card_visa",
                "invoice_settings[default_payment_method]": "pm_card_visa",
            }
            | ({"test_clock": test_clock} if test_clock else {}),
        )
        customer_id = str(customer["id"])
        with self.services.sessions.begin() as session:
            add_organization(session, organization_id, plan=plan, customer_id=customer_id)
        for seat_type, count in active.items():
            self.activate(organization_id, seat_type, count)
        return customer_id

    def activate(self, organization_id: str, seat_type: str, count: int) -> None:
        """Make exactly `count` members of the seat type active, as the host's roster says it."""
        with self.services.sessions.begin() as session:
            session.execute(
                delete(members).where(
                    members.c.organization_id == organization_id,
                    members.c.seat_type == seat_type,
                )
            )
            add_members(session, organization_id, seat_type, active=count)

    def subscribe(
        self,
        customer_id: str,
        quantities: Mapping[str, int],
        *,
        plan: str = "agency",
        interval: str = "month",
        organization_id: str = "org_1",
        **params: Any,
    ) -> str:
        """A subscription bought through Stripe, one item for each seat type."""
        form: dict[str, Any] = {
            "customer": customer_id,
            "metadata[organization_id]": organization_id,
            **params,
        }
        for number, (seat_type, quantity) in enumerate(quantities.items()):
            price = self.services.catalog.price_of(plan, seat_type, interval, "usd")
            form[f"items[{number}][price]"] = price.id
            form[f"items[{number}][quantity]"] = quantity
        return str(self.sandbox.post("/v1/subscriptions", form)["id"])

    def edit(self, subscription_id: str, seat_type: str, quantity: int, **params: Any) -> None:
        """A person changes a quantity in Stripe's dashboard."""
        item = self.seats(subscription_id)[seat_type].item_id
        self.sandbox.post(
            f"/v1/subscriptions/{subscription_id}",
            {"items[0][id]": item, "items[0][quantity]": quantity, **params},
        )

    def take_out(self, subscription_id: str, seat_type: str) -> None:
        """A person takes the seats' item out in Stripe's dashboard."""
        item = self.seats(subscription_id)[seat_type].item_id
        form = {"items[0][id]": item, "items[0][deleted]": "true"}
        self.sandbox.post(f"/v1/subscriptions/{subscription_id}", form)

    def stickers(self) -> str:
        """A price that is not the catalog's: the account sells other things as well."""
        form = {
            "currency": "usd",
            "unit_amount": 500,
            "recurring[interval]": "month",
            "product_data[name]": "Stickers",
        }
        return str(self.sandbox.post("/v1/prices", form)["id"])

    def settle(self, subscription_id: str, **more: Any) -> Settled:
        """Settle it as a worker does, under its lock."""
        with exclusive(self.services.engine, f"sub:{subscription_id}") as mine:
            assert mine
            return settle_subscription(self.services, subscription_id, trigger="test", **more)

    def quantities(self, subscription_id: str) -> dict[str, int]:
        """What Stripe has now, by seat type."""
        found = self.sandbox.get(f"/v1/subscriptions/{subscription_id}")
        seats = {}
        for item in found["items"]["data"]:
            price = self.services.catalog.seat_for_price(item["price"]["id"])
            seats[str(price.seat_type if price else item["id"])] = int(item["quantity"])
        return seats

    def invoices(self, subscription_id: str, reason: str | None = None) -> list[dict[str, Any]]:
        """The subscription's invoices, oldest first."""
        found = self.sandbox.get("/v1/invoices", subscription=subscription_id, limit=100)["data"]
        return [i for i in reversed(found) if reason is None or i["billing_reason"] == reason]

    def adjustments(self, subscription_id: str) -> tuple[Adjustment, ...]:
        """All that was ever intended, oldest first."""
        with self.services.sessions() as session:
            return adjustments.of_subscription(session, subscription_id)

    def seats(self, subscription_id: str) -> dict[str, Seat]:
        """The seats as they are recorded."""
        with self.services.sessions() as session:
            return subscriptions.seats_of(session, subscription_id)

    def findings(self, subscription_id: str | None, organization_id: str = "org_1") -> set[str]:
        """The kinds of the open findings."""
        scope = Scope(organization_id=organization_id, subscription_id=subscription_id)
        with self.services.sessions() as session:
            return {found.kind for found in findings.open_of(session, scope)}

    def writes(self, subscription_id: str) -> int:
        """How many updates of the subscription Stripe was sent, replays included."""
        path = f"/v1/subscriptions/{subscription_id}"
        calls = self.sandbox.observe("/calls")["calls"]
        keys = [
            c["idempotency_key"] or "" for c in calls if (c["method"], c["path"]) == ("POST", path)
        ]
        return len([key for key in keys if key.startswith("trueup")])

    def with_plan(self, name: str, **rules: Any) -> "Shop":
        """The same shop with other rules of one plan."""
        catalog = self.services.catalog
        plan = catalog.plan(name)
        changed = replace(plan, rules=replace(plan.rules, **rules))
        plans = {**catalog.plans, name: changed}
        return replace(self, services=with_catalog(self.services, Catalog(plans)))

    def at(self, moment: datetime) -> "Shop":
        """The same shop at another time of our clock."""
        return replace(self, services=replace(self.services, clock=lambda: moment))


@contextmanager
def opened_shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """A shop whose prices exist in the sandbox."""
    ids = {
        str(price.lookup_key): create_price(sandbox, price)
        for price in load_catalog(settings.catalog_path).prices()
    }
    with running_services(settings) as services:
        catalog = services.catalog.resolved(ids)
        yield Shop(with_catalog(services, catalog), sandbox)


def with_catalog(services: Services, catalog: Catalog) -> Services:
    """The same services with another catalog."""
    return replace(services, catalog=catalog, roster=replace(services.roster, catalog=catalog))


def create_price(sandbox: Sandbox, price: Price) -> str:
    """Create the price in Stripe as the catalog describes it; returns its id."""
    form: dict[str, Any] = {
        "currency": price.currency,
        "lookup_key": price.lookup_key,
        "recurring[interval]": price.interval,
        "product_data[name]": f"{price.plan} {price.seat_type or 'fee'}",
    }
    if price.model.tiers_mode is None:
        form["unit_amount"] = price.model.unit_minor
    else:
        form |= {"billing_scheme": "tiered", "tiers_mode": price.model.tiers_mode.value}
        for number, tier in enumerate(price.model.tiers):
            form[f"tiers[{number}][up_to]"] = tier.up_to or "inf"
            form[f"tiers[{number}][unit_amount]"] = tier.unit_minor
            if tier.flat_minor:
                form[f"tiers[{number}][flat_amount]"] = tier.flat_minor
    return str(sandbox.post("/v1/prices", form)["id"])


def moment(seconds: int) -> datetime:
    """A Stripe timestamp as a time."""
    return datetime.fromtimestamp(seconds, UTC)
