"""A life with one pool of seats and who is on them: what a team's and a contract's have in common.

Whatever happens is looked at before the next thing does, by webhooks in any order or by a night:
what comes between is an agency's. Who may ask for what is not asked here.
"""

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.support.life import DAY_S, ORDERS, chance
from tests.support.life_billed import Billed
from tests.support.roster import add_member

HOUR_S = 3600
NAMES = [f"m{number}" for number in range(8)]
BEHAVIOR = st.sampled_from(["none", "create_prorations"])
HEARD = st.sampled_from([*ORDERS, "by night"])


class OnePool(Billed):
    """Members who come and go, a subscription that renews, a card that works or does not."""

    POOL: ClassVar[str]
    members: dict[str, str]

    def open_with(self, plan: str, bought: int, active: int, **prices_minor: int) -> None:
        """The customer has bought seats; some members are in, the others were invited.

        `prices_minor`: what a seat costs, by interval.
        """
        self.begin(plan)
        prices = {interval: {self.POOL: price} for interval, price in prices_minor.items()}
        self.buy(plan, {self.POOL: bought}, prices)
        self.members = {}
        for number, name in enumerate(NAMES):
            status = "active" if number < active else "invited"
            with self.shop.services.sessions.begin() as session:
                named = {"seat_type": self.POOL, "status": status}
                add_member(session, self.organization, name, **named)
            self.members[name] = status
        self.hear("in order")

    @property
    def has(self) -> int:
        """Seats in Stripe, by the model."""
        return self.seats[self.POOL]

    def active(self) -> int:
        """Members who are in."""
        return list(self.members.values()).count("active")

    def there(self) -> int:
        """Seats in Stripe, as it says."""
        return self.bought()[self.POOL]

    def set_to(self, quantity: int, *, free: bool = False) -> None:
        """From now on Stripe has so many."""
        self.count_on({self.POOL: quantity}, free=free)

    def set_from_renewal(self, quantity: int) -> None:
        """As if it had been so many since the period began, with an invoice of the difference."""
        start, _ = self.bill.period
        self.bill.change(self.seats, {self.POOL: quantity}, start, None)
        self.seats = {self.POOL: quantity}
        self.charged(now=True)

    @property
    def in_its_hour(self) -> bool:
        """Whether the period is in its last hour."""
        return self.now >= self.bill.period[1] - HOUR_S

    def takes(self) -> bool | None:
        """Whether somebody may come in now: there is room. None: that is to be seen."""
        return self.active() < self.has

    def came_in(self) -> None:
        """Somebody came in."""

    def looked_at(self) -> None:
        """Everything was looked at: what is to be true then."""

    # --- what happens

    @rule(deeds=st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES)), min_size=1, max_size=4))
    def members_do(self, deeds: list[tuple[bool, str]]) -> None:
        """Members come and go; the first one stays."""
        for comes, name in deeds:
            if comes:
                self.come(name)
            elif name != NAMES[0] and self.members[name] == "active":
                self.asked(f"/members/{name}/block").ok(200)
                self.members[name] = "blocked"
                self.did("member.blocked", name)
        self.hear("in order")

    def come(self, name: str) -> None:
        """The activation table, as far as it is met."""
        was = self.members[name]
        if was == "active":
            return
        fits = self.takes()
        answer = self.asked(f"/members/{name}/{'activate' if was == 'invited' else 'unblock'}")
        assert fits is None or (answer.status == 200) == fits, (fits, answer.text)
        if answer.status == 200:
            self.members[name] = "active"
            self.did("member.activated", name)
            self.came_in()

    @rule(to=st.integers(1, 9), behavior=BEHAVIOR, how=HEARD)
    def edit_in_dashboard(self, to: int, behavior: str, how: str) -> None:
        """Somebody sets the quantity past the service."""
        if to != self.has:
            self.shop.edit(self.sub, self.POOL, to, proration_behavior=behavior)
            self.set_to(to, free=behavior == "none")
            self.hear(how)

    @rule(declines=chance(3))
    def change_card(self, declines: bool) -> None:
        """The card stops working, or works again."""
        if declines != self.declines:
            self.give_card(declines=declines)
            self.hear("in order")

    @rule(days=st.sampled_from([1, 12, 25]), there=st.booleans(), how=HEARD)
    def wait(self, days: int, there: bool, how: str) -> None:
        """Time passes; at a renewal somebody is `there` in the hour before it, or nobody is."""
        days = self.days_to_wait(days)
        until, end = self.now + days * DAY_S, self.bill.period[1]
        if there and end <= until:
            self.pass_time(end - HOUR_S // 2 - self.now)
            self.hear("in order")
        if days:
            self.renew(until - self.now)
            self.hear(how)

    def hear(self, how: str) -> None:
        """Webhooks come in and are worked off, what was late at once after; or there are none."""
        if how == "by night":
            self.sleep()
            self.work()
        else:
            self.deliver(how)
            self.work()
            self.deliver()
            self.work()
        self.looked_at()

    # --- what always holds

    @invariant()
    def it_is_as_it_was_answered(self) -> None:
        """Whoever was answered is where the answer said, and the audit trail tells it once."""
        if self.begun:
            assert {name: status for name, (_, _, status) in self.listed().items()} == self.members
            assert self.audited() == self.deeds

    @invariant()
    def stripe_has_what_was_agreed(self) -> None:
        """And all that was ever billed is what that has cost."""
        if self.begun:
            assert self.bought() == self.seats
            self.is_billed_once()

    def teardown(self) -> None:
        """What is open is paid; with the subscription ends what was planned for its renewal."""
        if self.begun and self.declines:
            self.give_card(declines=False)
            self.hear("in order")
        if self.begun:
            self.shop.sandbox._answer("DELETE", f"/v1/subscriptions/{self.sub}")
        super().teardown()
