"""The clock of an Enterprise review (C8): reminders, then the restriction, then nothing more.

One step at a time, from what is recorded and the time it is. However long nobody looked, the step
is the one that is right now: reminders whose time has passed are not sent after one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Where members are counted in the host's own tables nothing tells that one left: look once a day.
LOOK_AGAIN = timedelta(days=1)
# Members cannot be counted: nothing is concluded, and it is looked at again.
LOOK_SOON = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFacts:
    """All that a step is decided from. `over` is None when the members could not be counted."""

    grace_ends_at: datetime
    reminder_days: Sequence[int]  # days before the end, the most first
    reminders: int  # how many of them are behind us, sent or overtaken
    restricted: bool
    over: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remind:
    """Send the reminder; `reminders` are behind us then. `last`: the next step restricts."""

    reminders: int
    days_left: int
    last: bool


@dataclass(frozen=True, slots=True)
class Restrict:
    """The grace is over and the count is not back."""


@dataclass(frozen=True, slots=True)
class Close:
    """The count is back."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing to do before then."""

    at: datetime


Step = Remind | Restrict | Close | LookAgain


def next_step(facts: ReviewFacts, now: datetime) -> Step:
    """Return what an open review needs now; asked again after each step until it is LookAgain."""
    if facts.over is None:
        return LookAgain(now + LOOK_SOON)
    if not facts.over:
        return Close()
    if facts.restricted:
        return LookAgain(now + LOOK_AGAIN)
    if now >= facts.grace_ends_at:
        return Restrict()
    due = passed(facts.grace_ends_at, facts.reminder_days, now)
    if due > facts.reminders:
        left = facts.grace_ends_at - now
        days_left = left.days + (left > timedelta(days=left.days))
        return Remind(reminders=due, days_left=days_left, last=due == len(facts.reminder_days))
    ahead = [_time_of(facts.grace_ends_at, day) for day in facts.reminder_days[due:]]
    return LookAgain(min([*ahead, facts.grace_ends_at, now + LOOK_AGAIN]))


def passed(grace_ends_at: datetime, reminder_days: Sequence[int], now: datetime) -> int:
    """Return how many of the reminders have their time behind them."""
    return sum(_time_of(grace_ends_at, day) <= now for day in reminder_days)


def _time_of(grace_ends_at: datetime, day: int) -> datetime:
    return grace_ends_at - timedelta(days=day)
