"""C8's clock: what an open review needs, whenever it is asked."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.policy.reviews import (
    Close,
    LookAgain,
    Remind,
    Restrict,
    ReviewFacts,
    Step,
    next_step,
)

OPENED = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
ENDS = OPENED + timedelta(days=30)


def step_at(
    day: float, *, reminders: int = 0, restricted: bool = False, over: bool | None = True
) -> Step:
    facts = ReviewFacts(
        grace_ends_at=ENDS,
        reminder_days=(14, 7, 1),
        reminders=reminders,
        restricted=restricted,
        over=over,
    )
    return next_step(facts, OPENED + timedelta(days=day))


@pytest.mark.parametrize(
    ("day", "reminders", "step"),
    [
        (15.99, 0, LookAgain(OPENED + timedelta(days=16))),
        (16, 0, Remind(reminders=1, days_left=14, last=False)),
        (16.5, 1, LookAgain(OPENED + timedelta(days=17.5))),
        (22.5, 1, LookAgain(OPENED + timedelta(days=23))),
        (23, 1, Remind(reminders=2, days_left=7, last=False)),
        (29, 2, Remind(reminders=3, days_left=1, last=True)),
        (29.5, 3, LookAgain(ENDS)),
        (30, 3, Restrict()),
    ],
)
def test_reminders_then_the_restriction(day: float, reminders: int, step: Step) -> None:
    """C8."""
    assert step_at(day, reminders=reminders) == step


def test_a_jump_over_reminders_sends_the_one_that_is_right_now() -> None:
    assert step_at(25) == Remind(reminders=2, days_left=5, last=False)
    assert step_at(29.5) == Remind(reminders=3, days_left=1, last=True)


def test_a_jump_over_everything_restricts_without_a_word_about_days() -> None:
    assert step_at(45) == Restrict()


@pytest.mark.parametrize("day", [0, 16, 29, 30, 400])
def test_the_count_that_is_back_closes_it_at_any_time(day: float) -> None:
    """C8."""
    assert step_at(day, over=False) == Close()
    assert step_at(day, over=False, restricted=True) == Close()


@pytest.mark.parametrize("day", [0, 16, 29, 30, 400])
def test_nothing_is_done_on_a_guess(day: float) -> None:
    step = step_at(day, over=None)
    assert step == LookAgain(OPENED + timedelta(days=day, hours=1))


def test_a_restricted_organization_is_looked_at_daily() -> None:
    assert step_at(31, reminders=3, restricted=True) == LookAgain(OPENED + timedelta(days=32))


@given(looks=st.lists(st.floats(min_value=0, max_value=60), min_size=1, max_size=30))
def test_whenever_it_is_looked_at_the_end_is_the_same(looks: list[float]) -> None:
    """At most one step of each kind, never a reminder after the restriction or one too many."""
    reminders, restricted = 0, False
    for day in sorted(looks):
        for _ in range(3):
            step = step_at(day, reminders=reminders, restricted=restricted)
            if isinstance(step, LookAgain):
                assert step.at > OPENED + timedelta(days=day)
                break
            assert not restricted
            if isinstance(step, Remind):
                assert step.reminders > reminders
                assert 0 < step.days_left <= 14
                reminders = step.reminders
            else:
                restricted = True
        else:
            pytest.fail("it never came to rest")
    assert restricted == (max(looks) >= 30)
