"""An agency's life: seats that are bought, beside what Stripe has billed for them.

The model knows members and the quantities that were agreed. Everything that was ever billed has to
be what these cost: charged once, credited once, whoever asked for it and whatever came twice.
"""

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.support.life import DAY_S, LUCK, ORDERS, Life, chance
from tests.support.life_agency_model import POOLS, Bill, Kept, Member
from tests.support.roster import add_member

NAMES = [f"m{number}" for number in range(5)]
MEMBERS = st.sampled_from(["root", *NAMES])
BY_ADMIN = st.booleans()  # or the host itself asks
POOL = st.sampled_from(POOLS)
ROLE = st.sampled_from(["admin", "member"])
MOST_CHARGES_A_DAY = 15
# A card that does not work is not left so for longer: Stripe would give the subscription up.
MOST_DECLINED_DAYS = 3


class Agency(Life):
    """One agency: who is where, what is bought, what that has cost."""

    PREFIX = "agency"

    @initialize(luck=LUCK, voice=st.integers(2, 4), base=st.integers(1, 3))
    def subscribe(self, luck: int, voice: int, base: int) -> None:
        """A customer buys, an admin is there, and Stripe's events have been worked off."""
        hypothesis.assume(luck)
        self.begin("agency")
        self.seats = {"base": base, "voice": voice}
        bought = {"organization_id": self.organization, "plan": "agency"}
        self.sub = self.shop.subscribe(self.customer, self.seats, **bought)
        self.bill = Bill(self.period_there())
        self.bill.begin_period(self.seats)
        self.members: dict[str, Member] = {}
        self.auto_add = self.declines = self.behind = False
        self.declined_days = self.charged_today = self.updates = self.cycles = 0
        self.kept: Kept | None = None
        self.deliver()
        self.work()
        self.asked("/members", id="root", role="admin", seat_type="base").ok()
        self.asked("/members/root/activate").ok(200)
        self.did("member.invited", "root")
        self.did("member.activated", "root")
        self.members["root"] = Member("admin", "base", "active")
        for number, name in enumerate(NAMES):
            member = Member(("admin", "member")[number > 1], POOLS[(number + 1) % 2], "invited")
            named = {"role": member.role, "seat_type": member.pool, "status": member.status}
            with self.shop.services.sessions.begin() as session:
                add_member(session, self.organization, name, **named)
            self.members[name] = member
        self.let_in("m0", "activate", by_admin=False)
        self.let_in("m2", "activate", by_admin=False)
        self.look((0, -1), None, None, by_admin=True)

    def teardown(self) -> None:
        """As it began, it ends with somebody who asks for one seat too few, of each pool."""
        for spare in ((-1, 0), (0, -1)):
            if self.begun:
                self.look(spare, None, None, by_admin=True)
        super().teardown()

    def subscriptions(self) -> list[str]:
        """The one there is."""
        return [self.sub]

    # --- the model

    def active(self, pool: str) -> int:
        """Active members on it."""
        return sum((m.pool, m.status) == (pool, "active") for m in self.members.values())

    def admins(self) -> int:
        """Active admins."""
        return sum((m.role, m.status) == ("admin", "active") for m in self.members.values())

    def people(self) -> list[str]:
        """Those who are in, then those who are not, admins before others."""
        known = self.members
        return sorted(known, key=lambda n: (known[n].status != "active", known[n].role, n))

    def may(self, name: str) -> bool:
        """An active admin may most things."""
        return (self.members[name].role, self.members[name].status) == ("admin", "active")

    def may_for(self, name: str) -> Callable[[str], bool]:
        """What is one's own, everybody may."""
        return lambda asker: asker == name or self.may(asker)

    def asker(self, by_admin: bool) -> str | None:
        """An admin, or the host itself."""
        return next(filter(self.may, self.people())) if by_admin else None

    def seen(self) -> tuple[object, ...]:
        """What a preview is bound to."""
        return (self.seats, self.bill.interval, [self.active(pool) for pool in POOLS], self.now)

    def count_on(
        self, seats: dict[str, int], *, interval: str | None = None, free: bool = False
    ) -> None:
        """From now on it is so many."""
        if not free:
            self.bill.change(self.seats, seats, self.now, interval)
        if interval:
            self.bill.period = self.period_there()
        self.seats = dict(seats)

    # --- Stripe's side of it

    def period_there(self) -> tuple[int, int]:
        """The period that Stripe bills."""
        found = self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["items"]["data"][0]
        return int(found["current_period_start"]), int(found["current_period_end"])

    def bought(self) -> dict[str, int]:
        """What Stripe has."""
        return self.shop.quantities(self.sub)

    def may_raise(self) -> bool:
        """Whether nothing stands in the way of a charge: a card, a renewal that was not paid."""
        past_due = self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["status"] != "active"
        return not (self.declines or past_due or self.charged_today >= MOST_CHARGES_A_DAY)

    # --- what the host application asks

    @rule(name=MEMBERS, role=ROLE, pool=POOL, by_admin=BY_ADMIN)
    def invite(self, name: str, role: str, pool: str, by_admin: bool) -> None:
        """B12: an invite counts nothing; the same one again is none."""
        wanted, was = Member(role, pool, "invited"), self.members[name]
        by = self.asker(by_admin)
        body: dict[str, Any] = {"id": name, "role": role, "seat_type": pool}
        answer = self.asked("/members", by=by, only=self.may, **body)
        if answer.status == 200:
            assert was == wanted or was.status == "removed", answer.text
            self.changed(name, wanted, "member.invited")

    @rule(name=MEMBERS, by_admin=BY_ADMIN)
    def accept(self, name: str, by_admin: bool) -> None:
        """C3: checked like an activation, and takes nothing."""
        was = self.members[name]
        by = self.asker(by_admin)
        answer = self.asked(f"/members/{name}/accept", by=by, only=self.may_for(name))
        if answer.status == 200 and was.status != "pending":
            assert was.status in {"invited", "active"}, answer.text
            after = "pending" if was.status == "invited" else "active"
            self.changed(name, was._replace(status=after), "member.accepted")

    @rule(name=MEMBERS, how=st.sampled_from(["activate", "unblock"]), by_admin=BY_ADMIN)
    def let_in(self, name: str, how: str, by_admin: bool) -> None:
        """The activation table, as far as an agency meets it."""
        was = self.members[name]
        only, by = self.may_for(name) if how == "activate" else self.may, self.asker(by_admin)
        full = self.active(was.pool) >= self.seats[was.pool]
        room = not full or (self.auto_add and self.may_raise())
        answer = self.asked(f"/members/{name}/{how}", by=by, only=only)
        fits = {"activate": {"invited", "pending"}, "unblock": {"blocked"}}[how]
        if answer.status == 200 and was.status != "active":
            assert was.status in fits, answer.text
            assert room or self.behind, answer.text
            self.changed(name, was._replace(status="active"), "member.activated")
            if full and not self.behind:
                self.charged(now=True)
                self.count_on(self.seats | {was.pool: self.seats[was.pool] + 1})
        elif was.status in fits and not self.behind:
            assert not room, answer.text

    @rule(name=MEMBERS, how=st.sampled_from(["block", "remove", "revoke"]), by_admin=BY_ADMIN)
    def leave(self, name: str, how: str, by_admin: bool) -> None:
        """B8 and B14: the last admin stays, the quantity stays."""
        was = self.members[name]
        joined = how == "revoke" and was.status in {"active", "blocked"}
        only, by = None if joined else self.may, self.asker(by_admin)
        answer = self.asked(f"/members/{name}/{how}", by=by, only=only)
        last = (was.role, was.status) == ("admin", "active") and self.admins() == 1
        if answer.status == 200:
            assert not last, answer.text
            gone = "blocked" if how == "block" else "removed"
            action = {"block": "blocked", "remove": "removed", "revoke": "revoked"}[how]
            self.changed(name, was._replace(status=gone), f"member.{action}")

    @rule(name=MEMBERS, role=ROLE, by_admin=BY_ADMIN)
    def change_role(self, name: str, role: str, by_admin: bool) -> None:
        """B8: an admin is always there."""
        was = self.members[name]
        by = self.asker(by_admin)
        answer = self.asked(f"/members/{name}/role", by=by, only=self.may, role=role)
        last = (was.role, was.status, role) == ("admin", "active", "member") and self.admins() == 1
        if answer.status == 200:
            assert not last, answer.text
            self.changed(name, was._replace(role=role), "member.role_changed")
        else:
            assert last or was.status == "removed", answer.text

    @rule(name=MEMBERS, pool=POOL, by_admin=BY_ADMIN)
    def move(self, name: str, pool: str, by_admin: bool) -> None:
        """B6: needs a free seat there, and writes nothing to Stripe."""
        was, writes = self.members[name], self.shop.writes(self.sub)
        room = self.active(pool) < self.seats[pool] or pool == was.pool or was.status != "active"
        by = self.asker(by_admin)
        answer = self.asked(f"/members/{name}/seat-type", by=by, only=self.may, seat_type=pool)
        if answer.status == 200:
            assert room or self.behind, answer.text
            self.changed(name, was._replace(pool=pool), "member.seat_type_changed")
        elif not self.behind:
            assert not room or was.status == "removed", answer.text
        assert self.shop.writes(self.sub) == writes

    def other(self, name: str) -> str:
        """The pool that the member is not on."""
        return POOLS[1 - POOLS.index(self.members[name].pool)]

    def changed(self, name: str, after: Member, action: str) -> None:
        """A member is now so; what changed nothing is in no audit trail."""
        if self.members[name] != after:
            self.did(action, name)
        self.members[name] = after

    @rule(
        spare=st.tuples(*[st.sampled_from([-1, -1, 0, 0, 1, 3])] * 2),
        interval=st.sampled_from([None, None, None, "month", "year"]),
        mover=st.one_of(st.none(), MEMBERS),
        by_admin=BY_ADMIN,
    )
    def look(
        self, spare: tuple[int, int], interval: str | None, mover: str | None, by_admin: bool
    ) -> None:
        """B1: a preview writes nothing; B5 and B7: none below who is active after it."""
        if mover and self.members[mover].status != "active":
            mover = None
        after = {pool: self.active(pool) for pool in POOLS}
        moves = []
        if mover:
            there = self.other(mover)
            moves = [{"member_id": mover, "to_seat_type": there}]
            after[self.members[mover].pool] -= 1
            after[there] += 1
        wanted = {p: max(0, after[p] + more) for p, more in zip(POOLS, spare, strict=True)}
        by = self.asker(by_admin)
        body: dict[str, Any] = {"quantities": wanted, "moves": moves, "interval": interval}
        answer = self.asked("/seat-changes/preview", by=by, only=self.may, **body)
        floor = all(wanted[pool] >= after[pool] for pool in POOLS)
        if answer.status == 201:
            assert floor, answer.text
            after_it = interval or self.bill.interval
            self.kept = Kept(
                answer["id"], answer["total_minor"], wanted, after_it, mover, self.seen()
            )
        elif floor and wanted["base"] and self.may_raise() and not self.behind:
            same = wanted == self.seats and not mover and interval in {None, self.bill.interval}
            assert same, answer.text

    @precondition(lambda self: self.kept)
    @rule(by_admin=BY_ADMIN, again=chance(3))
    def save(self, by_admin: bool, again: bool) -> None:
        """What was shown is what is done, on what it was shown of; or nothing happens."""
        kept = self.kept
        assert kept
        fresh = kept.seen == self.seen() and not self.behind
        before, by = self.bought(), self.asker(by_admin)
        answer = self.asked("/seat-changes", by=by, only=self.may, preview_id=kept.id)
        if answer.status != 201:
            assert self.bought() == before, answer.text
            if fresh:
                assert not self.may_raise(), answer.text
            return
        assert fresh or self.behind, answer.text
        assert answer["total_minor"] in {None, kept.total_minor}, answer.text
        self.kept = None
        self.applied(kept)
        if again:
            self.asked("/seat-changes", by=by, preview_id=kept.id).ok(201)

    def applied(self, kept: Kept) -> None:
        """The seats are as they were shown, and whoever moves has moved."""
        if kept.mover:
            after = self.members[kept.mover]._replace(pool=self.other(kept.mover))
            self.changed(kept.mover, after, "member.seat_type_changed")
        switched = kept.interval if kept.interval != self.bill.interval else None
        self.charged(switched or any(kept.seats[pool] > self.seats[pool] for pool in POOLS))
        self.count_on(kept.seats, interval=switched)
        self.behind = False

    def charged(self, now: object) -> None:
        """B2 and B3: what is added is an invoice at once, what is only removed is none."""
        self.charged_today += bool(now)
        self.updates += bool(now)

    @rule(on=st.booleans(), by_admin=BY_ADMIN)
    def set_auto_add(self, on: bool, by_admin: bool) -> None:
        """B15."""
        by = self.asker(by_admin)
        for pool in POOLS:
            self.asked(f"/auto-add/{pool}", by=by, only=self.may, send="PUT", enabled=on)
        self.auto_add = on

    # --- what happens at Stripe

    @rule(pool=POOL, to=st.integers(1, 6), behavior=st.sampled_from(["none", "create_prorations"]))
    def edit_in_dashboard(self, pool: str, to: int, behavior: str) -> None:
        """Somebody sets a quantity past the service; its event comes when it is drawn."""
        if self.seats[pool] != to:
            self.shop.edit(self.sub, pool, to, proration_behavior=behavior)
            self.count_on(self.seats | {pool: to}, free=behavior == "none")
            self.behind = True

    @rule(declines=st.booleans())
    def change_card(self, declines: bool) -> None:
        """The card stops working, or works again: then what is open is paid with it."""
        self.card(declines=declines)
        self.declines = declines
        if not declines:
            self.declined_days = 0
            for invoice in self.invoices():
                if invoice["status"] == "open":
                    self.shop.sandbox.post(f"/v1/invoices/{invoice['id']}/pay")
            self.settle("in order")

    @rule(days=st.integers(1, 40))
    def wait(self, days: int) -> None:
        """Time passes at Stripe, renewals with it."""
        if self.declines:
            days = min(days, MOST_DECLINED_DAYS - self.declined_days)
            self.declined_days += days
        if not days:
            return
        self.pass_time(days * DAY_S)
        self.charged_today = 0
        cycles = sum(i["billing_reason"] == "subscription_cycle" for i in self.invoices())
        for _ in range(cycles - self.cycles):
            self.bill.begin_period(self.seats)
        self.cycles, self.bill.period = cycles, self.period_there()
        self.settle("in order")

    @rule(order=st.sampled_from(ORDERS))
    def settle(self, order: str) -> None:
        """Webhooks come in and are worked off; B5 and 0009: below the floor is raised back."""
        self.deliver(order)
        self.work()
        self.looked_at(everything=not self.held_back)

    @precondition(lambda self: self.behind)
    @rule()
    def night(self) -> None:
        """A nightly run finds the same without a webhook."""
        self.sleep()
        self.looked_at(everything=True)

    def looked_at(self, *, everything: bool) -> None:
        """What had to be raised was; where it could not be charged, a person was told (0009)."""
        there = self.bought()
        floor = {pool: max(self.seats[pool], self.active(pool)) for pool in POOLS}
        assert there in (self.seats, floor), (there, self.seats, floor)
        self.charged(there != self.seats)
        self.count_on(there)
        short = there != floor
        if everything and short:
            told = self.open_findings() & {"payment_declined", "past_due"}
            assert told, (there, floor, self.open_findings())
        self.behind = short or (self.behind and not everything)

    # --- what always holds

    @invariant()
    def it_is_as_it_was_answered(self) -> None:
        """Whoever was answered is where the answer said, audited once; B8: an admin is there."""
        if self.begun:
            assert self.admins() >= 1
            assert self.listed() == self.members
            assert self.audited() == self.deeds

    @invariant()
    def stripe_has_what_was_agreed(self) -> None:
        """B5: and not fewer than are active, as long as nobody edited past the service."""
        if self.begun:
            there = self.bought()
            assert there == self.seats, (there, self.seats)
            assert self.behind or all(self.active(pool) <= there[pool] for pool in POOLS)

    @invariant()
    def it_is_billed_once(self) -> None:
        """B2, B3, B4, B10: all that was ever billed is what the seats have cost."""
        if not self.begun:
            return
        billed = [i for i in self.invoices() if i["status"] != "void"]
        query = {"customer": self.customer, "pending": "true", "limit": 100}
        updates = sum(i["billing_reason"] == "subscription_update" for i in billed)
        assert updates == self.updates, (updates, self.updates)
        waiting = self.shop.sandbox.get("/v1/invoiceitems", **query)["data"]
        total = sum(i["total"] for i in billed) + sum(item["amount"] for item in waiting)
        # Each line is rounded on its own.
        lines = sum(len(i["lines"]["data"]) for i in billed) + len(waiting)
        assert abs(total - self.bill.owed) <= lines, (total, float(self.bill.owed), self.seats)
