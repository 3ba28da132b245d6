"""A life with one subscription of seats: what they have cost is what was billed, to the minor unit.

What the lives of an agency, of a team and of a contract share; whose seats they are is theirs.
"""

from collections.abc import Mapping

from tests.support.life import Life
from tests.support.life_agency_model import Bill

# A card that does not work is not left so for longer: Stripe would give the subscription up.
MOST_DECLINED_DAYS = 3
MOST_CHARGES_A_DAY = 15


class Billed(Life):
    """Seats as they were agreed, and what these have cost; `behind`: Stripe's may be others."""

    sub: str
    seats: dict[str, int]
    bill: Bill
    behind: bool
    declines: bool
    declined_days: int
    charged_today: int
    updates: int
    cycles: int

    def buy(
        self, plan: str, seats: dict[str, int], prices: Mapping[str, Mapping[str, int]]
    ) -> None:
        """The customer subscribes, by the month."""
        self.seats = seats
        bought = {"organization_id": self.organization, "plan": plan}
        self.sub = self.shop.subscribe(self.customer, self.seats, **bought)
        self.bill = Bill(self.period_there(), prices)
        self.bill.begin_period(self.seats)
        self.behind = self.declines = False
        self.declined_days = self.charged_today = self.updates = self.cycles = 0

    def subscriptions(self) -> list[str]:
        """The one there is."""
        return [self.sub]

    def count_on(
        self, seats: dict[str, int], *, interval: str | None = None, free: bool = False
    ) -> None:
        """From now on it is so many."""
        if not free:
            switched = (interval, self.period_there()) if interval else None
            self.bill.change(self.seats, seats, self.now, switched)
        self.seats = dict(seats)

    def charged(self, now: object) -> None:
        """B2 and B3: what is added is an invoice at once, what is only removed is none."""
        self.charged_today += bool(now)
        self.updates += bool(now)

    def period_there(self) -> tuple[int, int]:
        """The period that Stripe bills."""
        found = self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["items"]["data"][0]
        return int(found["current_period_start"]), int(found["current_period_end"])

    def bought(self) -> dict[str, int]:
        """What Stripe has."""
        return self.shop.quantities(self.sub)

    def past_due(self) -> bool:
        """Whether an invoice was not paid."""
        return bool(self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["status"] != "active")

    def may_raise(self) -> bool:
        """Whether nothing stands in the way of a charge: a card, a renewal that was not paid."""
        many = self.charged_today >= MOST_CHARGES_A_DAY
        return not (self.past_due() or self.declines or many)

    def pays(self) -> bool | None:
        """Whether a raise now is paid for; None: only if credit covers it, as the card declines."""
        if self.past_due():
            return False
        return None if self.declines else True

    def give_card(self, *, declines: bool) -> None:
        """The card stops working, or works again: then what is open is paid with it."""
        self.card(declines=declines)
        self.declines = declines
        if not declines:
            self.declined_days = 0
            for invoice in self.invoices():
                if invoice["status"] == "open":
                    self.shop.sandbox.post(f"/v1/invoices/{invoice['id']}/pay")

    def days_to_wait(self, days: int) -> int:
        """So many, or as many as the card may be left declined."""
        if self.declines:
            days = min(days, MOST_DECLINED_DAYS - self.declined_days)
            self.declined_days += days
        return days

    def renew(self, seconds: int) -> None:
        """Time passes at Stripe, renewals with it."""
        self.pass_time(seconds)
        self.charged_today = 0
        cycles = sum(i["billing_reason"] == "subscription_cycle" for i in self.invoices())
        for _ in range(cycles - self.cycles):
            self.bill.begin_period(self.seats)
        self.cycles, self.bill.period = cycles, self.period_there()

    def is_billed_once(self) -> None:
        """B2, B3, B4, B10: all that was ever billed is what the seats have cost."""
        billed = [i for i in self.invoices() if i["status"] != "void"]
        query = {"customer": self.customer, "pending": "true", "limit": 100}
        updates = sum(i["billing_reason"] == "subscription_update" for i in billed)
        assert updates == self.updates, (updates, self.updates)
        waiting = self.shop.sandbox.get("/v1/invoiceitems", **query)["data"]
        total = sum(i["total"] for i in billed) + sum(item["amount"] for item in waiting)
        # Each line is rounded on its own.
        lines = sum(len(i["lines"]["data"]) for i in billed) + len(waiting)
        assert abs(total - self.bill.owed) <= lines, (total, float(self.bill.owed), self.seats)
