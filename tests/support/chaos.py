"""A chaos run: everything as in production, everything goes wrong, and then the accounts are done.

`python -m tests.support.chaos [--seed N] [--minutes M] [--seconds S] [--companies C] [--show]`
runs rounds with fresh seeds (or the one that is given, once) and ends with exit code 1 at the first
that finds something; `--show` prints a seed's plan and does nothing. The seconds are those of the
blows: starting, settling down and checking come on top. A seed's plan depends on its sizes too.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select, text

from reconcile.services import Services, open_services
from reconcile.store.renewals import PLANNED
from reconcile.tables import events, seats
from tests.support import chaos_checks
from tests.support.api import a_token
from tests.support.chaos_machines import Machines, running_machines
from tests.support.chaos_people import People
from tests.support.chaos_plan import MACHINES, Plan, plan
from worker.budget import SharedBudget

HANDS = 8
# Without any progress; how long it takes altogether is the machine's business, up to a point.
STUCK_S = 60.0
AT_MOST_S = 600.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run found wrong, and what happened in it."""

    problems: list[str]
    figures: str
    last_words: str


def run(what: Plan, tell: Tell = lambda _: None) -> Ended:
    """Play the plan, let things settle, and return what is not as it has to be."""
    # One thread strikes all blows and outlives what it starts: a child of this machine is told to
    # end when the thread that started it does.
    with ThreadPoolExecutor(1) as blows, _stage(what) as (machines, people, services):
        _play(what, machines, people, blows, tell)
        tell("settling down")
        stuck = _settle_down(machines, people, services)
        found = [*stuck, *chaos_checks.problems(services, people)]
        words = [machines.last_words(), *chaos_checks.stories(services, people, found)]
        return Ended(found, _figures(services, people), "\n".join(words) if found else "")


