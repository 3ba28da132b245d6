"""An agency's people: who is in, who may ask for what, and what letting somebody in buys.

The part of the model that knows members; what is bought and billed is `life_agency`'s.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.life_agency_model import POOLS, Member
from tests.support.life_billed import Billed

NAMES = [f"m{number}" for number in range(5)]
MEMBERS = st.sampled_from(["root", *NAMES])
BY_ADMIN = st.booleans()  # or the host itself asks
POOL = st.sampled_from(POOLS)
ROLE = st.sampled_from(["admin", "member"])
HOW = [
    "activate",
    "unblock",
    "change role",
    "move",
    "invite",
    "accept",
    "block",
    "remove",
    "revoke",
]
DEED = st.tuples(st.sampled_from(HOW), MEMBERS, ROLE, POOL, BY_ADMIN)


class AgencyMembers(Billed):
    """Members of an agency, and the seats that they take."""

    members: dict[str, Member]
    auto_add: bool
    counted: dict[str, int]

    # --- the model

    def active(self, pool: str) -> int:
        """Active members on it."""
        return sum((m.pool, m.status) == (pool, "active") for m in self.members.values())

    def doubted(self) -> bool:
        """Whether a pool lost several since it was last counted: then no seats are added at all."""
        return any(self.active(pool) == 0 and self.counted[pool] > 1 for pool in POOLS)

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

    # --- what the host application asks

    @rule(deeds=st.lists(DEED, min_size=2, max_size=4))
    def members_do(self, deeds: list[tuple[str, str, str, str, bool]]) -> None:
        """Members come, go and change: one rule, so that no life is without one of them."""
        for how, name, role, pool, by_admin in deeds:
            match how:
                case "invite":
                    self.invite(name, role, pool, by_admin)
                case "accept":
                    self.accept(name, by_admin)
                case "activate" | "unblock":
                    self.let_in(name, how, by_admin)
                case "change role":
                    self.change_role(name, role, by_admin)
                case "move":
                    self.move(name, pool, by_admin)
                case _:
                    self.leave(name, how, by_admin)

    def invite(self, name: str, role: str, pool: str, by_admin: bool) -> None:
        """B12: an invite counts nothing; the same one again is none."""
        wanted, was = Member(role, pool, "invited"), self.members[name]
        by = self.asker(by_admin)
        body: dict[str, Any] = {"id": name, "role": role, "seat_type": pool}
        answer = self.asked("/members", by=by, only=self.may, **body)
        if answer.status == 200:
            assert was == wanted or was.status == "removed", answer.text
            self.changed(name, wanted, "member.invited")

    def accept(self, name: str, by_admin: bool) -> None:
        """C3: checked like an activation, and takes nothing."""
        was = self.members[name]
        by = self.asker(by_admin)
        answer = self.asked(f"/members/{name}/accept", by=by, only=self.may_for(name))
        if answer.status == 200 and was.status != "pending":
            assert was.status in {"invited", "active"}, answer.text
            after = "pending" if was.status == "invited" else "active"
            self.changed(name, was._replace(status=after), "member.accepted")

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
            if full and (not self.behind or self.bought() != self.seats):
                self.charged(now=True)
                self.count_on(self.seats | {was.pool: self.seats[was.pool] + 1})
        elif was.status in fits and not self.behind:
            assert not room or (full and self.doubted()), answer.text

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

    def stay_alone(self, name: str) -> None:
        """B8: whoever is the only admin cannot go, and cannot become something else."""
        for how in ("block", "remove"):
            self.leave(name, how, by_admin=False)
        self.change_role(name, "member", by_admin=False)

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
