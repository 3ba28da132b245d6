"""A team's life: the seats follow the members, raised at once and lowered when the period ends."""

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.support.life import LUCK
from tests.support.life_pool import NAMES, OnePool

PRICES_MINOR = {"month": 1500, "year": 16200}


class Team(OnePool):
    """One team: whoever leaves is paid for until the renewal, and not longer."""

    PREFIX = "team"
    POOL = "member"
    leaves: tuple[int, int] | None

    @initialize(luck=LUCK, bought=st.integers(3, 5))
    def open(self, luck: int, bought: int) -> None:
        """Three are in; some seats may be too many from the first day on."""
        hypothesis.assume(luck)
        self.leaves = None
        self.open_with("team", bought, 3, **PRICES_MINOR)
        for name, there in ((NAMES[1], True), (NAMES[2], False)):
            self.members_do([(False, name)])
            self.wait(31, there=there, how="in order")
        self.members_do([(True, NAMES[1]), (True, NAMES[2])])
        for name in NAMES[1:3]:
            self.members_do([(False, name)])
            self.switch_interval()
        self.members_do([(True, NAMES[1]), (True, NAMES[2])])

    def takes(self) -> bool | None:
        """There is room, or a seat more is bought at once."""
        return super().takes() or self.pays()

    def came_in(self) -> None:
        """The seat that was bought for who came."""
        if self.active() > self.has:
            self.charged(now=True)
            self.set_to(self.active())

    @rule()
    def switch_interval(self) -> None:
        """B10: the old period is credited whole, the other one is billed for who is active."""
        (other,) = PRICES_MINOR.keys() - {self.bill.interval}
        shown = self.asked("/interval-switches/preview", interval=other)
        if self.past_due() or self.active() > self.has:
            assert shown.status == 409, shown.text
            return
        switched = self.asked("/interval-switches", preview_id=shown.ok(201)["id"])
        if self.declines and shown["due_now_minor"]:
            switched.problem(402, "payment_declined")
            return
        assert switched.ok(201)["total_minor"] == shown["total_minor"]
        self.charged(now=True)
        self.count_on({self.POOL: self.active()}, interval=other)
        self.hear("in order")

    def looked_at(self) -> None:
        """`leaves`: how many seats were to be there at the end of a period, as last looked at."""
        wanted, (start, end) = self.active(), self.bill.period
        missed = self.leaves is not None and self.leaves[0] <= start
        if wanted > self.has and (self.pays() or self.there() == wanted):
            self.charged(now=True)
            self.set_to(wanted)
        elif wanted > self.has:
            assert self.open_findings() & {"payment_declined", "past_due"}
        elif wanted < self.has and not self.past_due():
            if self.in_its_hour:
                self.set_to(wanted, free=True)
            elif missed:
                assert self.leaves
                self.set_from_renewal(max(wanted, self.leaves[1]))
        if wanted >= self.has:
            self.leaves = None
        elif not (missed and self.past_due()):
            self.leaves = (end, wanted)
