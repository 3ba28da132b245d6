"""What happens when in a chaos run: a pure function of the seed, printable, nothing else in here.

Times are seconds from the start. How the machine keeps up differs from run to run, so a seed brings
the same blows in the same order, not the same interleaving: a failing one is run again a few times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from reconcile.crash_points import CrashPoint

PROCESSES = ("receiver", "api", "relay", "worker-1", "worker-2", "schedule")
WORKERS = ("worker-1", "worker-2")

# Where a worker can die in the middle of its work; the others are places of other processes.
PLACES = (
    CrashPoint.AFTER_CLAIM,
    CrashPoint.AFTER_INTENT,
    CrashPoint.AFTER_CALL,
    CrashPoint.AFTER_OUTCOME,
    CrashPoint.BEFORE_FINISH,
)

_WRITE = ("POST", "/v1/subscriptions/*")
_READ = ("GET", "/v1/subscriptions/*")
_PREVIEW = ("POST", "/v1/invoices/create_preview")
_FAULTS = (
    "rate_limit",
    "lock_timeout",
    "server_error",
    "server_error_after",
    "timeout_before",
    "timeout_after",
    "slow",
    "permission",
)
_BLOWS = (
    *("kill", "kill", "kill", "stop", "freeze", "crash", "crash"),
    *("forget_queue", "kill_queue", "kill_database"),
)
# What is done to machines; everything else is done by people.
MACHINES = frozenset(_BLOWS)


@dataclass(frozen=True, slots=True)
class Company:
    """An organization at the start: `pools` is seat type to (bought, active), in Stripe's order.

    A stranger's subscription is in Stripe from the start, its organization is imported at the end.
    """

    id: str
    plan: str
    pools: tuple[tuple[str, int, int], ...]
    auto_add: bool = False
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens; `act` names a method of whoever does it."""

    at_s: float
    act: str
    args: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.at_s:6.2f} s  {self.act} {' '.join(map(str, self.args))}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    seconds: float
    companies: tuple[Company, ...]
    places: tuple[CrashPoint, ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        workers = ", ".join(f"{w} dies {p}" for w, p in zip(WORKERS, self.places, strict=True))
        head = f"seed {self.seed}: {len(self.companies)} organizations, {self.seconds:g} s; "
        return "\n".join([head + workers, *map(str, self.companies), *map(str, self.steps)])


def plan(seed: int, *, seconds: float, companies: int) -> Plan:
    """Return the plan of a seed: who is there, and what happens in so many seconds."""
    random = Random(seed)
    found = tuple(_companies(random, companies))
    places = tuple(random.choice(PLACES) for _ in WORKERS)
    steps = [
        *_people(random, found, seconds),
        *_weather(random, seconds),
        *_on_call(random, found, seconds),
        *_machines(random, seconds),
    ]
    return Plan(seed, seconds, found, places, tuple(sorted(steps, key=lambda step: step.at_s)))


def _companies(random: Random, count: int) -> Iterator[Company]:
    for number in range(count):
        name = f"org_{number}"
        if number % 8 == 7:
            yield Company(name, "agency", (("voice", 3, 2), ("base", 1, 1)), stranger=True)
        elif number % 4 == 3:
            active = random.randint(2, 6)
            yield Company(name, "team", (("member", active, active),))
        else:
            voice, base = random.randint(2, 6), random.randint(1, 4)
            pools = (("voice", voice + random.randint(0, 3), voice), ("base", base + 1, base))
            yield Company(name, "agency", pools, auto_add=random.random() < 0.6)


def _times(random: Random, seconds: float, per_s: float) -> Iterator[float]:
    for _ in range(max(1, round(seconds * per_s))):
        yield round(random.uniform(0, seconds), 2)


def _people(random: Random, companies: tuple[Company, ...], seconds: float) -> Iterator[Step]:
    """The customers' people, the host application, and whoever clicks in Stripe's dashboard."""
    # Stripe allows a subscription few invoices a day: what charges is planned sparingly, what
    # only makes events is not.
    for company in companies:
        pools = [pool for pool, _, _ in company.pools]
        for at in _times(random, seconds, 0.35):
            yield Step(at, "touch", (company.id,))
        for _ in range(random.randint(2, 4)):
            at, step = round(random.uniform(0, seconds), 2), random.choice((-3, -2, -1, 1, 2, 3))
            # What is first seen is taken as bought; a stranger's roster has to fit it.
            step = abs(step) if company.stranger else step
            behavior = random.choice(("none", "none", "create_prorations", "always_invoice"))
            yield Step(at, "edit", (company.id, random.choice(pools), step, behavior))
        if company.stranger:
            continue
        for _ in range(random.randint(1, 3)):
            at = round(random.uniform(0, seconds), 2)
            yield Step(at, "join", (company.id, random.choice(pools), random.randint(1, 4)))
        for _ in range(random.randint(0, 2)):
            at, how = round(random.uniform(0, seconds), 2), random.choice(("block", "remove"))
            yield Step(at, "leave", (company.id, random.choice(pools), how))
        if company.plan == "agency":
            for _ in range(random.randint(0, 2)):
                at = round(random.uniform(0, seconds), 2)
                change = {pool: random.choice((-2, -1, 0, 1, 2)) for pool in pools}
                yield Step(at, "save", (company.id, tuple(change.items())))
        if random.random() < 0.3:
            at = round(random.uniform(0, seconds * 0.7), 2)
            yield Step(at, "card", (company.id, "card_declined"))
            yield Step(at + round(random.uniform(1, 5), 2), "card", (company.id, ""))


def _weather(random: Random, seconds: float) -> Iterator[Step]:
    """What Stripe does to our calls and to its webhooks."""
    for at in _times(random, seconds, 0.8):
        method, path = random.choice((_WRITE, _WRITE, _READ, _READ, _PREVIEW))
        kind = random.choice(_FAULTS)
        delay_s = round(random.uniform(0.2, 3), 2) if kind in {"slow", "timeout_after"} else 0.0
        yield Step(at, "fault", (kind, method, path, random.randint(1, 3), delay_s))
    for at in _times(random, seconds, 1.5):
        kind = random.choice(("drop", "lose", "double", "delay", "reorder"))
        yield Step(
            at, "webhook_fault", (kind, random.randint(1, 6), round(random.uniform(0, 2), 2))
        )
    for at in _times(random, seconds, 0.5):
        yield Step(at, "replay", (random.randint(1, 20),))
    for at in _times(random, seconds, 0.2):
        yield Step(at, "forge", (random.randrange(2**32),))
    for number, at in enumerate(_times(random, seconds, 0.05)):
        yield Step(at, random.choice(("night", "audit")), (number,))


def _on_call(random: Random, companies: tuple[Company, ...], seconds: float) -> Iterator[Step]:
    """A defect that is mended meanwhile: what died of it is requeued by whoever is on call."""
    for at in _times(random, seconds, 0.3):
        yield Step(at, "bury", (random.choice(companies).id,))
    for at in _times(random, seconds, 0.1):
        yield Step(at, "requeue")


def _machines(random: Random, seconds: float) -> Iterator[Step]:
    """What is killed, stopped, frozen or forgets; one after another, each with its time."""
    at = random.uniform(1, 2)
    while at < seconds:
        what = random.choice(_BLOWS)
        away_s = round(random.uniform(0.1, 2.5), 2)
        args: tuple[object, ...] = ()
        if what in {"kill", "stop"}:
            args = (random.choice(PROCESSES),)
        elif what == "freeze":
            args = (random.choice((*WORKERS, "relay", "receiver")), away_s)
        elif what == "crash":
            args = (random.choice(WORKERS),)
        elif what in {"kill_queue", "kill_database"}:
            args = (away_s,)
        yield Step(round(at, 2), what, args)
        at += random.uniform(0.8, 3)
