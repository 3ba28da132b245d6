"""What a story tells of one organization, in the words of its host application.

Everything is asked of the API; customers buy and time passes in Stripe.
"""

from dataclasses import dataclass
from typing import Any

from tests.support.api import Reply
from tests.support.installation import Installation
from tests.support.shop import Shop


@dataclass(frozen=True)
class Story:
    """One organization, and its customer on the installation's clock."""

    here: Installation
    id: str
    customer: str

    @property
    def shop(self) -> Shop:
        """Stripe's side of it."""
        return self.here.shop

    def get(self, path: str = "", **query: Any) -> Reply:
        """Read something of the organization."""
        return self.here.api.get(f"/organizations/{self.id}{path}", **query).ok(200)

    def ask(self, path: str, *, by: str | None = None, **body: Any) -> Reply:
        """Ask for something, as a member (`by`) or as the host application itself."""
        asked = f"/organizations/{self.id}{path}"
        self.here.settle_down()
        return self.here.api.post(asked, body | ({"acting_member_id": by} if by else {}))

    def put(self, path: str, *, by: str | None = None, **body: Any) -> Reply:
        """Set something."""
        self.here.settle_down()
        named = {"acting_member_id": by} if by else {}
        return self.here.api.put(f"/organizations/{self.id}{path}", **body, **named)

    def change(self, **values: Any) -> None:
        """The host application says something new of the organization: its plan, its trial."""
        self.here.api.patch(f"/organizations/{self.id}", **values).ok(200)
        self.here.settle_down()

    def uses(self, month: str, **usage: Any) -> None:
        """The host application tells what was sold in a month."""
        self.put(f"/usage/{month}", **usage).ok()
        self.here.settle_down()

    def invite(
        self,
        member_id: str,
        *,
        role: str = "member",
        seat_type: str | None = None,
        by: str | None = None,
    ) -> Reply:
        """A member is invited."""
        return self.ask("/members", by=by, id=member_id, role=role, seat_type=seat_type)

    def accept(self, member_id: str) -> Reply:
        """The invitee clicks the link."""
        return self.ask(f"/members/{member_id}/accept", by=member_id)

    def sign_in(self, member_id: str) -> Reply:
        """The member's first login."""
        return self.ask(f"/members/{member_id}/activate", by=member_id)

    def joins(self, *member_ids: str) -> None:
        """They accept, sign in and are let in."""
        for member_id in member_ids:
            self.accept(member_id).ok()
            self.sign_in(member_id).ok(200)

    def do(self, deed: str, member_id: str, *, by: str | None = None, **body: Any) -> Reply:
        """Something is done to a member: block, unblock, remove, revoke, ..."""
        return self.ask(f"/members/{member_id}/{deed}", by=by, **body)

    def member(self, member_id: str) -> tuple[str, str | None, str]:
        """The member's role, seat type and status."""
        found = self.get(f"/members/{member_id}")
        return found["role"], found["seat_type"], found["status"]

    def seats(self, seat_type: str) -> dict[str, Any]:
        """One seat type of the organization: bought, active, free, limits."""
        (found,) = (s for s in self.get()["seats"] if s["seat_type"] == seat_type)
        return dict(found)

    def preview(self, *, by: str = "ada", **wanted: Any) -> Reply:
        """Look at what a save would do and cost."""
        return self.ask("/seat-changes/preview", by=by, **wanted)

    def save(self, seen: Reply, *, by: str = "ada") -> Reply:
        """Confirm what was previewed."""
        return self.ask("/seat-changes", by=by, preview_id=seen["id"]).ok()

    def listed(self, noun: str, **query: Any) -> list[dict[str, Any]]:
        """What there is of the organization, newest first: `adjustments`, `notices`, ..."""
        self.here.settle_down()
        found = self.here.api.get(f"/{noun}", organization_id=self.id, limit=100, **query)
        return list(found.ok(200)["data"])

    def findings(self) -> set[str]:
        """The kinds of what is open."""
        return {one["kind"] for one in self.listed("findings", state="open")}

    def notices(self) -> list[str]:
        """The types of what the host was told, oldest first."""
        return [one["type"] for one in reversed(self.listed("notices"))]

    def audited(self) -> list[tuple[str, str, str]]:
        """Who did what to whom, oldest first."""
        entries = reversed(self.listed("audit"))
        return [(one["actor"], one["action"], one["subject"]) for one in entries]

    def subscribes(self, quantities: dict[str, int], *, plan: str, **more: Any) -> str:
        """The customer buys in Stripe; returns when the webhooks were worked off."""
        bought = self.shop.subscribe(
            self.customer, quantities, plan=plan, organization_id=self.id, **more
        )
        self.here.settle_down()
        return bought

    def totals(self, subscription_id: str) -> list[int]:
        """What each change of seats was invoiced, oldest first."""
        invoices = self.shop.invoices(subscription_id, "subscription_update")
        return [invoice["total"] for invoice in invoices]


def begun(here: Installation, organization_id: str, plan: str, *, trial: bool = False) -> Story:
    """The host application makes the organization; its customer has a good card."""
    card = "pm_card_visa"
    customer = here.sandbox.post(
        "/v1/customers",
        {
            "payment_method": card,
            "invoice_settings[default_payment_method]": card,
            "test_clock": here.clock,
        },
    )
    here.api.post(
        "/organizations",
        id=organization_id,
        name=organization_id.title(),
        plan=plan,
        stripe_customer_id=customer["id"],
        trial=trial,
    ).ok(201)
    return Story(here, organization_id, str(customer["id"]))


def refused(reply: Reply, code: str) -> Reply:
    """The reply, which has to be a refusal of this code, with ways out."""
    assert reply.status in (402, 403, 409), f"{reply.status} {reply.text}"
    assert reply["code"] == code, reply.text
    assert reply["remedies"], reply.text
    return reply
