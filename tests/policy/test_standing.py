"""Every status of Stripe's, and the flags beside it."""

import pytest

from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import Standing


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("active", Standing.LIVE),
        ("trialing", Standing.TRIALING),
        ("past_due", Standing.PAST_DUE),
        ("canceled", Standing.DEAD),
        ("unpaid", Standing.DEAD),
        ("incomplete", Standing.DEAD),
        ("incomplete_expired", Standing.DEAD),
        ("paused", Standing.DEAD),
        ("something_new", Standing.DEAD),
    ],
)
def test_each_status_has_a_standing(status: str, expected: Standing) -> None:
    assert standing_of(status) == expected


def test_flags_come_together_but_not_on_the_dead() -> None:
    both = standing_of("past_due", collection_paused=True, canceling=True)
    assert both == Standing.PAST_DUE | Standing.PAUSED_COLLECTION | Standing.CANCELING
    assert standing_of("active", canceling=True) == Standing.CANCELING
    assert standing_of("canceled", collection_paused=True, canceling=True) == Standing.DEAD


@pytest.mark.parametrize(
    ("standing", "paid"),
    [
        (Standing.LIVE, True),
        (Standing.TRIALING, True),
        (Standing.CANCELING, True),
        (Standing.PAST_DUE, False),
        (Standing.DEAD, False),
    ],
)
def test_a_seat_is_paid_while_its_subscription_is(standing: Standing, paid: bool) -> None:
    assert is_paid(standing) is paid
