"""The screen: each thing that is not well says so, and what to do next."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from backoffice.screen import screen, see_queue, see_receiver
from reconcile.nights import audit, nightly, prune
from reconcile.operating.screen import Part
from reconcile.operating.status import QueueSeen, Refused, Status, look_around
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import notices
from reconcile.tables import findings, runs
from tests.support.operating import dead, put
from tests.support.services import running_services
from tests.support.shop import Shop

IDLE = QueueSeen(
    waiting=0, workers=2, busy=0, receivers=(0.1, 4.9), relays=(2.0,), schedules=(3.0,),
    refused={}, budget_left=20, budget_per_s=20,
)  # fmt: skip


def part(status: Status, name: str) -> Part:
    return next(each for each in status.parts if each.name == name)


def add_run(services: Services, task: str, *, days_ago: int, state: str = "done") -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    finished = {"finished_at": at} if state != "running" else {}
    with services.sessions.begin() as session:
        session.execute(
            insert(runs).values(
                task=task, night=at.date(), state=state, writes=True, started_at=at, **finished,
                report={"error": "Stripe was away"} if state == "failed" else {},
            )
        )  # fmt: skip


def test_where_all_is_well_nothing_is_to_be_done(shop: Shop) -> None:
    for task in (nightly.TASK, audit.TASK):
        add_run(shop.services, task, days_ago=0)
    found = look_around(shop.services, IDLE)
    assert found.well, [each for each in found.parts if not each.well]
    assert not any(each.do for each in found.parts)


def test_dead_letters_are_grouped_by_the_mistake_with_the_command_that_helps(shop: Shop) -> None:
    for number in range(3):
        dead(shop.services, work_key=f"sub:sub_{number}")
    dead(shop.services, "StripeRejected:no_item", reason="no such item")
    letters = part(look_around(shop.services, IDLE), "dead letters")
    assert not letters.well
    assert letters.line.startswith("3 x Boom@work.settle (boom); 1 x StripeRejected:no_item")
    assert letters.do[0].endswith(
        'requeue --state dead --fingerprint Boom@work.settle --because "..."'
    )


def test_a_fingerprint_is_told_as_a_shell_takes_it(shop: Shop) -> None:
    dead(shop.services, "HostAway:no answer (ConnectionError)")
    told = part(look_around(shop.services, IDLE), "dead letters").do[0]
    _, _, fingerprint, *_ = shlex.split(told.partition("--state")[2])
    assert fingerprint == "HostAway:no answer (ConnectionError)"


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("workers", replace(IDLE, workers=0)),
        ("receiver", replace(IDLE, receivers=())),
        ("relay", replace(IDLE, relays=())),
        ("schedule", replace(IDLE, schedules=())),
        ("queue", "Connection refused"),
    ],
)
def test_what_is_not_alive_is_named(shop: Shop, name: str, queue: QueueSeen | str) -> None:
    found = part(look_around(shop.services, queue), name)
    assert not found.well
    assert found.do


def test_who_was_killed_a_moment_ago_is_said_to_be_silent(shop: Shop) -> None:
    found = look_around(shop.services, replace(IDLE, relays=(1.0, 14.2)))
    assert part(found, "relay").line == "2 alive, 1 not heard of for 14 s"
    assert part(found, "schedule").line == "1 alive"


def test_what_the_door_refuses_after_the_last_delivery_wakes_somebody(shop: Shop) -> None:
    """A stranger who knocks while Stripe delivers is told of, and is nobody's emergency."""
    now = shop.services.clock()
    since, last = now - timedelta(minutes=41), now - timedelta(seconds=12)
    refused = {
        "bad_signature": Refused(count=142, since=since, last=last),
        "too_large": Refused(count=1, since=last, last=last),
    }
    knocking = replace(IDLE, refused=refused)
    put(shop.services, received_at=now - timedelta(hours=3))
    found = part(look_around(shop.services, knocking), "receiver")
    assert (found.well, found.do) == (False, ("trueup doctor",))
    assert found.line.endswith(
        "refused 1 too large, 142 with a bad signature, the first 41 min ago, the last 12 s ago"
    )
    quiet = {"bad_signature": Refused(count=9, since=since, last=now - timedelta(hours=2))}
    assert part(look_around(shop.services, replace(IDLE, refused=quiet)), "receiver").well
    put(shop.services)
    found = part(look_around(shop.services, knocking), "receiver")
    assert found.well
    assert "142 with a bad signature" in found.line


