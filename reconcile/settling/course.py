"""One settling under way, and the one line for a person that it ends with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from reconcile.policy.values import OrganizationFacts, SubscriptionFacts, Verdict
from reconcile.roster import RosterUnreadable
from reconcile.services import Services
from reconcile.settling import own_findings
from reconcile.store.findings import Synced


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How it ended, in one line for a person.

    `again_at` is set when there was something to wait for. `would` is, of a run that does not
    write, what Stripe's preview says it would have charged: currency and minor units, signed.
    `ignored`: nothing could be done with it here; it is kept, to be replayed. `planned_at`: when
    the hour comes of what was planned and asked for too early. `decided` are the facts and the
    decision of every round, as `considered` tells them.
    """

    line: str
    again_at: datetime | None = None
    planned_at: datetime | None = None
    verdict: Verdict | None = None
    adjustment_id: str | None = None
    opened: int = 0
    closed: int = 0
    would: tuple[str, int] | None = None
    ignored: bool = False
    decided: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Course:
    """One settling under way: what it is for, and what has happened so far."""

    services: Services
    subscription_id: str
    trigger: str
    writes: bool
    retry_declined: bool
    previews: bool
    beside: bool = True
    done: list[str] = field(default_factory=list)
    adjustment_id: str | None = None
    opened: int = 0
    closed: int = 0
    decided: list[Mapping[str, Any]] = field(default_factory=list)
    roster_problem: str | None = None

    def count(self, synced: Synced) -> None:
        """Add up the findings opened and closed."""
        self.opened += synced.opened
        self.closed += synced.closed

    def note_roster(self, session: Session, facts: SubscriptionFacts | OrganizationFacts) -> None:
        """Record whether the roster these facts were read from can be read at all."""
        if self.services.roster.view is None:
            return
        self.roster_problem = facts.counts_problem if facts.roster_unreadable else None
        synced = own_findings.sync_roster(
            session, self.services, self.roster_problem, opened_by=self.trigger, whole=False
        )
        self.count(synced)

    def need_roster(self) -> None:
        """Raise RosterUnreadable when nobody could be counted: what counts decide has to wait."""
        if self.roster_problem is not None:
            raise RosterUnreadable(self.roster_problem)

    def ended(
        self,
        line: str,
        verdict: Verdict | None = None,
        *,
        again_at: datetime | None = None,
        would: tuple[str, int] | None = None,
    ) -> Settled:
        """Return how it ended; `line` is used where nothing was done."""
        # What was done says more than what then agreed.
        return Settled(
            line="; ".join(self.done) if self.done and again_at is None else line,
            again_at=again_at,
            verdict=verdict,
            adjustment_id=self.adjustment_id,
            opened=self.opened,
            closed=self.closed,
            would=would,
            decided=tuple(self.decided),
        )