@contextmanager
def _stage(what: Plan) -> Iterator[tuple[Machines, People, Services]]:
    with tempfile.TemporaryDirectory(prefix="trueup-chaos-") as found:
        home = Path(found)
        with running_machines(what, home) as machines, _quiet():
            services = open_services(machines.settings, SharedBudget(machines.settings))
            try:
                people = People(
                    services=services,
                    buyer=machines.buyer,
                    receiver_url=machines.receiver_url,
                    secret=machines.secret,
                    api_url=machines.api_url,
                    token=a_token(services),
                    home=home,
                )
                people.enter(what.companies)
                # What is first seen is taken as bought, so it is seen before anybody changes it.
                at_first = sum(not company.stranger for company in what.companies)
                _until(lambda: _known(services) >= at_first, "every subscription is known")
                yield machines, people, services
            finally:
                services.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """The driver's own log lines are nobody's business; the processes have files."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(*_: object) -> dict[str, Any]:
    raise structlog.DropEvent


def _play(
    what: Plan, machines: Machines, people: People, blows: ThreadPoolExecutor, tell: Tell
) -> None:
    """Do each step at its time: blows one after another, people beside each other."""
    began_at = time.monotonic()
    done: list[Future[None]] = []
    with ThreadPoolExecutor(HANDS) as hands:
        for step in what.steps:
            time.sleep(max(0.0, began_at + step.at_s - time.monotonic()))
            if step.act in MACHINES:
                tell(str(step))
                done.append(blows.submit(machines.act, step.act, step.args))
            else:
                done.append(hands.submit(people.act, step.act, step.args))
    for each in done:
        each.result()


def _settle_down(machines: Machines, people: People, services: Services) -> list[str]:
    """The world is friendly again; time passes until nothing waits. Returns what does not end."""
    people.buyer._answer("DELETE", "/_sandbox/faults")
    people.buyer._answer("DELETE", "/_sandbox/webhook_faults")
    machines.calm()
    for customer in people.customers.values():
        people.card(customer.company.id, "")
    people.pay()
    people.act("requeue", ())
    people.export([c.company for c in people.customers.values() if c.company.stranger])
    found = [*_come_to_rest(people, services, "audit", "night")]
    for customer in people.customers.values():
        people.touch(customer.company.id)
    return [*found, *_come_to_rest(people, services, "audit")]


_nights = iter(range(1000, 100_000))


def _come_to_rest(people: People, services: Services, *tasks: str) -> Iterator[str]:
    deliveries = "/_sandbox/deliveries"
    _until(lambda: people.buyer.get(deliveries)["waiting"] == 0, "every webhook is delivered")
    for task in tasks:
        people.act(task, (next(_nights),))
        yield from _worked_off(services)


def _worked_off(services: Services) -> Iterator[str]:
    """Let what waits for later come due now, until nothing is left or nothing ends any more."""
    began_at = moved_at = time.monotonic()
    waiting, ended = _rows(services)
    while waiting:
        with services.sessions.begin() as session:
            session.execute(
                text(
                    "update events set due_at = now() where state = 'pending' "
                    "and due_at > now() + interval '3 s' and type <> all(:planned)"
                ),
                {"planned": list(PLANNED)},
            )
        time.sleep(0.3)
        before = ended
        waiting, ended = _rows(services)
        now = time.monotonic()
        moved_at = now if ended > before else moved_at
        if now - moved_at > STUCK_S or now - began_at > AT_MOST_S:
            yield f"{waiting} events are not worked off, {now - moved_at:.0f} s after the last one"
            return


def _rows(services: Services) -> tuple[int, int]:
    """How many rows of the inbox wait, and how many have ended; a renewal is a month away."""
    pending = events.c.state == "pending"
    waiting = pending & events.c.type.not_in(PLANNED)
    wanted = select(func.count().filter(waiting), func.count().filter(~pending))
    with services.sessions() as session:
        left, ended = session.execute(wanted).one()
    return int(left), int(ended)


def _known(services: Services) -> int:
    with_seats = select(func.count(seats.c.subscription_id.distinct()))
    with services.sessions() as session:
        return int(session.scalar(with_seats) or 0)


def _until(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + AT_MOST_S
    while not true():
        assert time.monotonic() < until, f"{what}: not after {AT_MOST_S:g} s"
        time.sleep(0.1)


def _figures(services: Services, people: People) -> str:
    with services.sessions() as session:
        states = session.execute(
            text("select state, count(*), sum(deliveries) from events group by 1 order by 1")
        ).all()
        ended = session.execute(
            text("select state, count(*) from adjustments group by 1 order by 1")
        ).all()
    rows = ", ".join(f"{count} {state} ({came} deliveries)" for state, count, came in states)
    changes = ", ".join(f"{count} {state}" for state, count in ended)
    acts = ", ".join(f"{count} {act}" for act, count in sorted(people.done.items()))
    return f"events: {rows}\nadjustments: {changes}\nacts: {acts}"


def main() -> int:
    """Run rounds until the time is over or one finds something; returns the exit code."""
    asked = asked_for(sys.argv[1:])
    tell: Tell = partial(_print, sys.stdout.write)
    until, rounds = time.monotonic() + asked.minutes * 60, 0
    while True:
        seed = asked.seed if asked.seed is not None else secrets.randbelow(10**9)
        what = plan(seed, seconds=asked.seconds, companies=asked.companies)
        if asked.show:
            tell(str(what))
            return 0
        tell(f"seed {seed}: {len(what.steps)} steps, {len(what.companies)} organizations")
        began_at = time.monotonic()
        ended = run(what)
        tell(f"{ended.figures}\n{time.monotonic() - began_at:.0f} s")
        if ended.problems:
            tell("\n".join([ended.last_words, f"SEED {seed} FOUND:", *ended.problems]))
            tell(f"again: {again(what)}")
            tell(f"its plan: python -m tests.support.chaos {' '.join(_sizes(what))} --show")
            return 1
        rounds += 1
        if asked.seed is not None or time.monotonic() > until:
            tell(f"{rounds} rounds, nothing found")
            return 0


def again(what: Plan) -> str:
    """The line that plays a plan once more, to be pasted."""
    sizes = _sizes(what)
    named = zip(sizes[::2], sizes[1::2], strict=True)
    return " ".join(["make chaos", *(f"{n.removeprefix('--').upper()}={v}" for n, v in named)])


def _sizes(what: Plan) -> list[str]:
    sizes = {"seed": what.seed, "seconds": f"{what.seconds:g}", "companies": len(what.companies)}
    return [word for name, size in sizes.items() for word in (f"--{name}", str(size))]


def _print(write: Callable[[str], int], line: str) -> None:
    write(line + "\n")
    sys.stdout.flush()


def asked_for(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says; the sizes are `plan`'s."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.chaos")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--companies", type=int, default=40)
    parser.add_argument("--show", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
