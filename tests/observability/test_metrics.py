"""What the metrics tell is so: money, calls, drift, how things stand; added up over processes."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import Engine, insert

from backoffice.local.network import LOOPBACK, free_port
from reconcile.database import build_sessions
from reconcile.nights import audit, nightly
from reconcile.policy.values import FindingKind, Observation
from reconcile.settings import Settings
from reconcile.store import findings
from reconcile.store.findings import Scope
from reconcile.tables import pauses
from tests.support.inbox import an_event
from tests.support.services import environment
from tests.support.shop import Shop
from tests.support.workshop import Workshop, eventually
from worker.budget import SharedBudget
from worker.standing import StandingCollector


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def since() -> Callable[..., float]:
    """How much a series has grown since it was first asked for in this test."""
    before: dict[str, float] = {}

    def grown(name: str, **labels: str) -> float:
        now = value(name, **labels)
        return now - before.setdefault(f"{name}{labels}", now)

    return grown


def test_a_raise_is_counted_with_its_calls_and_its_money(
    shop: Shop, since: Callable[..., float]
) -> None:
    customer = shop.organization(plan="team", member=3)
    subscription = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(subscription)
    shop.activate("org_1", "member", 5)
    charged = {"direction": "charged", "currency": "usd"}
    written = {"endpoint": "POST /v1/subscriptions", "result": "ok"}
    for _ in range(2):
        money = since("trueup_money_moved_minor_total", **charged)
        applied = since("trueup_adjustments_total", kind="quantities", state="applied")
        calls = since("trueup_stripe_calls_total", **written)
        timed = since("trueup_stripe_call_seconds_count", endpoint="POST /v1/subscriptions")
        shop.settle(subscription)
    (adjustment,) = shop.adjustments(subscription)
    assert adjustment.total_minor
    assert (money, applied, calls, timed) == (adjustment.total_minor, 1, 1, 1)


def test_what_came_of_a_call_is_told_from_a_short_list(
    shop: Shop, since: Callable[..., float]
) -> None:
    endpoint = "GET /v1/subscriptions"
    for kind, result in (("rate_limit", "rate_limited"), ("server_error", "unavailable")):
        since("trueup_stripe_calls_total", endpoint=endpoint, result=result)
        shop.sandbox.control("/faults", {"kind": kind})
        with pytest.raises(Exception):  # noqa: B017, PT011 - which, is told by the metric
            shop.services.stripe.subscription("sub_1")
        assert since("trueup_stripe_calls_total", endpoint=endpoint, result=result) == 1
    since("trueup_stripe_calls_total", endpoint=endpoint, result="gone")
    with pytest.raises(Exception, match="sub_1"):
        shop.services.stripe.subscription("sub_1")
    assert since("trueup_stripe_calls_total", endpoint=endpoint, result="gone") == 1


def test_what_alerts_look_at_is_told_before_it_happens(shop: Shop) -> None:
    """A series that begins with its first number has not grown by it."""
    endpoint = "GET /v1/tax_rates"  # no test of this process calls it
    results = ("key_refused", "rate_limited", "unavailable", "unknown")

    def told() -> list[float | None]:
        name = "trueup_stripe_calls_total"
        return [
            REGISTRY.get_sample_value(name, {"endpoint": endpoint, "result": each})
            for each in results
        ]

    assert told() == [None] * 4
    shop.services.stripe.read("/v1/tax_rates")
    assert told() == [0] * 4


def test_a_night_is_timed(shop: Shop, since: Callable[..., float]) -> None:
    for _ in range(2):
        ran = since("trueup_run_seconds_count", task="nightly")
        done = since("trueup_runs_total", task="nightly", state="done")
        nightly.run(shop.services, date(2026, 3, 1), writes=False)
    assert (ran, done) == (1, 1)


Told = dict[tuple[str, ...], float]


@pytest.fixture
def standing(settings: Settings) -> Callable[[], Told]:
    """What a relay that has just started tells."""

    def told() -> Told:
        fresh, registry = StandingCollector(settings), CollectorRegistry()
        registry.register(fresh)
        samples = [sample for family in registry.collect() for sample in family.samples]
        fresh.close()
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

    return told


def test_what_the_last_nights_found_is_told_by_who_was_not_there(
    shop: Shop, standing: Callable[[], Told]
) -> None:
    subscription = shop.subscribe(shop.organization(voice=5), {"voice": 5})
    shop.settle(subscription)
    nights = [date(2026, 3, day) for day in (1, 2, 3)]
    differing, gained = (
        ("trueup_nightly_differences", "quantity"),
        ("trueup_nightly_differences_gained",),
    )
    nightly.run(shop.services, nights[0])
    assert gained not in standing(), "there was nothing before it"
    shop.edit(subscription, "voice", 4, proration_behavior="none")
    nightly.run(shop.services, nights[1], writes=False)
    assert gained not in standing(), "a look is no night"
    nightly.run(shop.services, nights[1])
    assert (standing()[differing], standing()[gained]) == (1, 1)
    nightly.run(shop.services, nights[2])
    assert (standing()[differing], standing()[gained]) == (1, 1), "it was not there a night ago"
    for _ in range(2):
        nightly.run(shop.services, nights[2], writes=True, again=True)
    assert differing not in standing()
    assert standing()[gained] == 0


def test_what_the_last_audit_found_is_told_from_the_second_on(
    shop: Shop, standing: Callable[[], Told]
) -> None:
    """An installation's first one misses all that Stripe sent before: no webhook got lost."""
    customer = shop.sandbox.post("/v1/customers", {"email": "owner@example.com"})
    for number in range(3):
        shop.sandbox.post(f"/v1/customers/{customer['id']}", {"description": f"change {number}"})
        audit.run(shop.services, date(2026, 3, 1 + number))
        told = standing()
        missing, known = (told.get(("trueup_gap_audit_events", f)) for f in ("missing", "known"))
        assert (missing, known) == ((1, number) if number else (None, None))


