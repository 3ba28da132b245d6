"""An agency's life: seats that are bought, beside what Stripe has billed for them.

The model knows members and the quantities that were agreed. Everything that was ever billed has to
be what these cost: charged once, credited once, whoever asked for it and whatever came twice.
"""

from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.support.life import DAY_S, LUCK, ORDERS, chance
from tests.support.life_agency_members import BY_ADMIN, MEMBERS, NAMES, POOL, AgencyMembers
from tests.support.life_agency_model import POOLS, PRICES, Kept, Member
from tests.support.roster import add_member

BEHAVIOR = st.sampled_from(["none", "create_prorations"])
# Why active members may outnumber seats: a card, or a count that nobody believes yet.
TOLD = {"payment_declined", "past_due", "counts_suddenly_zero"}


class Agency(AgencyMembers):
    """One agency: who is where, what is bought, what that has cost."""

    PREFIX = "agency"

    @initialize(luck=LUCK, voice=st.integers(1, 3), base=st.integers(1, 3), behavior=BEHAVIOR)
    def subscribe(self, luck: int, voice: int, base: int, behavior: str) -> None:
        """A customer buys, an admin is there; what a life may not meet by chance comes first."""
        hypothesis.assume(luck)
        self.begin("agency")
        self.buy("agency", {"base": 2, "voice": 3}, PRICES)
        self.members: dict[str, Member] = {}
        self.auto_add = False
        self.counted = dict.fromkeys(POOLS, 0)
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
        self.stay_alone("root")
        self.let_in("m0", "activate", by_admin=False)
        self.let_in("m2", "activate", by_admin=False)
        self.accept("m3", by_admin=True)
        self.edit_in_dashboard("voice", 1, behavior)
        self.settle("in order")
        assert self.seats["voice"] == 2, "raised back to who is in"
        self.stay_out()
        self.come_back_late((base, voice))
        self.look((0, -1), None, None, by_admin=True)

    def stay_out(self) -> None:
        """B6 and B15: all Voice seats are taken. Nobody joins there, and a move never buys."""
        self.let_in("m4", "activate", by_admin=False)
        self.set_auto_add(on=True, by_admin=True)
        self.move("root", "voice", by_admin=True)
        self.set_auto_add(on=False, by_admin=True)

    def come_back_late(self, spare: tuple[int, int]) -> None:
        """B1: somebody joins while a preview is looked at; how it is now is shown, and saved."""
        self.look(spare, None, None, by_admin=True)
        kept = self.kept
        assert kept, "a change that fits is shown"
        self.let_in("m1", "activate", by_admin=False)
        late = self.asked("/seat-changes", preview_id=kept.id)
        anew = late.problem(409, "preview_stale")["preview"]
        self.kept = kept._replace(id=anew["id"], total_minor=anew["total_minor"], seen=self.seen())
        self.save(by_admin=True, again=True)
        assert self.seats == kept.seats, "the fresh one is as good as any"

    def teardown(self) -> None:
        """What is open is paid; as it began, it ends with who asks for one seat too few."""
        if self.begun:
            self.change_card(declines=False)
            self.look((-1, 0), None, None, by_admin=True)
            self.look((0, -1), None, None, by_admin=True)
        super().teardown()

    @rule(
        spare=st.tuples(*[st.sampled_from([-1, -1, 0, 0, 1, 3])] * 2),
        interval=st.sampled_from([None, None, None, "month", "year"]),
        mover=st.one_of(st.none(), MEMBERS),
        by_admin=BY_ADMIN,
    )
    def look_and_save(
        self, spare: tuple[int, int], interval: str | None, mover: str | None, by_admin: bool
    ) -> None:
        """Most who look at a change save it at once; `save` is of those who come back."""
        self.look(spare, interval, mover, by_admin)
        if self.kept:
            self.save(by_admin, again=False)

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

    @rule(on=st.booleans(), by_admin=BY_ADMIN)
    def set_auto_add(self, on: bool, by_admin: bool) -> None:
        """B15."""
        by = self.asker(by_admin)
        for pool in POOLS:
            self.asked(f"/auto-add/{pool}", by=by, only=self.may, send="PUT", enabled=on)
        self.auto_add = on

    # --- what happens at Stripe

    @rule(pool=POOL, to=st.integers(1, 6), behavior=BEHAVIOR)
    def edit_in_dashboard(self, pool: str, to: int, behavior: str) -> None:
        """Somebody sets a quantity past the service; its event comes when it is drawn."""
        if self.seats[pool] != to:
            self.shop.edit(self.sub, pool, to, proration_behavior=behavior)
            self.count_on(self.seats | {pool: to}, free=behavior == "none")
            self.behind = True

    @rule(declines=st.booleans())
    def change_card(self, declines: bool) -> None:
        """The card stops working, or works again: then what is open is paid with it."""
        self.give_card(declines=declines)
        if not declines:
            self.settle("in order")

    @rule(days=st.integers(1, 40))
    def wait(self, days: int) -> None:
        """Time passes at Stripe, renewals with it."""
        if days := self.days_to_wait(days):
            self.renew(days * DAY_S)
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
        before = self.counted
        self.sleep()
        self.looked_at(everything=True)
        # Where nothing differs a night does not count.
        self.counted = {pool: max(before[pool], self.counted[pool]) for pool in POOLS}

    def looked_at(self, *, everything: bool) -> None:
        """What had to be raised was; where it could not be charged, a person was told (0009)."""
        there = self.bought()
        floor = {pool: max(self.seats[pool], self.active(pool)) for pool in POOLS}
        assert there in (self.seats, floor), (there, self.seats, floor)
        self.charged(there != self.seats)
        self.count_on(there)
        short = there != floor
        if everything and short:
            told = self.open_findings() & TOLD
            assert told, (there, floor, self.open_findings())
        doubted = self.doubted()
        self.behind = short or (self.behind and (doubted or not everything))
        if not doubted:
            self.counted = {pool: self.active(pool) for pool in POOLS}

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
        if self.begun:
            self.is_billed_once()
