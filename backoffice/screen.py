"""Everything `reconcile.operating.status` cannot see by itself: the queue's server, the receiver.

For the command and for the API alike. Nothing in here raises: what is away is a line on the screen.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import requests
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from reconcile.operating import status
from reconcile.operating.screen import Part
from reconcile.operating.status import QueueSeen, Refused, Status
from reconcile.services import Services
from reconcile.settings import Settings
from webhooks.refusals import NAME as RECEIVER
from webhooks.refusals import heard
from worker.budget import SharedBudget
from worker.queues import Queue
from worker.relay import NAME as RELAY
from worker.schedule import NAME as SCHEDULE

RECEIVER_TIMEOUT_S = 5.0
MOST_HINTS = 1000


def screen(services: Services, receiver_url: str | None = None) -> Status:
    """Return how everything stands. `receiver_url` is asked for its readiness, when given."""
    queue = see_queue(services.settings)
    receiver = see_receiver(receiver_url) if receiver_url else None
    try:
        return status.look_around(services, queue, receiver)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        return status.without_database(services, queue, receiver, said)


def see_queue(settings: Settings) -> QueueSeen | str:
    """Return what the queue's server says, or why it says nothing."""
    queue = Queue(settings)
    try:
        workers, doors = queue.workers(), queue.signs(RECEIVER)
        return QueueSeen(
            waiting=queue.depth(),
            workers=len(workers),
            busy=sum(each.state == "busy" for each in workers),
            receivers=tuple(each.age_s for each in doors),
            relays=tuple(each.age_s for each in queue.signs(RELAY)),
            schedules=tuple(each.age_s for each in queue.signs(SCHEDULE)),
            refused=_refused(each.said for each in doors),
            budget_left=SharedBudget(settings).left(),
            budget_per_s=settings.stripe_requests_per_s,
        )
    except RedisError as error:
        return str(error) or type(error).__name__
    finally:
        queue.close()


def _refused(told: Iterable[str]) -> dict[str, Refused]:
    """Return what all processes of the door say they refused, by outcome."""
    found: dict[str, Refused] = {}
    for outcome, run in (each for said in told for each in heard(said).items()):
        since, last = (datetime.fromtimestamp(at, UTC) for at in (run.since, run.last))
        before = found.get(outcome) or Refused(count=0, since=since, last=last)
        found[outcome] = Refused(
            count=before.count + run.count,
            since=min(before.since, since),
            last=max(before.last, last),
        )
    return found


def hinted(settings: Settings) -> frozenset[str]:
    """Return the work keys that wait in the queue; none when it cannot be asked."""
    queue = Queue(settings)
    try:
        return frozenset(queue.waiting(MOST_HINTS))
    except RedisError:
        return frozenset()
    finally:
        queue.close()


def see_receiver(url: str) -> Part:
    """Return whether the receiver at the url (`https://host`) is ready for events."""
    asked = f"{url.rstrip('/')}/readyz"
    try:
        answer = requests.get(asked, timeout=RECEIVER_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        return Part(
            name="receiver",
            well=False,
            line=f"{asked} does not answer ({type(error).__name__})",
            do=("trueup receiver",),
        )
    ready = answer.status_code == requests.codes.ok
    return Part(
        name="receiver",
        well=ready,
        line=f"{asked} is ready" if ready else f"{asked}: {answer.status_code} {answer.text[:200]}",
        do=() if ready else ("look at what its body names: docs/runbook.md",),
    )
