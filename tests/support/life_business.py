"""A contract's life: an account manager says how many seats, and when; nothing else ever writes.

The model knows what is agreed, the approved change that waits, and the most that was used.
"""

from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.support.life import DAY_S, LUCK
from tests.support.life_pool import NAMES, OnePool
from tests.support.shop import moment

PRICE_MINOR = 12900
FEWEST = 5  # of the plan
NOTICE_S = 60 * DAY_S
KIND = st.sampled_from(["monthly", "monthly", "annual_upfront"])
REMOVALS = st.sampled_from([None, False, True])


class Business(OnePool):
    """One workspace under a contract."""

    PREFIX = "business"
    POOL = "pro"

    @initialize(luck=LUCK, kind=KIND)
    def open(self, luck: int, kind: str) -> None:
        """A contract over seven seats, of which four are in use."""
        hypothesis.assume(luck)
        self.agreed, self.records = 7, 0
        self.waits: tuple[int, int] | None = None
        self.ends: int | None = None
        self.peaks: dict[int, tuple[int, int]] = {}
        self.open_with("workspace_business", 7, 4, month=PRICE_MINOR)
        self.record(7, "monthly", True, None)
        self.change(5)
        self.members_do([(True, NAMES[4]), (True, NAMES[5])])
        self.wait(31, there=True, how="in order")
        self.change(9)
        self.wait(31, there=False, how="in order")
        self.change(8)
        self.edit_in_dashboard(8, "none", "in order")
        self.wait(31, there=True, how="in order")
        self.change(9)
        self.withdraw()
        self.the_contract_says_so()
        self.change_twice()
        self.record(7, kind, None, 20)
        self.members_do([(True, NAMES[6]), (True, NAMES[7])])
        self.night()

    def change_twice(self) -> None:
        """A6: of two approved changes the later one counts, though it does not wait."""
        self.change(8)
        for decided in (None, True):  # A7
            self.record(9, "annual_upfront", decided, None)
            self.change(7)

    # --- what an account manager does

    @rule(
        seats=st.integers(FEWEST, 9),
        kind=KIND,
        removals=REMOVALS,
        days=st.sampled_from([None, 20, 100]),
    )
    def record(self, seats: int, kind: str, removals: bool | None, days: int | None) -> None:
        """A6 and A7: what is agreed from now on; Stripe is left as it is."""
        self.ends = self.now + days * DAY_S if days else None
        terms: dict[str, Any] = {
            "kind": kind,
            "quantities": {self.POOL: seats},
            "starts_at": moment(self.now - DAY_S).isoformat(),
            "ends_at": moment(self.ends).isoformat() if self.ends else None,
            "because": "order 4711",
        }
        if removals is not None:
            terms["removals"] = {"allowed": removals, "because": "it was agreed"}
        self.asked("/contract", send="PUT", **terms).ok(200)
        self.agreed, self.monthly, self.removals = seats, kind == "monthly", bool(removals)
        self.records += 1
        self.did("contract.recorded", self.organization)
        self.hear("in order")

    @rule(to=st.integers(FEWEST, 9))
    def change(self, to: int) -> None:
        """A6: by the month it waits for the next cycle, else at once; A7: fewer if decided so."""
        path, wanted = "/contract/changes/preview", {self.POOL: to}
        seen = self.asked(path, quantities=wanted, because="order 4712")
        fits = to >= self.active() and (to > self.has or self.removals) and not self.past_due()
        assert (seen.status == 201) == (fits and to != self.has), seen.text
        if seen.status != 201:
            return
        answer = self.asked("/contract/changes", preview_id=seen["id"], because="Eve Moss")
        if self.monthly:
            answer.ok(201)
            self.waits = (to, self.bill.period[1])
            self.did("contract.change_approved", self.sub)
        elif answer.status != 201:
            assert to > self.has, answer.text
            assert not self.pays(), answer.text
        else:
            assert answer["total_minor"] in {None, seen["total_minor"]}
            self.charged(to > self.has)
            self.set_to(to)
            self.agreed, self.waits = to, None
            self.records += 1
        self.hear("in order")

    @rule()
    def withdraw(self) -> None:
        """A6: until it is applied."""
        answer = self.asked("/contract/changes/withdraw", because="order cancelled")
        assert answer.status == (200 if self.waits else 409), answer.text
        if self.waits:
            self.waits = None
            self.did("contract.change_withdrawn", self.sub)

    # --- what is to be true

    def takes(self) -> bool:
        """A6: in the seats of the contract, and never in more than are paid for."""
        return self.active() < min(self.agreed, self.has)

    def looked_at(self) -> None:
        """An approved change is made in its hour, or from the renewal on that was missed."""
        self.note_peak()
        start = self.bill.period[0]
        if self.waits and not self.past_due():
            wanted, missed = max(self.waits[0], self.active()), self.waits[1] <= start
            if missed and wanted > self.has and not (self.pays() or self.there() == wanted):
                assert "payment_declined" in self.open_findings()
            elif missed or self.in_its_hour:
                self.made(wanted, missed=missed)
        found = self.open_findings()
        assert ("contract_drift" in found) == (self.has != self.agreed), found
        assert ("contract_overage" in found) == (self.active() > self.agreed), found

    def made(self, wanted: int, *, missed: bool) -> None:
        """It is in force, also where somebody has set it in Stripe before."""
        self.waits = None
        if wanted == self.has == self.agreed:
            return
        if wanted == self.has:
            self.did("contract.changed", self.sub)
        elif missed:
            self.set_from_renewal(wanted)
        else:
            self.set_to(wanted, free=True)
        self.agreed = wanted
        self.records += 1

    def note_peak(self) -> None:
        """A6: the most that were in beyond the contract, of each period."""
        start, over = self.bill.period[0], self.active() - self.agreed
        agreed, peak = self.peaks.get(start, (0, 0))
        if over > peak - agreed:
            self.peaks[start] = (self.agreed, self.active())

    @rule()
    def night(self) -> None:
        """A6: a contract's end is told ahead of it, and when it is over."""
        self.hear("by night")
        told = self.open_findings() & {"contract_ending", "contract_ended"}
        left = self.ends - self.present.at_s if self.ends else NOTICE_S + 1
        wanted = {"contract_ended"} if left <= 0 else {"contract_ending"}
        assert told == (wanted if left <= NOTICE_S else set()), (told, left)

    @invariant()
    def the_contract_says_so(self) -> None:
        """What is in force, what waits, what was used beyond it: no more and no less."""
        if not self.begun:
            return
        contract = self.read("/contract")
        waits = contract["approved"]
        assert contract["quantities"] == {self.POOL: self.agreed}
        assert (waits and waits["quantities"][self.POOL]) == (self.waits and self.waits[0])
        assert len(self.read("/contract/history", limit=100)["data"]) == self.records
        over = {(p["agreed"], p["peak"]) for p in self.read("/contract/true-up")["data"]}
        assert over == set(self.peaks.values())
