"""What a story tells of one organization: who is invited and joins, what is saved, how time passes.

People's doors are the service's own functions; time is a test clock in the sandbox.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.members.activation import activate
from reconcile.members.inviting import invite
from reconcile.members.joining import Done, Outcome
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Refuse
from reconcile.settling.course import Settled
from reconcile.settling.organizations import settle_organization
from reconcile.store import roster
from reconcile.tables import organizations
from tests.support.roster import add_member
from tests.support.shop import Shop

HOUR_S = 3600
DAY_S = 24 * HOUR_S
# Noon of the first of April 2026: a period of thirty days, half of it is fifteen.
START = 1_775_044_800
ORGANIZATION = "org_1"
HOST = Actor("token:host")


@dataclass(frozen=True)
class Story:
    """One organization, its customer on a test clock of its own."""

    shop: Shop
    clock: str
    customer: str

    def invite(self, member_id: str, *, role: str = "member", seat_type: str | None) -> None:
        """Send an invite, which has to be allowed."""
        asked = invite(
            self.shop.services,
            ORGANIZATION,
            member_id,
            role=role,
            seat_type=seat_type,
            actor=HOST,
        )
        assert isinstance(asked, Done), asked

    def enter(
        self,
        member_id: str,
        *,
        role: str = "member",
        seat_type: str | None,
        status: str = "active",
    ) -> None:
        """The host application's export has this member."""
        with self.shop.services.sessions.begin() as session:
            add_member(
                session, ORGANIZATION, member_id, role=role, seat_type=seat_type, status=status
            )

    def join(self, member_id: str) -> Outcome:
        """The member accepts and signs in."""
        return activate(self.shop.services, ORGANIZATION, member_id, actor=HOST)

    def joins(self, *member_ids: str) -> None:
        """They accept and are let in."""
        for member_id in member_ids:
            outcome = self.join(member_id)
            assert isinstance(outcome, Done), outcome

    def standing_of(self, member_id: str) -> tuple[str, str | None, str]:
        """The member's role, seat type and status."""
        with self.shop.services.sessions() as session:
            found = roster.member(session, ORGANIZATION, member_id)
            assert found is not None
            return found.role, found.seat_type, found.status

    def active(self, seat_type: str) -> int:
        """How many active members hold the seat type."""
        with self.shop.services.sessions() as session:
            return self.shop.services.roster.counts(session, ORGANIZATION).of(seat_type) or 0

    def ask(self, wanted: Wanted) -> Preview:
        """Look at what a save would do; there is a preview."""
        found = seat_change.preview(self.shop.services, ORGANIZATION, wanted, actor=HOST)
        assert isinstance(found, Preview), found
        return found

    def ask_in_vain(self, wanted: Wanted) -> Refuse:
        """Look at what a save would do; it is refused."""
        found = seat_change.preview(self.shop.services, ORGANIZATION, wanted, actor=HOST)
        return refusal(found)

    def save(self, seen: Preview) -> Applied:
        """Confirm what was previewed."""
        done = seat_change.apply(self.shop.services, ORGANIZATION, seen.id, actor=HOST)
        assert isinstance(done, Applied), done
        return done

    def change(self, **columns: Any) -> None:
        """The host application says something new of the organization: its plan, its trial."""
        with self.shop.services.sessions.begin() as session:
            session.execute(
                update(organizations).where(organizations.c.id == ORGANIZATION).values(columns)
            )

    def look(self) -> Settled:
        """A worker looks at the organization as a whole."""
        return settle_organization(self.shop.services, ORGANIZATION, trigger="story")

    def advance(self, to: int) -> None:
        """Let time pass in Stripe."""
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.shop.sandbox.post(path, {"frozen_time": to})

    def wait(self, seconds: int) -> None:
        """Let so much time pass in Stripe."""
        clock = self.shop.sandbox.get(f"/v1/test_helpers/test_clocks/{self.clock}")
        self.advance(int(clock["frozen_time"]) + seconds)

    def period_end(self, subscription_id: str) -> int:
        """When the current period of the subscription ends."""
        found = self.shop.sandbox.get(f"/v1/subscriptions/{subscription_id}")
        return int(found["items"]["data"][0]["current_period_end"])

    def renew(self, subscription_id: str) -> dict[str, Any]:
        """Let the period end and its invoice be charged, an hour later; returns the invoice."""
        self.advance(self.period_end(subscription_id) + 2 * HOUR_S)
        return self.shop.invoices(subscription_id, "subscription_cycle")[-1]


def begun(shop: Shop, plan: str) -> Story:
    """An organization without members, and a customer with a good card."""
    made = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
    clock = str(made["id"])
    return Story(shop, clock, shop.organization(ORGANIZATION, plan=plan, test_clock=clock))


def refusal(outcome: object) -> Refuse:
    """The outcome, which has to be a refusal."""
    assert isinstance(outcome, Refuse), outcome
    return outcome
