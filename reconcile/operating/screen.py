"""The words of the status screen: a part of it, counts, and how long ago something was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing: whether it is well, a line, and what to do next. `facts` are its figures."""

    name: str
    well: bool
    line: str
    do: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


# Who is alive says so every five seconds; this long without a word, something may be wrong.
SILENT_S = 10.0


def alive(heard_s: Sequence[float], what: str = "") -> str:
    """Return how many are alive, heard of so many seconds ago, and of how many no more is heard."""
    silent = [each for each in heard_s if each > SILENT_S]
    if not heard_s:
        return "none is alive"
    told = f"{len(heard_s)} {what}alive"
    return f"{told}, {len(silent)} not heard of for {span(max(silent))}" if silent else told


def up_to(most: int, count: int) -> str:
    """Return as words a count that stopped at `most`."""
    return f"{count} or more" if count >= most else str(count)


def counted(counts: Mapping[str, Any]) -> str:
    """Return counts by name as words."""
    return ", ".join(f"{value} {name}" for name, value in sorted(counts.items()))


def ago(now: datetime, then: datetime | None) -> str:
    """Return how long ago it was."""
    if then is None:
        return "never"
    return f"{span((now - then).total_seconds())} ago"


def span(seconds: float) -> str:
    """Return a duration in one unit, rounded down."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
