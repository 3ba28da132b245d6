"""What the model of a shop holds: roles and seats, what plans include, the clock of a review.

The figures are those of the rules (C1, C8, C9); none is the service's.
"""

from typing import NamedTuple

from tests.support.life import DAY_S

PLANS = ("commerce_growth", "commerce_scale", "commerce_starter")
INCLUDED = {
    "commerce_starter": {"admin": 1, "sales_rep": 1},
    "commerce_growth": {"admin": 3, "sales_rep": 3},
    "commerce_scale": {"admin": 7, "sales_rep": 15},
}
CAPS = {"admin": 7, "sales_rep": 15}
GRACE_S = 30 * DAY_S
REMINDER_DAYS = (14, 7, 1)
MOST_ORDERS = 2500
MONTHS = ("2024-03", "2024-04", "2024-05", "2024-06")
# A merger comes with so many at once.
MERGED = {"admin": 8, "sales_rep": 16}


class Member(NamedTuple):
    """What is known of a member. A role is a pool of its own name; the owner's is none."""

    role: str
    status: str

    @property
    def seat(self) -> str | None:
        """The kind of seat it takes."""
        return None if self.role == "owner" else self.role
