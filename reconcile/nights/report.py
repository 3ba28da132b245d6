"""What a nightly run does, did, or would have done: values for a table, JSON or the run's row.

No rendering in here; amounts are in minor units of their currency, a credit is negative.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

# A report is read by a person: it names this many, and counts the rest.
MOST_LINES = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `reading` subscriptions, whose number nobody knows before, or `settling`
    so many of `total`."""

    phase: str
    done: int
    total: int | None = None


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Amounts of one currency and direction, and how many adjustments they are the sum of."""

    currency: str
    direction: str  # charged or credited
    total_minor: int
    adjustments: int


@dataclass(slots=True, kw_only=True)
class Report:
    """One night, counted. `state` is running, done, failed, or elsewhere (another process has it).

    `lines` says what was found of single subscriptions, `failures` what could not be settled; both
    hold the first 50.
    """

    night: date
    writes: bool
    state: str = "running"
    error: str | None = None
    pages: int = 0
    subscriptions: int = 0  # in Stripe's list
    rows: int = 0  # of their items
    differing: dict[str, int] = field(default_factory=dict)  # by what differs
    unknown: int = 0  # subscriptions of nobody we know
    bereft: int = 0  # organizations with active members and no subscription that has seats
    roster_problem: str | None = None  # why nobody could be counted: compared without
    settled: int = 0
    postponed: int = 0  # something is in flight, or another process has it
    failed: int = 0
    findings_opened: int = 0
    findings_closed: int = 0
    adjustments: dict[str, int] = field(default_factory=dict)  # by how they ended
    moved: list[Money] = field(default_factory=list)
    would_move: list[Money] = field(default_factory=list)  # a dry run's previews
    would_change: int = 0
    not_previewed: int = 0  # of those, beyond what a dry run previews
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def differences(self) -> int:
        """How many subscriptions and organizations had to be looked at."""
        return sum(self.differing.values())

    def say(self, line: str) -> None:
        """Add what was found of one."""
        if len(self.lines) < MOST_LINES:
            self.lines.append(line)

    def fail(self, line: str) -> None:
        """Count one that could not be read or settled, and say why."""
        self.failed += 1
        if len(self.failures) < MOST_LINES:
            self.failures.append(line)

    def would(self, currency: str, total_minor: int) -> None:
        """Add a previewed amount."""
        direction = "credited" if total_minor < 0 else "charged"
        added = Money(
            currency=currency, direction=direction, total_minor=total_minor, adjustments=1
        )
        for place, known in enumerate(self.would_move):
            if (known.currency, known.direction) == (currency, direction):
                self.would_move[place] = Money(
                    currency=currency,
                    direction=direction,
                    total_minor=known.total_minor + total_minor,
                    adjustments=known.adjustments + 1,
                )
                return
        self.would_move.append(added)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; the night as `YYYY-MM-DD`."""
        return asdict(self) | {"night": self.night.isoformat()}

    @classmethod
    def of_json(cls, night: date, raw: Mapping[str, Any]) -> "Report":
        """Return what `as_json` gave."""
        values = dict(raw) | {"night": night}
        for name in ("moved", "would_move"):
            values[name] = [Money(**one) for one in values.get(name, ())]
        return cls(**values)
