"""After an outage: everything current again, in one go, whatever was away.

What Stripe sent and nobody kept comes in; what failed for the outage's sake is tried again; the
workers' end is waited for; then Stripe and the members are compared. Doing it again does no harm.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reconcile.actor import Actor
from reconcile.errors import ErrorClass
from reconcile.nights import audit, nightly
from reconcile.nights.report import Report
from reconcile.operating import repairing
from reconcile.services import Services
from reconcile.store import gauges, inbox, repairs
from reconcile.store.look import Filters

WAIT_S = 600.0
LOOK_EVERY_S = 0.5

# What passes by itself, and may have lasted longer than the tries did.
_PASSING = (ErrorClass.RETRY, ErrorClass.RATE_LIMITED)

Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class CaughtUp:
    """What was done. `unfinished` and what follows is left when it was over; 0 is well.

    `untold` are notices that the host has not taken, counted up to 10,000.
    """

    audit: str = "not begun"
    looked_at: int = 0
    brought_in: int = 0
    requeued: int = 0
    hurried: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    night: Report | None = None
    unfinished: int = 0
    failing: int = 0
    dead: int = 0
    untold: int = 0

    @property
    def well(self) -> bool:
        """Whether nothing is left behind."""
        night_well = self.night is not None and self.night.state == "done" and not self.night.failed
        left = self.unfinished + self.failing + self.dead + self.untold
        return self.audit == "done" and night_well and not left


def catch_up(services: Services, actor: Actor, *, tell: Tell, wait_s: float = WAIT_S) -> CaughtUp:
    """Bring everything current and return what was done. Raises what kept the night from running.

    `tell` hears a line for each step. The relay and the workers have to be alive; what they have
    not finished after `wait_s` is counted in the answer.
    """
    done = CaughtUp()
    night = services.clock().date()
    tell("bringing in what Stripe sent and nobody kept")
    found = audit.run(services, night, again=True)
    done.audit = found.state
    done.looked_at = int(found.report.get("looked_at", 0))
    done.brought_in = int(found.report.get("missing", 0))
    tell(f"the gap audit is {found.state}: {done.looked_at} looked at, {done.brought_in} missing")
    requeued = _requeue_passing(services, actor)
    done.requeued = len(requeued)
    with services.sessions.begin() as session:
        done.hurried = repairs.hurry_retries(session)
    tell(f"{done.requeued} dead letters of outages requeued, {done.hurried} retries hurried")
    _wait(services, tell, wait_s)
    done.ended = repairing.tally(repairing.follow(services, requeued, timeout_s=0))
    tell("comparing Stripe with the members")
    done.night = nightly.run(services, night, again=True)
    _wait(services, tell, wait_s)
    with services.sessions() as session:
        figures = gauges.read(session.connection(), hint_lease_s=services.settings.hint_lease_s)
        done.unfinished = repairs.busy(session)
        done.untold = repairs.untold(session, limit=inbox.COUNTED)
    done.failing, done.dead = sum(figures.failing.values()), sum(figures.dead.values())
    return done


def _requeue_passing(services: Services, actor: Actor) -> list[str]:
    ids: list[str] = []
    for error_class in _PASSING:
        plan = repairing.plan_requeue(services, Filters(state="dead", error_class=error_class))
        ids += repairing.requeue(services, plan.ids, actor).ids
    return ids


def _wait(services: Services, tell: Tell, wait_s: float) -> None:
    """Wait until nothing is due or being worked on; say how far it is now and then."""
    until, told = time.monotonic() + wait_s, -1
    while True:
        with services.sessions() as session:
            left = repairs.busy(session)
        if left != told:
            tell(f"{left} left for the workers")
            told = left
        if not left or time.monotonic() >= until:
            return
        time.sleep(LOOK_EVERY_S)
