"""Requeue and discard: one event or all that match, in the order they came, and how each ended.

A requeued row is due like a new one, so the workers do the rest; the rate is kept by dating the
rows apart. Nothing is repaired twice at the same time, and nothing that holds more than a look (who
waits for a seat, what was approved for a renewal) is ever run again once it is done.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.envelope import InboxRow, Ours, read_event
from reconcile.nights.nightly import UNSETTLED
from reconcile.services import Services
from reconcile.store import checkouts, look, notices, repairs
from reconcile.store import work as work_store
from reconcile.store.look import Event, Filters
from reconcile.store.repairs import Requeue
from reconcile.store.roster import ROSTER_CHANGED

# One command repairs at most this many; what is left matches the same filter again.
MOST = 10_000
CHUNK = 200
EXAMPLES = 5
PER_SECOND = 20.0
LOOK_EVERY_S = 0.25

# A request to look at an organization or a subscription again, whose own row says nothing else.
LOOK_AGAIN = "trueup.reconcile.requested"
_REPEATABLE = frozenset(
    {ROSTER_CHANGED, UNSETTLED, LOOK_AGAIN, seat_change.TYPE, notices.DELIVER, checkouts.CLOSE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a repair would do: `ids` in order of receipt, `refused` with the reason for each."""

    ids: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[Event, ...] = ()
    capped: bool = False  # more match than one command repairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one repaired event ended; `pending` when it has not."""

    id: str
    state: str
    line: str

    @property
    def well(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.state in {"done", "superseded", "ignored", "discarded"}


def plan_requeue(
    services: Services, wanted: Sequence[str] | Filters, *, force: bool = False
) -> Plan:
    """Return which events would be requeued; `force` also takes finished ones. Writes nothing."""
    return _plan(services, wanted, lambda event: _why_not_requeue(services, event, force=force))


def plan_discard(services: Services, wanted: Sequence[str] | Filters) -> Plan:
    """Return which events would be discarded. Writes nothing."""
    return _plan(services, wanted, _why_not_discard)


def requeue(
    services: Services,
    event_ids: Sequence[str],
    actor: Actor,
    *,
    force: bool = False,
    per_second: float = PER_SECOND,
) -> Plan:
    """Requeue them in this order, at most so many due a second; returns what was and was not."""
    done: list[str] = []
    refused: dict[str, str] = {}
    for chunk in _chunks(event_ids):
        with services.sessions.begin() as session:
            found = repairs.locked(session, chunk)
            for event_id in chunk:
                event = found.get(event_id)
                if why_not := _why_not_requeue(services, event, force=force):
                    refused[event_id] = why_not
                    continue
                assert event is not None
                due_in = timedelta(seconds=len(done) / per_second)
                again = _read_again(services, event) if _is_stripes(event) else None
                repairs.requeue(
                    session, Requeue(event=event, due_in=due_in, read_again=again), actor
                )
                done.append(event_id)
    return Plan(ids=tuple(done), refused=refused)


def discard(services: Services, event_ids: Sequence[str], actor: Actor) -> Plan:
    """Put the events aside; requeueing one brings it back. Returns what was and was not."""
    done: list[str] = []
    refused: dict[str, str] = {}
    for chunk in _chunks(event_ids):
        with services.sessions.begin() as session:
            found = repairs.locked(session, chunk)
            for event_id in chunk:
                event = found.get(event_id)
                if why_not := _why_not_discard(event):
                    refused[event_id] = why_not
                    continue
                assert event is not None
                repairs.discard(session, event, actor)
                done.append(event_id)
    return Plan(ids=tuple(done), refused=refused)


def follow(
    services: Services,
    event_ids: Sequence[str],
    *,
    timeout_s: float,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Ended]:
    """Return how each of the events ended, waiting for them; what did not in time is `pending`.

    `tell` hears how many of how many have ended.
    """
    until = time.monotonic() + timeout_s
    ended: dict[str, Ended] = {}
    while True:
        open_ids = [each for each in event_ids if each not in ended or not ended[each].well]
        for each in _look(services, open_ids):
            ended[each.id] = each
        finished = sum(each.state != "pending" for each in ended.values())
        tell(finished, len(event_ids))
        if finished == len(event_ids) or time.monotonic() >= until:
            return [ended[each] for each in event_ids if each in ended]
        time.sleep(LOOK_EVERY_S)


def tally(ended: Sequence[Ended]) -> dict[str, int]:
    """Return how many ended in which way."""
    return dict(sorted(Counter(each.state for each in ended).items()))


def _plan(
    services: Services,
    wanted: Sequence[str] | Filters,
    why_not: Callable[[Event | None], str | None],
) -> Plan:
    with services.sessions() as session:
        if isinstance(wanted, Filters):
            ids = repairs.in_order(session, wanted, limit=MOST + 1)
        else:
            ids = tuple(dict.fromkeys(wanted))
        fine: list[Event] = []
        refused: dict[str, str] = {}
        for chunk in _chunks(ids[:MOST]):
            found = look.events_by_ids(session, chunk)
            for event_id in chunk:
                event = found.get(event_id)
                if reason := why_not(event):
                    refused[event_id] = reason
                elif event is not None:
                    fine.append(event)
    if not isinstance(wanted, Filters):
        fine.sort(key=lambda event: (event.received_at, event.id))
    return Plan(
        ids=tuple(event.id for event in fine),
        refused=refused,
        examples=tuple(fine[:EXAMPLES]),
        capped=len(ids) > MOST,
    )


def _why_not_requeue(services: Services, event: Event | None, *, force: bool) -> str | None:
    """Return why the event is left as it is, or None."""
    if event is None:
        return "no such event"
    if event.state in {"dead", "discarded"}:
        return None
    if event.state == "pending":
        return _why_wait(event)
    if event.state == "ignored":
        return _why_ignore(services, event)
    return _why_finished(event, force=force)


def _why_finished(event: Event, *, force: bool) -> str | None:
    if not force:
        return f"it is {event.state}; --force runs it again"
    if event.kind == "request" and event.type not in _REPEATABLE:
        return f"{event.type} is done once: running it again would repeat what was asked then"
    return None


def _why_wait(event: Event) -> str | None:
    if event.held_by is not None:
        return f"it is {event.reason}: resume that"
    if event.error_class or event.type == notices.DELIVER:  # which waits for another's failure
        return None
    return "it is pending already, and not after a failure"


def _why_ignore(services: Services, event: Event) -> str | None:
    if event.kind == "request":
        return None
    again = _read_again(services, event)
    return f"it would be ignored again: {again.reason}" if again.reason else None


def _is_stripes(event: Event) -> bool:
    """Return whether the row was ignored for what Stripe sent: its body is read anew then."""
    return event.state == "ignored" and event.kind != "request"


def _why_not_discard(event: Event | None) -> str | None:
    if event is None:
        return "no such event"
    if event.state not in {"dead", "pending"}:
        return f"it is {event.state}: nothing is to be done with it"
    return None


def _read_again(services: Services, event: Event) -> InboxRow:
    """Return what the stored body says by today's settings: another mode, account or type list."""
    with services.sessions() as session:
        body = work_store.payload_of(session, event.id)
    # Where it came from stays as it is; only what it means is read.
    return read_event(body, Ours.of(services.settings), source="webhook")


def _look(services: Services, event_ids: Sequence[str]) -> Iterator[Ended]:
    with services.sessions() as session:
        for chunk in _chunks(event_ids):
            found = look.events_by_ids(session, chunk)
            leaders = [event.superseded_by for event in found.values() if event.superseded_by]
            newest = look.events_by_ids(session, leaders)
            for event in found.values():
                # What went with another event ended as that one did.
                told = newest.get(event.superseded_by or "", event)
                yield Ended(id=event.id, state=told.state, line=told.line)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), CHUNK):
        yield ids[at : at + CHUNK]