def test_a_door_that_lets_events_in_is_not_said_to_be_gone(shop: Shop) -> None:
    """In a rolling upgrade: one of an earlier release gives no sign of life, and does its work."""
    now = shop.services.clock()
    mute = replace(IDLE, receivers=())
    put(shop.services, received_at=now - timedelta(minutes=3))
    gone = part(look_around(shop.services, mute), "receiver")
    assert (gone.well, gone.do) == (False, ("trueup receiver",))
    put(shop.services, received_at=now - timedelta(seconds=9))
    there = part(look_around(shop.services, mute), "receiver")
    assert (there.well, there.do) == (True, ())
    assert there.line.startswith("none says that it lives")


def test_a_row_that_nobody_hints_tells_of_a_missing_relay(shop: Shop) -> None:
    put(shop.services, due_at=datetime.now(UTC) - timedelta(minutes=1))
    found = part(look_around(shop.services, IDLE), "relay")
    assert not found.well
    assert "was not hinted" in found.line


def test_while_the_queue_is_away_nobody_is_told_to_start_a_relay(shop: Shop) -> None:
    put(shop.services, due_at=datetime.now(UTC) - timedelta(minutes=1))
    found = look_around(shop.services, "Connection refused")
    assert not part(found, "relay").well
    assert not part(found, "relay").do
    assert part(found, "queue").do


def test_an_old_event_names_itself(shop: Shop) -> None:
    old = datetime.now(UTC) - timedelta(hours=1)
    put(shop.services)
    event_id = put(shop.services, received_at=old - timedelta(days=9), due_at=old)
    found = part(look_around(shop.services, IDLE), "inbox")
    assert not found.well
    assert found.line == f"2 unfinished; {event_id} waits longest for a worker, 60 min"


@pytest.mark.parametrize(
    ("task", "days_ago", "state", "said"),
    [
        (nightly.TASK, 2, "done", "did not happen"),
        (nightly.TASK, 0, "failed", "Stripe was away"),
        (audit.TASK, 4, "running", "did not happen"),
    ],
)
def test_a_night_that_failed_or_did_not_happen_is_not_well(
    shop: Shop, task: str, days_ago: int, state: str, said: str
) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=0)
    add_run(shop.services, task, days_ago=days_ago, state=state)
    found = part(look_around(shop.at(noon).services, IDLE), task.replace("_", " "))
    assert not found.well
    assert said in found.line
    assert found.do


def test_a_night_ahead_of_the_clock_stands_for_none(shop: Shop) -> None:
    """`trueup nightly --night 2036-01-01` once, and a schedule that is dead would look well."""
    noon = datetime.now(UTC).replace(hour=12, minute=0)
    add_run(shop.services, nightly.TASK, days_ago=-9)
    add_run(shop.services, nightly.TASK, days_ago=2)
    found = part(look_around(shop.at(noon).services, IDLE), "nightly")
    assert not found.well
    assert "did not happen" in found.line


def test_in_tonights_first_hours_an_older_night_is_missed_all_the_same(shop: Shop) -> None:
    """Tonight's may still come; the one of a week ago will not."""
    early = datetime.now(UTC).replace(hour=5, minute=0)
    for task, days_ago in ((prune.TASK, 9), (nightly.TASK, 1), (audit.TASK, 2)):
        add_run(shop.services, task, days_ago=days_ago)
    parts = look_around(shop.at(early).services, IDLE)
    told = {name: part(parts, name).well for name in ("prune", "nightly", "gap audit")}
    assert told == {"prune": False, "nightly": True, "gap audit": False}


