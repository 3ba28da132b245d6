"""A workspace's life: every member pays for a seat of their own, and the credits are one pool.

The model knows who is in, which seats Stripe says are paid, and which period of which seat has
granted. A wait is shorter than a period, so that each is seen.
"""

from collections import Counter
from typing import Any, NamedTuple

import hypothesis
import requests
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.support.life import DAY_S, LUCK, ORDERS, Life

NAMES = [f"m{number}" for number in range(4)]
NAME = st.sampled_from(["ann", *NAMES])
# Whether the admin asks, or the host itself.
BY_ADMIN = st.booleans()
ROLE = st.sampled_from(["member", "member", "admin"])
HOW = ["activate", "hand over", "unblock", "invite", "accept", "block", "remove"]
DEED = st.tuples(st.sampled_from(HOW), NAME, ROLE, BY_ADMIN)
CREDITS = 1000
PRICE_MINOR = 9900
A_MINUTE_S = 60
# A renewal is a draft for an hour.
DRAFTED_S = 2 * 3600
# Stripe gives a seat up that is not paid for longer.
MOST_DECLINED_DAYS = 3
PAGE = {
    "success_url": "https://app.example/welcome",
    "cancel_url": "https://app.example/later",
    "paid_by": "organization",
}


class Member(NamedTuple):
    """What is known of a member."""

    role: str
    status: str


class Seat(NamedTuple):
    """What Stripe says of a seat of somebody's own."""

    member: str
    status: str
    ends: int
    cancels: bool

    @property
    def paid(self) -> bool:
        """Whether it is live and paid."""
        return self.status == "active"


