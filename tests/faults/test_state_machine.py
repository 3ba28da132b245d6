"""An agency lives at random, through the API and at Stripe, beside a small model of what is true.

Hypothesis chooses who does what, and tells the steps to what goes wrong. The model knows members,
Stripe's quantities and whether the card works; it has no idea how.
"""

from collections import Counter
from itertools import count
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update

from reconcile.nights import checks
from reconcile.settling.work import work_off
from reconcile.store import findings
from reconcile.store.findings import Scope
from reconcile.tables import events
from tests.support.api import Client, Reply, api_of
from tests.support.roster import add_member
from tests.support.shop import Shop

DAY_S = 86_400
START = 1_790_000_000
POOLS = ("voice", "base")
NAMES = [f"m{number}" for number in range(5)]
MEMBERS = st.sampled_from(["root", *NAMES])
POOL = st.sampled_from(POOLS)
# Each is thirty steps of several calls; a longer run is `--hypothesis-seed` away.
MOST_LIVES = 2
# What is found is told with its steps as they were. Shortening them would take minutes of calls,
# and explaining them traces every line of Python: four times the time of every run.
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
_numbers = count(1)


class Agency(RuleBasedStateMachine):
    """One agency: `members` is id to (role, pool, status), `bought` is what Stripe has."""

    shop: Shop
    api: Client

    @initialize(voice=st.integers(1, 4), base=st.integers(1, 3))
    def subscribe(self, voice: int, base: int) -> None:
        """A customer buys, an admin is there, and the first event has been worked off."""
        self.organization = f"agency_{next(_numbers)}"
        post = self.shop.sandbox.post
        self.clock = str(post("/v1/test_helpers/test_clocks", {"frozen_time": START})["id"])
        self.now = START
        self.customer = self.shop.organization(
            self.organization, test_clock=self.clock, plan="agency"
        )
        bought = {"voice": voice, "base": base}
        self.sub = self.shop.subscribe(self.customer, bought, organization_id=self.organization)
        self.members: dict[str, tuple[str, str, str]] = {}
        self.auto_add = self.declines = self.behind = False
        self.kept: tuple[str, int] | None = None
        self.settle()
        self.asked("members", id="root", role="admin", seat_type="base").ok()
        self.asked("members/root/activate").ok(200)
        self.members["root"] = ("admin", "base", "active")
        for number, name in enumerate(NAMES):
            role, pool = ("admin", "member")[number > 1], POOLS[number % 2]
            with self.shop.services.sessions.begin() as session:
                add_member(
                    session, self.organization, name, role=role, seat_type=pool, status="invited"
                )
            self.members[name] = (role, pool, "invited")
        self.settle()

    # --- what the host application asks

    def asked(self, path: str, **body: Any) -> Reply:
        answer = self.api.post(f"/organizations/{self.organization}/{path}", **body)
        assert answer.status < 500, answer.text
        return answer

    def active(self, pool: str) -> int:
        return sum(m[1:] == (pool, "active") for m in self.members.values())

    def admins(self) -> int:
        return sum((m[0], m[2]) == ("admin", "active") for m in self.members.values())

    @rule(name=MEMBERS, role=st.sampled_from(["admin", "member"]), pool=POOL)
    def invite(self, name: str, role: str, pool: str) -> None:
        """B12: an invite counts nothing; the same one again is none."""
        wanted, was = (role, pool, "invited"), self.members[name]
        answer = self.asked("members", id=name, role=role, seat_type=pool)
        if answer.status == 200:
            assert was == wanted or was[2] == "removed", answer.text
            self.members[name] = wanted

    @rule(name=MEMBERS, how=st.sampled_from(["activate", "unblock"]))
    def let_in(self, name: str, how: str) -> None:
        """The activation table, as far as an agency meets it."""
        role, pool, status = self.members[name]
        before, full = self.bought(), self.active(pool) >= self.bought()[pool]
        answer = self.asked(f"members/{name}/{how}")
        fits = {"activate": {"invited", "pending"}, "unblock": {"blocked"}}[how]
        if answer.status == 200:
            assert status in fits | {"active"}, (status, answer.text)
            if status == "active":
                return
            self.members[name] = (role, pool, "active")
            if self.behind:
                return
            assert not full or (self.auto_add and not self.declines), answer.text
            assert self.bought()[pool] == before[pool] + full
        elif status in fits and not self.behind:
            assert full, answer.text
            assert not self.auto_add or self.declines, answer.text
            assert self.bought() == before

    @rule(name=MEMBERS, how=st.sampled_from(["block", "remove"]))
    def leave(self, name: str, how: str) -> None:
        """B8 and B14: the last admin stays, the quantity stays."""
        before = self.bought()
        answer = self.asked(f"members/{name}/{how}")
        if answer.status == 200:
            role, pool, status = self.members[name]
            assert (role, status) != ("admin", "active") or self.admins() > 1
            if status != "removed":
                gone = {"block": "blocked", "remove": "removed"}[how]
                self.members[name] = (role, pool, gone)
        assert self.bought() == before

    @rule(name=MEMBERS, role=st.sampled_from(["admin", "member"]))
    def change_role(self, name: str, role: str) -> None:
        """B8: two demotions never leave nobody."""
        answer = self.asked(f"members/{name}/role", role=role)
        if answer.status == 200:
            was, pool, status = self.members[name]
            demoted = (was, status, role) == ("admin", "active", "member")
            assert not demoted or self.admins() > 1
            self.members[name] = (role, answer["member"]["seat_type"] or pool, status)

    @rule(name=MEMBERS, pool=POOL)
    def move(self, name: str, pool: str) -> None:
        """B6: needs a free seat there, and writes nothing to Stripe."""
        before, writes = self.bought(), self.shop.writes(self.sub)
        room = self.active(pool) < before[pool]
        answer = self.asked(f"members/{name}/seat-type", seat_type=pool)
        if answer.status == 200:
            role, was, status = self.members[name]
            assert room or was == pool or status != "active" or self.behind, answer.text
            self.members[name] = (role, pool, status)
        assert self.shop.writes(self.sub) == writes

    @rule(voice=st.integers(0, 6), base=st.integers(0, 5))
    def look(self, voice: int, base: int) -> None:
        """B1: a preview writes nothing; B5: none below who is active."""
        before = self.bought()
        wanted = {"voice": voice, "base": base}
        answer = self.asked("seat-changes/preview", quantities=wanted)
        if answer.status == 201:
            self.kept = (answer["id"], answer["total_minor"])
            if not self.behind:
                assert all(wanted[pool] >= self.active(pool) for pool in POOLS), answer.text
        assert self.bought() == before

    @precondition(lambda self: self.kept)
    @rule()
    def save(self) -> None:
        """What was shown is what is charged, however long it was kept; or nothing happens."""
        assert self.kept
        before, (preview, total) = self.bought(), self.kept
        answer = self.asked("seat-changes", preview_id=preview)
        if answer.status == 201:
            assert answer["total_minor"] in {None, total}, answer.text
            self.kept = None
            self.behind = False
        else:
            assert self.bought() == before, answer.text

    @rule(on=st.booleans())
    def set_auto_add(self, on: bool) -> None:
        """B15."""
        path = f"/organizations/{self.organization}/auto-add"
        for pool in POOLS:
            self.api.put(f"{path}/{pool}", enabled=on).ok()
        self.auto_add = on

    # --- what happens at Stripe

    def bought(self) -> dict[str, int]:
        return self.shop.quantities(self.sub)

    @rule(pool=POOL, to=st.integers(1, 6), behavior=st.sampled_from(["none", "create_prorations"]))
    def edit_in_dashboard(self, pool: str, to: int, behavior: str) -> None:
        """Somebody sets a quantity past the service; its event comes when `settle` is drawn."""
        if self.bought()[pool] != to:
            self.shop.edit(self.sub, pool, to, proration_behavior=behavior)
            self.behind = True

    @rule(declines=st.booleans())
    def change_card(self, declines: bool) -> None:
        """The card stops working, or works again."""
        code = "card_declined" if declines else None
        self.shop.sandbox.control("/declines", {"customer": self.customer, "code": code})
        self.declines = declines

    @precondition(lambda self: not self.declines)
    @rule(days=st.integers(1, 40))
    def wait(self, days: int) -> None:
        """Time passes at Stripe, renewals with it."""
        self.now += days * DAY_S
        advance = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.shop.sandbox.post(advance, {"frozen_time": self.now})
        self.settle()

    @rule()
    def settle(self) -> None:
        """What is in the inbox is worked off, and Stripe's news of the subscription."""
        with self.shop.services.sessions.begin() as session:
            pending = events.c.state == "pending"
            session.execute(update(events).where(pending).values(due_at=self.shop.services.clock()))
            keys = set(session.scalars(select(events.c.work_key).where(pending)))
        for key in keys:
            work_off(self.shop.services, key)
        self.shop.settle(self.sub, retry_declined=True)
        self.behind = self.short()

    def short(self) -> bool:
        """Whether members outnumber seats, which only a declined card may leave so."""
        there = self.bought()
        found = any(self.active(pool) > there[pool] for pool in POOLS)
        assert not found or self._declined_lately(), (there, self.members)
        return found

    def _declined_lately(self) -> bool:
        scope = Scope(organization_id=self.organization, subscription_id=self.sub)
        with self.shop.services.sessions() as session:
            told = {found.kind for found in findings.open_of(session, scope)}
        return bool(told & {"payment_declined", "past_due"})

    # --- what always holds

    @invariant()
    def an_admin_is_there(self) -> None:
        """B8."""
        if getattr(self, "members", None):
            assert self.admins() >= 1

    @invariant()
    def the_api_says_the_same(self) -> None:
        """Who was answered what is where the answer said."""
        if not getattr(self, "members", None):
            return
        listed = self.api.get(f"/organizations/{self.organization}/members", limit=100).ok()["data"]
        found = {m["id"]: (m["role"], m["seat_type"], m["status"]) for m in listed}
        assert found == self.members

    @invariant()
    def the_floor_holds(self) -> None:
        """B5, as long as nobody edited past the service."""
        if getattr(self, "members", None) and not self.behind:
            there = self.bought()
            assert all(self.active(pool) <= there[pool] for pool in POOLS), (there, self.members)

    def teardown(self) -> None:
        """Every adjustment was charged once, and the ledger is Stripe's."""
        if not hasattr(self, "sub"):
            return
        self.shop.sandbox.control("/declines", {"customer": self.customer, "code": None})
        self.settle()
        found = checks.run(self.shop.services, subscription_ids=[self.sub])
        wrong = [c for c in found if not c.ok and not c.name.startswith("every event accounted")]
        assert not wrong, wrong
        made = [a for a in self.shop.adjustments(self.sub) if a.invoice_id]
        assert max(Counter(a.invoice_id for a in made).values(), default=1) == 1


def test_an_agency_at_random(shop: Shop) -> None:
    """`--hypothesis-seed=N` plays the same lives again."""
    api = api_of(shop.services)

    class Here(Agency):
        pass

    Here.shop, Here.api = shop, api
    run_state_machine_as_test(
        Here,
        settings=hypothesis.settings(
            max_examples=MOST_LIVES,
            stateful_step_count=30,
            phases=PHASES,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