def test_a_host_that_takes_no_notices_has_a_line_of_its_own(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    settings = make_settings(
        database_url=database_url,
        host_webhook_url="https://app.example.com/hooks",
        host_webhook_secrets="whsec_bm90aGluZyBoZXJlIGlzIHJlYWwsIG5vdGhpbmc=",
    )
    with running_services(settings) as services:
        with services.sessions.begin() as session:
            first, _ = (
                notices.add(session, "member.changed", f"mem_{number}", "x",
                            organization_id=None, due_at=services.clock())
                for number in (1, 2)
            )  # fmt: skip
        assert part(look_around(services, IDLE), "notices").line == "2 not delivered"
        tried = notices.Try(
            at=services.clock(), delivered=False, status=None, trouble="no answer (Timeout)",
            holds_until=None,
        )  # fmt: skip
        with services.sessions.begin() as session:
            notices.write_try(session, str(first), tried)
        found = part(look_around(services, IDLE), "notices")
    assert found.line == "2 not delivered, app.example.com: no answer (Timeout)"
    assert found.do == ("trueup notices list --not-delivered",)


def test_a_dry_night_that_left_something_says_so_and_is_well(shop: Shop) -> None:
    add_run(shop.services, nightly.TASK, days_ago=0)
    with shop.services.sessions.begin() as session:
        session.execute(update(runs).values(writes=False, report={"would_change": 2}))
    found = part(look_around(shop.services, IDLE), "nightly")
    assert found.well
    assert found.line.endswith("2 would change and did not: trueup nightly --write")


def test_only_urgent_findings_wake_somebody(shop: Shop) -> None:
    for kind, urgent in (("stripe_quantity_changed", False), ("stripe_below_floor", True)):
        with shop.services.sessions.begin() as session:
            session.execute(
                insert(findings).values(kind=kind, subject="sub_1", summary="x", urgent=urgent)
            )
    found = part(look_around(shop.services, IDLE), "findings")
    assert not found.well
    assert found.do == ("trueup findings list --state open --type stripe_below_floor",)
    assert found.facts["open"] == {"stripe_below_floor": 1, "stripe_quantity_changed": 1}


def test_the_screen_is_there_while_the_database_and_the_queue_are_away(
    make_settings: Callable[..., Settings],
) -> None:
    nowhere = make_settings(
        database_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1"
    )
    with running_services(nowhere) as services:
        found = screen(services, "http://127.0.0.1:1")
    assert {each.name: each.well for each in found.parts} == {
        "database": False,
        "queue": False,
        "receiver": False,
    }
    assert all(each.do for each in found.parts)


def test_the_queues_server_is_asked_for_its_workers_and_the_budget(settings: Settings) -> None:
    found = see_queue(settings)
    assert isinstance(found, QueueSeen)
    assert (found.workers, found.relays, found.schedules, found.budget_per_s) == (0, (), (), 20)
    assert found.budget_left == 20


def test_a_receiver_that_is_not_one_is_not_ready(settings: Settings, sandbox: object) -> None:
    assert not see_receiver(settings.stripe_api_base).well


def test_a_night_that_never_was_is_missed_once_there_was_something_to_compare(shop: Shop) -> None:
    assert part(look_around(shop.services, IDLE), "gap audit").well
    long_ago = shop.services.clock() - timedelta(days=3)
    put(shop.services, state="done", due_at=None, received_at=long_ago, finished_at=long_ago)
    gap = part(look_around(shop.services, IDLE), "gap audit")
    assert (gap.well, gap.do) == (False, ("trueup events backfill",))


@pytest.mark.parametrize(
    ("fingerprint", "do"),
    [
        ("StripeKeyRefused:api_key_expired", 'trueup doctor, then trueup catch-up --because "..."'),
        ("OutcomeUnknown", 'trueup doctor, then trueup catch-up --because "..."'),
    ],
)
def test_an_outage_has_one_command(shop: Shop, fingerprint: str, do: str) -> None:
    dead(shop.services, fingerprint, error_class="retry")
    dead(shop.services, fingerprint + ":other", error_class="retry")
    assert part(look_around(shop.services, IDLE), "dead letters").do == (do,)