class Workspace(Life):
    """One workspace on Pro: its one admin, its members, their seats, what these have granted."""

    PREFIX = "workspace"

    @initialize(luck=LUCK)
    def open(self, luck: int) -> None:
        """The admin has paid, others are invited."""
        hypothesis.assume(luck)
        self.begin("workspace_pro")
        self.members: dict[str, Member] = {}
        self.pages: dict[str, list[str]] = {}
        self.payable: dict[str, str] = {}  # the page that is open, by member
        self.seats: dict[str, Seat] = {}
        self.lapsed: set[str] = set()  # seats whose lapse was told
        self.grants: dict[tuple[str, int], int] = {}
        self.declines, self.declined_days, self.bought = False, 0, 0
        self.asked("/members", id="ann", role="admin").ok()
        self.changed("ann", Member("admin", "invited"), "member.invited")
        self.check_out("ann", by_admin=False)
        self.pay("ann", newest=True)
        for name in NAMES:
            self.invite(name, "member", by_admin=True)
        for how in ("block", "remove"):
            self.leave("ann", how, by_admin=False)
        self.bill_something_else("ann")
        self.the_pool_is_what_was_paid()
        self.renew_late()
        self.hand_over_to_who_pays("m0")

    def hand_over_to_who_pays(self, name: str) -> None:
        """A2 and A3: of two pages the one opened last is open; who pays may become the admin."""
        for _ in range(2):
            self.check_out(name, by_admin=True)
        self.pay(name, newest=False)
        self.pay(name, newest=True)
        self.hand_over(name, by_admin=True)

    def renew_late(self) -> None:
        """A4: neither the draft of a renewal nor a declined one has granted; it does once paid."""
        (seat,) = self.seats.values()
        self.swap_card()
        for seconds in (seat.ends - self.now + A_MINUTE_S, DRAFTED_S):
            self.pass_time(seconds)
            self.deliver()
            self.work()
            self.the_pool_is_what_was_paid()
        self.swap_card()
        self.the_pool_is_what_was_paid()

    def teardown(self) -> None:
        """What is open is paid at the end."""
        if self.begun and self.declines:
            self.swap_card()
        super().teardown()

    def subscriptions(self) -> list[str]:
        """All seats that were ever paid."""
        return sorted(self.seats)

    # --- the model

    def admin(self) -> str:
        """A3: there is exactly one."""
        (found,) = (n for n, m in self.members.items() if m == ("admin", "active"))
        return found

    def people(self) -> list[str]:
        """Those who are in, then those who are not."""
        return sorted(self.members, key=lambda n: (self.members[n].status != "active", n))

    def asker(self, by_admin: bool) -> str | None:
        """The admin, or the host itself."""
        return self.admin() if by_admin else None

    def may(self, name: str) -> bool:
        """A3: the one admin handles invites and settings."""
        return self.members[name] == ("admin", "active")

    def seats_of(self, name: str) -> list[Seat]:
        """Those of the member that are not over."""
        mine = [s for s in self.seats.values() if s.member == name]
        return [s for s in mine if s.status != "canceled"]

    def has_paid(self, name: str) -> bool:
        """Whether a seat of theirs is live and paid."""
        return any(seat.paid for seat in self.seats_of(name))

    def changed(self, name: str, after: Member, action: str) -> None:
        """A member is now so; what changed nothing is in no audit trail."""
        if self.members.get(name) != after:
            self.did(action, name)
        self.members[name] = after

    # --- what the host application asks

    @rule(deeds=st.lists(DEED, min_size=1, max_size=3))
    def members_do(self, deeds: list[tuple[str, str, str, bool]]) -> None:
        """Members come, go and change: one rule, so that no life is without one of them."""
        for how, name, role, by_admin in deeds:
            match how:
                case "invite":
                    self.invite(name, role, by_admin)
                case "accept" | "activate" | "unblock":
                    self.let_in(name, how, by_admin)
                case "hand over":
                    self.hand_over(name, by_admin)
                case _:
                    self.leave(name, how, by_admin)

    def invite(self, name: str, role: str, by_admin: bool) -> None:
        """A3: one admin is enough."""
        was, wanted = self.members.get(name), Member(role, "invited")
        by = self.asker(by_admin)
        answer = self.asked("/members", by=by, only=self.may, id=name, role=role)
        known = was is not None and was.status != "removed"
        assert (answer.status == 200) == (was == wanted if known else role == "member"), answer.text
        if answer.status == 200:
            self.changed(name, wanted, "member.invited")

    def let_in(self, name: str, how: str, by_admin: bool) -> None:
        """A2: the seat joins on payment, not on the click."""
        was, by = self.members[name], self.asker(by_admin)
        own = how != "unblock"
        answer = self.asked(
            f"/members/{name}/{how}", by=by, only=lambda n: self.may(n) or (own and n == name)
        )
        fits = {"unblock": {"blocked"}}.get(how, {"invited", "pending"})
        if was.status not in fits or (how, was.status) == ("accept", "pending"):
            return
        assert (answer.status == 200) == (how == "accept" or self.has_paid(name)), answer.text
        if answer.status == 200:
            after, action = ("pending", "accepted") if how == "accept" else ("active", "activated")
            self.changed(name, was._replace(status=after), f"member.{action}")
        self.settle("in order")

    def leave(self, name: str, how: str, by_admin: bool) -> None:
        """A3: the admin stays."""
        was, by = self.members[name], self.asker(by_admin)
        answer = self.asked(f"/members/{name}/{how}", by=by, only=self.may)
        if answer.status == 200:
            assert was != ("admin", "active"), answer.text
            gone, action = {"block": ("blocked", "blocked"), "remove": ("removed", "removed")}[how]
            if was.status != gone:
                self.payable.pop(name, None)
            self.changed(name, was._replace(status=gone), f"member.{action}")
        self.settle("in order")

    def hand_over(self, to: str, by_admin: bool) -> None:
        """A3: both change in one operation, and there is one admin before and after."""
        admin = self.admin()
        answer = self.passed_on("admin", admin, to, by=self.asker(by_admin))
        fits = to != admin and self.members[to].status == "active"
        assert (answer.status == 200) == fits, answer.text
        if fits:
            self.changed(to, Member("admin", "active"), "admin.transferred")
            self.changed(admin, Member("member", "active"), "admin.transferred")

    @rule(name=NAME, by_admin=BY_ADMIN)
    def check_out(self, name: str, by_admin: bool) -> None:
        """A page to pay on, for whoever has no seat; the workspace pays if the admin says so."""
        was, by = self.members[name], self.asker(by_admin)
        answer = self.asked(f"/members/{name}/checkout", by=by, only=self.may, **PAGE)
        free = was.status != "removed" and not self.seats_of(name)
        assert (answer.status == 201) == free, answer.text
        if answer.status == 201:
            self.payable[name] = str(answer["id"])
            self.pages.setdefault(name, []).append(self.payable[name])
            self.did("member.checkout_opened", name)

    # --- what happens at Stripe

    @precondition(lambda self: not self.declines and any(self.pages.values()))
    @rule(name=NAME, newest=st.booleans())
    def pay(self, name: str, newest: bool) -> None:
        """The member pays, on the page that is open: the last one, while they are to pay at all."""
        pages = self.pages.get(name, [])
        if not pages:
            return
        page = pages[-1 if newest else 0]
        try:
            paid = self.shop.sandbox.control(f"/checkout/{page}/complete")
        except requests.HTTPError:
            assert page != self.payable.get(name), "the page that is for the member is open"
            return
        assert page == self.payable.pop(name, None), "nobody needs the page, and it is open"
        self.pages[name] = []
        self.bought += 1
        self.seats[str(paid["subscription"])] = Seat(name, "active", 0, cancels=False)
        self.settle("in order")

    def seat(self, name: str) -> str | None:
        """The member's seat that is not over."""
        mine = [i for i, s in self.seats.items() if (s.member, s.paid) == (name, True)]
        return mine[0] if mine else None

    @rule(name=NAME, at_once=st.booleans(), order=st.sampled_from(ORDERS))
    def cancel(self, name: str, at_once: bool, order: str) -> None:
        """Somebody cancels the seat in Stripe, at once or at the end of what is paid."""
        sub = self.seat(name)
        if sub and at_once:
            self.shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
        elif sub:
            form = {"cancel_at_period_end": "true"}
            self.shop.sandbox.post(f"/v1/subscriptions/{sub}", form)
        if sub:
            self.settle(order)

    @rule(name=NAME)
    def bill_something_else(self, name: str) -> None:
        """A4: an invoice in the middle of a period grants nothing."""
        sub = self.seat(name)
        if not sub or self.declines:
            return
        stripe, named = self.shop.sandbox, {"customer": self.customer, "subscription": sub}
        stripe.post("/v1/invoiceitems", named | {"amount": 500, "currency": "usd"})
        made = stripe.post("/v1/invoices", named)
        stripe.post(f"/v1/invoices/{made['id']}/pay")
        # One that the subscription's own update makes, which Stripe calls its latest.
        (item,) = stripe.get(f"/v1/subscriptions/{sub}")["items"]["data"]
        for quantity, behavior in ((2, "always_invoice"), (1, "none")):
            form = {"items[0][id]": item["id"], "items[0][quantity]": str(quantity)}
            stripe.post(f"/v1/subscriptions/{sub}", form | {"proration_behavior": behavior})
        self.settle("twice")

    @rule()
    def swap_card(self) -> None:
        """The card stops working; or another comes, and what is open is paid with it."""
        self.declines = not self.declines
        self.card(declines=self.declines)
        if not self.declines:
            self.declined_days = 0
            for invoice in self.invoices():
                if invoice["status"] == "open":
                    self.shop.sandbox.post(f"/v1/invoices/{invoice['id']}/pay")
        self.settle("in order")

    @rule(days=st.sampled_from([1, 9, 25]))
    def wait(self, days: int) -> None:
        """Time passes at Stripe, renewals with it."""
        if self.declines:
            days = min(days, MOST_DECLINED_DAYS - self.declined_days)
            self.declined_days += days
        if days:
            # Not on the hour in which a renewal is a draft.
            self.pass_time(days * DAY_S)
            self.settle("in order")

    @rule(order=st.sampled_from(ORDERS))
    def settle(self, order: str) -> None:
        """A2 and A4: paid is in; each paid period of a member who is in grants once."""
        self.deliver(order)
        self.work()
        # What is late comes at once: which of two events came first is told to the model by Stripe.
        self.deliver()
        self.work()
        for sub, known in self.seats.items():
            self.seats[sub] = self.there(sub, known)
        for name, member in self.members.items():
            if member.status in {"invited", "pending"} and self.has_paid(name):
                self.changed(name, member._replace(status="active"), "member.activated")
        for sub, seat in self.seats.items():
            if seat.paid and self.members[seat.member].status == "active":
                self.grants.setdefault((sub, seat.ends), CREDITS)
        self.now_lapsed()

    def now_lapsed(self) -> None:
        """Seats that are not paid any more."""
        self.lapsed |= {sub for sub, seat in self.seats.items() if not seat.paid}

    def there(self, sub: str, known: Seat) -> Seat:
        """The seat as Stripe has it."""
        found: dict[str, Any] = self.shop.sandbox.get(f"/v1/subscriptions/{sub}")
        ends = int(found["items"]["data"][0]["current_period_end"])
        return Seat(known.member, found["status"], ends, found["cancel_at_period_end"])

    # --- what always holds

    @invariant()
    def it_is_as_it_was_answered(self) -> None:
        """Whoever was answered is where the answer said, and the audit trail tells it once."""
        if self.begun:
            wanted = {n: (m.role, "pro", m.status) for n, m in self.members.items()}
            assert self.listed() == wanted
            assert self.audited() == self.deeds
            assert self.admin()

    @invariant()
    def the_pool_is_what_was_paid(self) -> None:
        """A4: one grant a seat and period, and the pool is those that are live."""
        if not self.begun:
            return
        grants = Counter(
            (g["subscription_id"], g["credits"]) for g in self.read("/credits/grants")["data"]
        )
        assert grants == Counter((sub, n) for (sub, _), n in self.grants.items())
        live = sum(n for (_, ends), n in self.grants.items() if ends > self.present.at_s)
        assert self.read("/credits")["pool"] == live

    @invariant()
    def whoever_does_not_fit_is_seen(self) -> None:
        """Findings of members without a seat and of seats without a member, and a lapse is told."""
        if not self.begun:
            return
        active = {n for n, m in self.members.items() if m.status == "active"}
        paid = {seat.member for seat in self.seats.values() if seat.paid}
        found = self.open_findings()
        assert ("member_without_seat" in found) == bool(active - paid), found
        assert ("seat_without_member" in found) == bool(paid - active), found
        assert self.told().get("seat.lapsed", 0) >= len(self.lapsed), self.told()

    @invariant()
    def each_seat_is_paid_once_a_period(self) -> None:
        """No two seats of one member are paid."""
        if self.begun:
            paid = Counter(seat.member for seat in self.seats.values() if seat.paid)
            assert max(paid.values(), default=0) <= 1, paid
