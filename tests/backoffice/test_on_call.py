"""On-call's commands as a person and a script meet them: what is printed, and the exit code."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backoffice.cli import trueup
from backoffice.commands.operator import WIDTH
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import notices, reviews
from tests.support.inbox import change_event
from tests.support.operating import (
    audited,
    dead,
    lowered,
    put,
    raised_back,
    rows,
    working,
)
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., Result]


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def services(shop: Shop) -> Services:
    return shop.services


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run `trueup` here, with this test's settings."""

    def invoke(*arguments: str) -> Result:
        env = environment(settings) | {"USER": "kim"}
        return CliRunner().invoke(trueup, list(arguments), env=env)

    return invoke


@pytest.fixture
def process(settings: Settings) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `trueup` as a process of its own: for what configures its logs and asks Stripe."""

    def invoke(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
        return subprocess.run(
            [sys.executable, "-m", "backoffice", *arguments],
            env=env | environment(settings) | {"USER": "kim"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return invoke


def answer(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_list_is_copied_at_80_columns_and_read_by_a_script(run: Run, services: Services) -> None:
    ids = [dead(services, work_key=f"sub:sub_{n}", reason="boom " * 40) for n in range(3)]
    shown = run("events", "list", "--state", "dead")
    assert shown.exit_code == 0
    assert all(len(line) <= WIDTH for line in shown.stdout.splitlines())
    assert all(any(line.startswith(each) for line in shown.stdout.splitlines()) for each in ids)

    first = answer(run("events", "list", "--limit", "2", "--json"))
    rest = answer(run("events", "list", "--cursor", first["next_cursor"], "--json"))
    assert {each["id"] for each in (*first["data"], *rest["data"])} == set(ids)
    assert rest["next_cursor"] is None
    assert first["data"][0]["line"].startswith("boom")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--state", "dead"),
        ("--not", "pending"),
        ("--type", "invoice.paid"),
        ("--fingerprint", "Mine@here"),
        ("--object", "in_1"),
        ("--customer", "cus_9"),
        ("--subscription", "sub_9"),
        ("--since", "90m"),
        ("--organization", "org_1"),
    ],
)
def test_each_filter_finds_the_one(
    run: Run, shop: Shop, services: Services, option: str, value: str
) -> None:
    shop.organization(voice=1)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    mine = dead(services, "Mine@here", type="invoice.paid", object_id="in_1",
                customer_id="cus_9", subscription_id="sub_9", organization_id="org_1",
                kind="request", source="request")  # fmt: skip
    put(services, received_at=long_ago)
    found = answer(run("events", "list", option, value, "--json"))
    assert [each["id"] for each in found["data"]] == [mine]


def test_requeue_counts_first_then_does_it_and_follows(run: Run, services: Services) -> None:
    fine = dead(services, work_key="sub:sub_1", kind="thin")
    boom = ("events", "requeue", "--state", "dead", "--fingerprint", "Boom@work.settle")
    dry = run(*boom)
    assert dry.exit_code == 0
    assert "would requeue 1" in dry.stdout
    assert "add --yes" in dry.stdout
    assert rows(services)[fine].state == "dead"

    assert run(*boom, "--yes").exit_code == 2, "it does not say why"
    assert "no event matches" in run(*boom[:-1], "Boom@work.setle").stdout, "mistyped"
    with working(services):
        done = run(*boom, "--yes", "--because", "the item is back")
    assert done.exit_code == 0, done.output
    assert "1 requeued" in done.stdout
    assert "1 done" in done.stdout
    (entry,) = audited(services, "event.requeued")
    assert (entry.actor, entry.because) == ("cli:kim", "the item is back")


def test_requeue_says_with_its_exit_code_that_one_died_again(
    run: Run, services: Services, logs: list[Any]
) -> None:
    """`nowhere:` is no scope of work: it dies each time."""
    broken = dead(services, work_key="nowhere:1")
    with working(services):
        done = run("events", "requeue", broken, "--yes", "--because", "let us see", "--json")
    told = answer(done, 1)
    assert told["tally"] == {"dead": 1}
    assert "no such scope" in told["ended"][0]["line"]


def test_without_workers_requeue_says_that_it_has_not_ended(run: Run, services: Services) -> None:
    event_id = dead(services)
    done = run("events", "requeue", event_id, "--yes", "--because", "x", "--timeout", "0.5")
    assert done.exit_code == 1
    assert "not ended yet" in done.stdout


def test_discard_and_back(run: Run, services: Services) -> None:
    event_id = dead(services)
    assert run("events", "discard", event_id, "--yes", "--because", "a test").exit_code == 0
    assert rows(services)[event_id].state == "discarded"
    story = run("events", "show", event_id)
    assert "discarded" in story.stdout
    assert f"trueup events requeue {event_id}" in story.stdout
    run("events", "requeue", event_id, "--yes", "--because", "after all", "--timeout", "0")
    assert rows(services)[event_id].state == "pending"


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "requeue"),
        ("events", "requeue", "evt_1", "--state", "dead"),
        ("events", "list", "--since", "yesterday-ish"),
        ("events", "list", "--cursor", "nonsense"),
        ("findings", "list", "--cursor", "nonsense"),
        ("pause", "writes"),
        ("reconcile", "org_1"),
        ("reconcile", "org_1", "--explain", "--apply"),
    ],
)
def test_misuse_is_two_and_a_sentence(run: Run, services: Services, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Error:" in result.stderr


@pytest.mark.parametrize("noun", ["events", "adjustments", "findings", "organizations"])
def test_what_is_not_there_is_one_and_a_sentence(run: Run, services: Services, noun: str) -> None:
    result = run(noun, "show", "77")
    assert result.exit_code == 1
    assert "there is no" in result.stderr


def test_the_story_of_a_change_names_everything_of_it(
    run: Run, shop: Shop, services: Services
) -> None:
    subscription, event_id = raised_back(services, shop, voice=4)
    (adjustment,) = shop.adjustments(subscription)
    for arguments in (
        ("events", "show", event_id),
        ("adjustments", "show", adjustment.id),
    ):
        told = run(*arguments)
        assert told.exit_code == 0, told.output
        for named in (
            event_id,
            adjustment.id,
            str(adjustment.stripe_request_id),
            str(adjustment.invoice_id),
            "active 4",
            "purchased.below_floor",
            "seats.changed",
        ):
            assert named in told.stdout, named
        assert all(len(line) <= WIDTH for line in told.stdout.splitlines())
        assert told.stdout.count("change (purchased.below_floor)") == 1, "told once"
    found = run("findings", "list").stdout
    assert f"{subscription}/voice of org_1: Stripe has" in found
    listed = answer(run("adjustments", "list", "--state", "applied", "--json"))
    assert [each["id"] for each in listed["data"]] == [adjustment.id]
    seen = run("organizations", "show", "org_1")
    assert adjustment.id in seen.stdout
    assert "4 active, 4 bought, 4 in Stripe" in seen.stdout


def test_tries_that_failed_alike_are_told_once(run: Run, services: Services) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    tries = [
        {"at": (at + timedelta(seconds=number)).isoformat(), "ended": "retry",
         "attempt": number + 1, "line": f"away, request {number}", "fingerprint": fingerprint}
        for number, fingerprint in enumerate(["Away", "Away", "Away", "Other"])
    ]  # fmt: skip
    told = run("events", "show", put(services, tries=tries)).stdout
    assert told.count("away, request") == 2
    assert "  retry, 2 more alike by then" in told
    assert "fingerprint: Other" in told


def test_jobs_say_where_they_are(run: Run, services: Services) -> None:
    put(services, work_key="sub:sub_1")
    put(services, work_key="sub:sub_2", error_class="retry", reason="no way through",
        due_at=datetime.now(UTC) + timedelta(hours=1))  # fmt: skip
    put(services, work_key="sub:sub_3", due_at=datetime.now(UTC) + timedelta(days=9))
    found = answer(run("jobs", "list", "--json"))["data"]
    assert {each["work_key"]: each["state"] for each in found} == {
        "sub:sub_1": "due",
        "sub:sub_2": "retrying",
        "sub:sub_3": "later",
    }
    only = answer(run("jobs", "list", "--state", "retrying", "--json"))["data"]
    assert [each["work_key"] for each in only] == ["sub:sub_2"]
    assert "no way through" in run("jobs", "show", "sub:sub_2").stdout


def test_pausing_and_resuming(run: Run, services: Services) -> None:
    assert run("pause", "writes", "--because", "wrong prices").exit_code == 0
    assert "writes" in run("pause", "list").stdout
    status = run("status")
    assert status.exit_code == 1
    assert "PAUSED" in status.stdout
    assert "do: trueup resume writes" in status.stdout
    again = run("pause", "writes", "--because", "again")
    assert again.exit_code == 1
    assert "paused already" in again.stderr
    _, _, typed = run("pause", "list").stdout.partition("next: trueup ")
    assert f"do: trueup {typed.strip()}" in status.stdout, "the same way out everywhere"
    assert "0 held events" in run(*shlex.split(typed)).stdout, "and it can be typed as it stands"
    assert "nothing is paused" in run("pause", "list").stdout


def test_status_fits_a_screen_and_a_script(run: Run, services: Services) -> None:
    dead(services)
    shown = run("status")
    assert shown.exit_code == 1
    assert "do: trueup events show" in shown.stdout
    told = answer(run("status", "--json"), 1)
    assert not told["well"]
    assert {"name", "well", "line", "do", "facts"} <= set(told["parts"][0])


def test_a_stretch_of_time_is_backfilled_or_only_looked_at(
    process: Any, shop: Shop, services: Services
) -> None:
    customer = shop.organization(voice=1)
    shop.subscribe(customer, {"voice": 1})
    dry = process("events", "backfill", "--since", "1h", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    missing = json.loads(dry.stdout)["missing"]
    assert missing > 0
    assert rows(services) == {}
    none = process("events", "backfill", "--since", "2h", "--until", "1h", "--json")
    assert json.loads(none.stdout)["missing"] == 0
    done = process("events", "backfill")
    assert done.returncode == 0, done.stderr
    assert f"{missing} were missing" in done.stdout
    assert "trueup events list --since 10m" in done.stdout
    assert {row.source for row in rows(services).values()} == {"backfill"}


def test_reconcile_explains_as_a_table_then_does_it(
    process: Any, shop: Shop, services: Services
) -> None:
    subscription = lowered(shop, voice=4)
    told = process("reconcile", "org_1", "--explain")
    assert told.returncode == 0, told.stderr
    assert "decision: change, row purchased.below_floor" in told.stdout
    assert "would write voice to 4" in told.stdout
    assert "nothing was written" in told.stdout
    assert all(len(line) <= WIDTH for line in told.stdout.splitlines())
    assert shop.writes(subscription) == 0
    done = process("reconcile", subscription, "--apply", "--because", "the dashboard was wrong")
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    assert shop.quantities(subscription)["voice"] == 4


def test_a_forced_rerun_does_no_harm(run: Run, shop: Shop, services: Services) -> None:
    subscription, event_id = raised_back(services, shop, voice=3)
    assert shop.writes(subscription) == 1
    with services.sessions.begin() as session:
        change_event(session, event_id, received_at=datetime.now(UTC) - timedelta(days=20))
    for _ in range(3):
        with working(services):
            done = run("events", "requeue", event_id, "--force", "--yes", "--because", "sure?")
        assert done.exit_code == 0, done.output
    assert shop.writes(subscription) == 1
    assert len(shop.invoices(subscription, "subscription_update")) == 1


def test_what_the_application_was_not_told_is_found_with_its_way_out(
    run: Run, services: Services
) -> None:
    with services.sessions.begin() as session:
        told, lost = (
            str(notices.add(
                session, "member.changed", f"mem_{number}", "mem moved",
                organization_id=f"org_{number}", due_at=services.clock(),
            ))
            for number in (1, 2)
        )  # fmt: skip
        for notice_id in (told, lost):
            tried = notices.Try(
                at=datetime.now(UTC), delivered=notice_id == told, status=204,
                trouble="answered 410" if notice_id == lost else None, holds_until=None,
            )  # fmt: skip
            notices.write_try(session, notice_id, tried)
        request = notices.by_id(session, lost)
        assert request is not None
        change_event(session, str(request.request_id), state="dead", due_at=None,
                     finished_at=datetime.now(UTC), error_class="permanent")  # fmt: skip
    found = answer(run("notices", "list", "--not-delivered", "--json"))["data"]
    assert [each["id"] for each in found] == [lost]
    assert "not delivered: answered 410" in run("notices", "list").stdout
    assert told in run("notices", "list", "--organization", "org_1", "--delivered").stdout
    shown = run("notices", "show", lost)
    assert f"next: trueup events requeue {request.request_id}" in shown.stdout
    assert "next:" not in run("notices", "show", told).stdout
    assert run("notices", "show", "ntc_none").exit_code == 1


def test_a_review_is_read_extended_and_closed(run: Run, shop: Shop, services: Services) -> None:
    shop.organization(voice=1)
    now = datetime.now(UTC)
    with services.sessions.begin() as session:
        opened = reviews.add(
            session, "org_1", reviews.ENTERPRISE, "9 are active, 8 at most", detail={}, at=now,
            grace_ends_at=now + timedelta(days=3),
        )  # fmt: skip
        assert opened is not None
        reviews.write(session, opened.id, restricted_at=now)
    number = str(opened.id)
    assert "RESTRICTED" in run("reviews", "list", "--open").stdout
    assert "nothing matches" in run("reviews", "list", "--closed").stdout
    why = ("--because", "they signed")
    assert run("reviews", "close", number).exit_code == 2
    assert "longer" in run("reviews", "extend", number, "--until", "2h", *why).output
    until = (now + timedelta(days=9)).isoformat()
    assert (
        answer(run("reviews", "extend", number, "--until", until, *why, "--json"))["restricted_at"]
        is None
    )
    closed = run("reviews", "close", number, *why)
    assert f"{number}  enterprise  closed" in closed.stdout
    assert "org_1" in run("reviews", "list", "--closed", "--kind", "enterprise").stdout
    told = run("reviews", "show", number).stdout
    assert "review.extended" in told
    assert "cli:kim" in told
    again = run("reviews", "close", number, *why)
    assert (again.exit_code, "was closed by cli:kim" in again.output) == (1, True)
    for verb in (("close", "999"), ("extend", "999", "--until", until)):
        assert "there is no review 999" in run("reviews", *verb, *why).output
