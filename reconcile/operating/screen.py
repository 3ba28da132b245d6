"""The words of the status screen: a part of it, counts, and how long ago something was."""

from collections.abc import Mapping
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
