"""A shop's life: seats that the plan includes, an owner, and a review that has thirty days.

The model knows roles, the limits of the three plans, and the clock of the review. Nothing is ever
written to Stripe for it.
"""

from collections import Counter
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.support.life import DAY_S, LUCK, ORDERS, Life, chance
from tests.support.life_commerce_model import (
    CAPS,
    GRACE_S,
    INCLUDED,
    MERGED,
    MONTHS,
    MOST_ORDERS,
    PLANS,
    REMINDER_DAYS,
    Member,
)
from tests.support.roster import import_members

NAMES = [f"m{number}" for number in range(5)]
NAME = st.sampled_from(["kim", *NAMES])
ROLE = st.sampled_from(["admin", "sales_rep", "admin", "sales_rep", "owner"])
# Whether the owner asks, or the host itself.
BY_OWNER = st.booleans()
HOW = ["activate", "change role", "pass on", "unblock", "invite", "accept"]
HOW += ["block", "remove", "revoke"]
DEED = st.tuples(st.sampled_from(HOW), NAME, ROLE, BY_OWNER)
TOLD = ("member.changed", "review.", "grace.", "organization.")


class Commerce(Life):
    """One shop: who holds which role, and how long it has been over what any plan holds."""

    PREFIX = "shop"

    @initialize(luck=LUCK, plan=st.sampled_from(PLANS), trial=chance(5))
    def open(self, luck: int, plan: str, trial: bool) -> None:
        """The shop has its owner and pays for its plan; some members were invited."""
        hypothesis.assume(luck)
        self.begin(plan, trial=False)
        self.plan, self.trial = plan, False
        self.canceled = self.restricted = self.flagged = False
        self.members: dict[str, Member] = {}
        self.over: set[str] = set()  # as it was last looked at
        self.seen: set[str] = set()  # what a person closed the review for
        self.grace_ends: int | None = None
        self.reminded = 0
        self.orders: dict[str, int] = {}
        self.notices: Counter[str] = Counter()
        self.sub = self.subscribe()
        self.asked("/members", id="kim", role="owner").ok()
        self.asked("/members/kim/activate").ok(200)
        self.changed("kim", Member("owner", "invited"), "member.invited")
        self.changed("kim", Member("owner", "active"), "member.activated")
        for number, name in enumerate(NAMES):
            self.invite(name, ("admin", "sales_rep")[number % 2], by_owner=True)
        for name in NAMES[:2]:
            self.let_in(name, "activate", by_owner=False)
        self.go_over_and_back()
        if trial:
            self.set_trial(True)
        self.settle("in order")

    def go_over_and_back(self) -> None:
        """C8: one past the cap is refused; one who came all the same is reviewed, while it lasts.

        It closes as the count is back, and does not wait for the review's own clock.
        """
        others = [f"early_{number}" for number in range(CAPS["admin"])]
        room = CAPS["admin"] - self.active("admin")
        self.come_or_go("admin", others[:room], "active")
        self.let_in("m2", "activate", by_owner=False)
        self.come_or_go("admin", others[room : room + 1], "active")
        self.the_owner_sees_what_is_open()
        self.leave(others[0], "remove", by_owner=True)
        self.work(but=("notice:", "review:"))
        self.follow_cap()
        self.the_owner_sees_what_is_open()
        self.come_or_go("admin", others[1 : room + 1], "removed")

    def subscribe(self) -> str:
        """The plan's own price; which plan it is, the host application says."""
        prices = self.shop.services.catalog.plan(self.plan).prices
        (fee,) = (p for p in prices if (p.seat_type, p.interval) == (None, "month"))
        form = {
            "customer": self.customer,
            "metadata[organization_id]": self.organization,
            "items[0][price]": fee.id,
        }
        return str(self.shop.sandbox.post("/v1/subscriptions", form)["id"])

    # --- the model

    def active(self, seat: str) -> int:
        """Active members on it."""
        return sum((m.seat, m.status) == (seat, "active") for m in self.members.values())

    def owner(self) -> str:
        """There is always one."""
        (found,) = (n for n, m in self.members.items() if m == ("owner", "active"))
        return found

    def people(self) -> list[str]:
        """Admins who are in, then others who are, then who is not."""
        known = self.members
        return sorted(known, key=lambda n: (known[n].status != "active", known[n].role, n))

    def asker(self, by_owner: bool) -> str | None:
        """The owner, or the host itself."""
        return self.owner() if by_owner else None

    def may(self, name: str) -> bool:
        """The owner and active admins may most things; roles are the owner's to change (C6)."""
        return self.members[name].role != "sales_rep" and self.members[name].status == "active"

    def refused(self, seat: str | None) -> str | None:
        """Why nobody may come onto such a seat now: the activation table, in its order."""
        if seat is None:
            return None
        if self.trial:
            return "trial_invites_blocked"
        if self.restricted:
            return "organization_restricted"
        wanted = self.active(seat) + 1
        if wanted > CAPS[seat]:
            return "hard_cap"
        if self.canceled:
            return "subscription_inactive"
        return "seat_limit" if wanted > INCLUDED[self.plan][seat] else None

    def changed(self, name: str, after: Member, action: str) -> None:
        """A member is now so; what changed nothing is in no audit trail."""
        if self.members.get(name) != after:
            self.did(action, name)
            was = self.members.get(name, after)
            self.notices["member.changed"] += "active" in {was.status, after.status}
        self.members[name] = after

    # --- what the host application asks

    @rule(deeds=st.lists(DEED, min_size=2, max_size=4))
    def members_do(self, deeds: list[tuple[str, str, str, bool]]) -> None:
        """Members come, go and change: one rule, so that no life is without one of them."""
        for how, name, role, by_owner in deeds:
            match how:
                case "invite":
                    self.invite(name, role, by_owner)
                case "accept" | "activate" | "unblock":
                    self.let_in(name, how, by_owner)
                case "change role":
                    self.change_role(name, role, by_owner)
                case "pass on":
                    self.pass_on(name, by_owner)
                case _:
                    self.leave(name, how, by_owner)

    def invite(self, name: str, role: str, by_owner: bool) -> None:
        """C3 and C4: reserves nothing, and is refused where nobody could come."""
        was, wanted = self.members.get(name), Member(role, "invited")
        by = self.asker(by_owner)
        answer = self.asked("/members", by=by, only=self.may, id=name, role=role)
        if was and was.status != "removed":
            assert (answer.status == 200) == (was == wanted), answer.text
            return
        code = "transfer_needed" if role == "owner" else self.refused(wanted.seat)
        self.ended(answer.status, answer.json, code)
        if code is None:
            self.changed(name, wanted, "member.invited")

    def let_in(self, name: str, how: str, by_owner: bool) -> None:
        """C2, C3, C5: the check runs each time, and the seat is taken by the activation."""
        was, by = self.members[name], self.asker(by_owner)
        own = how != "unblock"
        answer = self.asked(
            f"/members/{name}/{how}", by=by, only=lambda n: self.may(n) or (own and n == name)
        )
        if was.status == "active" or (how, was.status) == ("accept", "pending"):
            assert answer.status == 200, answer.text
            return
        fits = {"unblock": {"blocked"}}.get(how, {"invited", "pending"})
        if was.status not in fits:
            assert answer.status == 409, answer.text
            return
        code = self.refused(was.seat)
        self.ended(answer.status, answer.json, code)
        if code is None:
            after, action = ("pending", "accepted") if how == "accept" else ("active", "activated")
            self.changed(name, was._replace(status=after), f"member.{action}")

    def leave(self, name: str, how: str, by_owner: bool) -> None:
        """The owner cannot leave; whoever was invited frees nothing."""
        was, by = self.members[name], self.asker(by_owner)
        joined = how == "revoke" and was.status in {"active", "blocked"}
        answer = self.asked(f"/members/{name}/{how}", by=by, only=None if joined else self.may)
        assert not (answer.status == 200 and (joined or was == ("owner", "active"))), answer.text
        if answer.status == 200:
            gone = "blocked" if how == "block" else "removed"
            action = {"block": "blocked", "remove": "removed", "revoke": "revoked"}[how]
            self.changed(name, was._replace(status=gone), f"member.{action}")

    def change_role(self, name: str, role: str, by_owner: bool) -> None:
        """C6: frees one seat and takes another; only the owner may, and none becomes owner so."""
        was, owner, by = self.members[name], self.owner(), self.asker(by_owner)
        path = f"/members/{name}/role"
        answer = self.asked(path, by=by, only=lambda n: n == owner, role=role)
        code = None
        if was.status == "removed":
            code = "removed"
        elif "owner" in {role, was.role}:
            code = "transfer_needed"
        elif was.status == "active" and role != was.role:
            code = self.refused(role)
        self.ended(answer.status, answer.json, code)
        if code is None:
            self.changed(name, was._replace(role=role), "member.role_changed")

    def pass_on(self, to: str, by_owner: bool) -> None:
        """C7: at once to an admin, however full; to a sales rep with a free Admin seat only."""
        owner, was = self.owner(), self.members[to]
        answer = self.passed_on("ownership", owner, to, by=self.asker(by_owner))
        code = self.refused("admin") if was.role == "sales_rep" else None
        if to == owner or was.status != "active":
            code = "successor_unfit"
        elif self.trial and was.role == "admin":
            code = answer.json.get("code")  # C4 is of invites, C7 of no trial: either will do
        self.ended(answer.status, answer.json, code)
        if code is None:
            self.changed(to, Member("owner", "active"), "ownership.transferred")
            self.changed(owner, Member("admin", "active"), "ownership.transferred")

    @staticmethod
    def ended(status: int, body: dict[str, str], code: str | None) -> None:
        """It went as the model says."""
        said = None if status in {200, 201} else body["code"]
        assert said == code, f"{status} {body}, expected {code}"

    @rule(plan=st.sampled_from(PLANS))
    def change_plan(self, plan: str) -> None:
        """C1: let through also where more are active than it includes."""
        self.patched(plan=plan)
        self.plan = plan

    @rule(trial=chance(2))
    def set_trial(self, trial: bool) -> None:
        """C4."""
        self.patched(trial=trial)
        self.trial = trial

    def patched(self, **values: Any) -> None:
        """The host application says something new of the organization."""
        path = f"/organizations/{self.organization}"
        self.api.patch(path, **values).ok(200)
        if any(getattr(self, name) != value for name, value in values.items()):
            self.did("organization.changed", self.organization)

    @rule(seat=st.sampled_from(["admin", "admin", "sales_rep"]))
    def merge(self, seat: str) -> None:
        """Members come, and go the next time, with an import that asks nobody for room."""
        leave = self.active(seat) > CAPS[seat]
        names = [f"{seat}_{number}" for number in range(MERGED[seat])]
        self.come_or_go(seat, names, "removed" if leave else "active")

    def come_or_go(self, seat: str, names: list[str], status: str) -> None:
        """An import of members of one kind."""
        import_members(
            self.shop.services, self.organization, names, self.present(), role=seat, status=status
        )
        self.members |= {each: Member(seat, status) for each in names}
        self.settle("in order")

    @rule(month=st.sampled_from(MONTHS), orders=st.sampled_from([2500, 2501, 9000]))
    def report_usage(self, month: str, orders: int) -> None:
        """C9: the latest two months over it are flagged, and block nothing."""
        self.asked(f"/usage/{month}", send="PUT", orders=orders).ok()
        self.orders[month] = orders
        latest = max(self.orders)
        before = self.orders.get(f"2024-{int(latest[-2:]) - 1:02}", 0)
        flagged = min(self.orders[latest], before) > MOST_ORDERS
        if flagged != self.flagged:
            self.notices["review.opened" if flagged else "review.closed"] += 1
        self.flagged = flagged

    @precondition(lambda self: self.grace_ends)
    @rule()
    def close_review(self) -> None:
        """A person has seen it: it does not come back while the same lasts."""
        named = {"organization_id": self.organization, "state": "open", "kind": "enterprise"}
        (found,) = self.api.get("/reviews", **named).ok()["data"]
        self.api.post(f"/reviews/{found['id']}/close", because="they have signed").ok()
        self.seen = set(self.over)
        self.closed()

    def closed(self) -> None:
        """The review is over, and with it what it restricted."""
        self.grace_ends = None
        self.notices["review.closed"] += 1
        self.notices["organization.unrestricted"] += self.restricted
        self.restricted = False

    # --- what happens at Stripe, and time

    @rule()
    def cancel_or_renew(self) -> None:
        """The plan's subscription ends at once, or the shop takes another."""
        if self.canceled:
            self.sub = self.subscribe()
        else:
            self.shop.sandbox._answer("DELETE", f"/v1/subscriptions/{self.sub}")
        self.canceled = not self.canceled
        self.settle("in order")

    @rule(days=st.sampled_from([1, 10, 16, 23, 29, 31]))
    def wait(self, days: int) -> None:
        """Time passes."""
        self.pass_time(days * DAY_S)
        self.settle("in order")

    @rule(order=st.sampled_from(ORDERS))
    def settle(self, order: str) -> None:
        """C8: one review while the count is over, reminders, and the restriction after the grace.

        What Stripe sends late decides nothing here: the plan's subscription is looked at as it is.
        """
        self.deliver(order)
        self.work()
        self.follow_cap()
        self.follow_grace()

    def follow_cap(self) -> None:
        """It opens with what nobody has seen, and closes when the count is back."""
        over = {seat for seat, cap in CAPS.items() if self.active(seat) > cap}
        self.seen &= over & self.over
        self.over = over
        if over - self.seen and self.grace_ends is None:
            self.grace_ends, self.reminded = self.present.at_s + GRACE_S, 0
            self.notices["review.opened"] += 1
        elif not over and self.grace_ends is not None:
            self.closed()

    def follow_grace(self) -> None:
        """What its clock has come to; however late, each is told once."""
        if self.grace_ends is None or self.restricted:
            return
        left = self.grace_ends - self.present.at_s
        passed = sum(left <= days * DAY_S for days in REMINDER_DAYS)
        if left <= 0:
            self.restricted = True
            self.notices["organization.restricted"] += 1
        elif passed > self.reminded:
            last = passed == len(REMINDER_DAYS)
            self.notices["grace.ending" if last else "review.reminder"] += 1
            self.reminded = passed

    # --- what always holds

    @invariant()
    def it_is_as_it_was_answered(self) -> None:
        """Whoever was answered is where the answer said, and the audit trail tells it once."""
        if self.begun:
            wanted = {n: (m.role, m.seat, m.status) for n, m in self.members.items()}
            assert self.listed() == wanted
            assert self.audited() == self.deeds

    @invariant()
    def the_owner_sees_what_is_open(self) -> None:
        """C5, C8, C9: seats, reviews and the restriction as they are."""
        if not self.begun:
            return
        shown = self.read()
        assert shown["restricted"] == self.restricted
        seats = {s["seat_type"]: (s["active"], s["capacity"]) for s in shown["seats"]}
        assert seats == {s: (self.active(s), INCLUDED[self.plan][s]) for s in CAPS}
        kinds = {each["kind"] for each in shown["open_reviews"]}
        enterprise = {"enterprise"} if self.grace_ends is not None else set()
        assert kinds == enterprise | ({"usage"} if self.flagged else set())
        found = {f["kind"] for f in shown["open_findings"]}
        assert ("over_hard_cap" in found) == bool(self.over), found

    @invariant()
    def each_step_is_told_once(self) -> None:
        """Reviews, the restriction and members: as many notices as there were occasions."""
        if self.begun:
            told = Counter({k: n for k, n in self.told().items() if k.startswith(TOLD)})
            expected = Counter({k: n for k, n in self.notices.items() if n})
            assert told == expected, (told, expected)

    @invariant()
    def nothing_is_written_to_stripe(self) -> None:
        """Included seats are no quantity."""
        assert not self.begun or self.shop.writes(self.sub) == 0
