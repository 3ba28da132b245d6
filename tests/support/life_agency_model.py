"""What the model of an agency holds: members, an open preview, and what seats cost to the second.

The reckoning is the model's own, from the catalog and from Stripe's pages; none of the service's.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

POOLS = ("base", "voice")
# A unit's price, up to ten seats; no life has more.
PRICES = {
    "month": {"base": 3000, "voice": 5000},
    "year": {"base": 32400, "voice": 54000},
}


class Member(NamedTuple):
    """What is known of a member of the agency."""

    role: str
    pool: str
    status: str


class Kept(NamedTuple):
    """A preview that somebody still has open, and all that it was made from."""

    id: str
    total_minor: int
    seats: dict[str, int]
    interval: str
    mover: str | None
    seen: tuple[object, ...]


class Bill:
    """All that has to have been billed, in minor units; `period` is Stripe's, in its seconds."""

    def __init__(
        self, period: tuple[int, int], prices: Mapping[str, Mapping[str, int]] = PRICES
    ) -> None:
        self.period = period
        self.prices = prices
        self.interval = "month"
        self.owed = Fraction()
        self._debited = dict.fromkeys(prices["month"], 0)

    def begin_period(self, seats: dict[str, int]) -> None:
        """A period is billed as it begins."""
        self._debited = dict(seats)
        self.owed += sum(each * seats[pool] for pool, each in self.prices[self.interval].items())

    def change(
        self,
        before: dict[str, int],
        after: dict[str, int],
        at: int,
        switched: tuple[str, tuple[int, int]] | None,
    ) -> None:
        """What is left of the period is credited, and what is left of it by then billed anew.

        It is another one where the interval was `switched`: that and its period. Stripe credits
        what it has debited: seats that were free bring nothing when they go.
        """
        interval, period = switched or (self.interval, self.period)
        for pool in self._debited:
            if not switched and before[pool] == after[pool]:
                continue
            old, anew = self.prices[self.interval][pool], self.prices[interval][pool]
            self.owed -= old * self._debited[pool] * _rest(self.period, at)
            self.owed += anew * after[pool] * _rest(period, at)
            self._debited[pool] = after[pool]
        self.interval, self.period = interval, period


def _rest(period: tuple[int, int], at: int) -> Fraction:
    start, end = period
    return Fraction(end - at, end - start)
