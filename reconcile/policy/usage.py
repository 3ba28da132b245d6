"""C9: usage over a plan's limit for two consecutive months: something for a person to look at.

Soft: it blocks nothing and restricts nobody. Each currency is looked at on its own, and so is the
count of orders. Months are written `2026-11`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconcile.policy.values import UsageLimit

# How many months in a row make it worth a look.
CONSECUTIVE = 2

# (metric, currency) -> month -> a count, or minor units
Reported = Mapping[tuple[str, str], Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One metric that was over its limit from the month `since` through the month `through`."""

    metric: str
    currency: str
    most: int
    since: str
    through: str
    latest: int  # the value of the month `through`


def flags(limits: Iterable[UsageLimit], reported: Reported, *, running: str) -> tuple[Flag, ...]:
    """Return every limit that is passed by the latest months in a row.

    `running` is the first month that may not be over everywhere: a value of it, or of a later one,
    is only a beginning and counts when it is over the limit already.
    """
    found = []
    for limit in limits:
        months = reported.get((limit.metric, limit.currency), {})
        known = {m: value for m, value in months.items() if m < running or value > limit.most}
        if not known:
            continue
        through = since = max(known)
        while known.get(before(since), -1) > limit.most:
            since = before(since)
        row = known[through] > limit.most and _months_between(since, through) + 1
        if row >= CONSECUTIVE:
            found.append(
                Flag(
                    metric=limit.metric,
                    currency=limit.currency,
                    most=limit.most,
                    since=since,
                    through=through,
                    latest=known[through],
                )
            )
    return tuple(found)


def unseen(now: Iterable[Flag], seen: Sequence[Flag]) -> tuple[Flag, ...]:
    """Return the flags that a person has not looked at: a row of months they saw may go on."""
    looked_at = {(flag.metric, flag.currency): flag.through for flag in seen}
    return tuple(
        flag for flag in now if looked_at.get((flag.metric, flag.currency), "") < flag.since
    )


def before(month: str) -> str:
    """Return the month before."""
    year, number = _parts(month)
    return f"{year - 1}-12" if number == 1 else f"{year:04}-{number - 1:02}"


def _months_between(since: str, through: str) -> int:
    (year, month), (last_year, last_month) = _parts(since), _parts(through)
    return (last_year - year) * 12 + last_month - month


def _parts(month: str) -> tuple[int, int]:
    year, _, number = month.partition("-")
    return int(year), int(number)