def test_what_is_left_of_the_budget_is_told_by_who_made_no_call(
    settings: Settings, standing: Callable[[], Told]
) -> None:
    """Kept by a process it would be 0 before its first call, and an old one after its last."""
    left = ("trueup_stripe_budget_left",)
    assert standing()[left] == settings.stripe_requests_per_s
    budget = SharedBudget(settings)
    budget.slow_down(60)
    assert standing()[left] == 0


def test_how_things_stand_is_read_from_the_database(
    standing: Callable[[], Told], engine: Engine
) -> None:
    now = datetime.now(UTC)
    with build_sessions(engine).begin() as session:
        long_ago = now - timedelta(minutes=10)
        an_event(session, received_at=long_ago, due_at=long_ago)
        an_event(session, error_class="waiting", started_at=now)
        an_event(session, state="dead", error_class="permanent")
        an_event(session, state="dead", error_class="permanent")
        an_event(session, state="done")
        scope = Scope(organization_id="org_1")
        found = Observation(kind=FindingKind.OVER_HARD_CAP, summary="too many")
        findings.observe(session, scope, found, at=now, opened_by="test")
        session.execute(
            insert(pauses).values(scope="writes", value="", paused_by="kim", because="a rehearsal")
        )
    told = standing()
    assert told["trueup_database_up",] == 1
    assert told["trueup_inbox_unfinished",] == 2
    assert 595 < told["trueup_inbox_oldest_seconds",] < 700
    assert told["trueup_inbox_failing", "waiting"] == 1
    assert told["trueup_inbox_dead", "permanent"] == 2
    assert told["trueup_findings_open", "over_hard_cap"] == 1
    assert told["trueup_paused", "writes"] == 1
    assert told["trueup_adjustments_in_flight",] == 0


def test_servers_that_are_away_leave_no_old_numbers(
    make_settings: Callable[..., Settings],
) -> None:
    nowhere = {
        "database_url": "postgresql://x@127.0.0.1:1/x",
        "redis_url": "redis://127.0.0.1:1/0",
    }
    away = StandingCollector(make_settings(**nowhere))
    (only,) = away.collect()
    away.close()
    assert [(s.name, s.value) for s in only.samples] == [("trueup_database_up", 0)]


@pytest.fixture
def workshop(engine: Engine, settings: Settings, tmp_path: Path) -> Iterator[Workshop]:
    env = os.environ | environment(settings) | {"TRUEUP_HINT_LEASE_S": "1"}
    made = Workshop(tmp_path, dict(env), build_sessions(engine))
    yield made
    made.stop()


def test_processes_that_share_a_directory_are_added_up(workshop: Workshop, tmp_path: Path) -> None:
    """Two workers, one address: one answers for both, and the other works all the same."""
    port = free_port()
    counts = tmp_path / "counts"
    counts.mkdir()
    shared = {
        "PROMETHEUS_MULTIPROC_DIR": str(counts),
        "TRUEUP_METRICS_LISTEN": f"{LOOPBACK}:{port}",
    }
    workers = [workshop.worker(**shared) for _ in range(2)]
    eventually(lambda: sum("no metrics from this process" in w.tail() for w in workers) == 1)
    workshop.relay_here()
    for number in range(40):
        workshop.event(f"sub:quick-{number}")
    eventually(lambda: workshop.count("done") == 40)
    assert {pid for _, _, pid in workshop.entries()}

    def done() -> float:
        page = requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=30).text
        found = re.findall(
            r'^trueup_worked_off_total\{ended="done",scope="sub"\} (\S+)$', page, re.M
        )
        return sum(map(float, found))

    eventually(lambda: done() == 40)
