"""The doctor against a real sandbox, database and queue: each ailment is named with its cure."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from backoffice.cli import trueup
from backoffice.doctor.examine import examine
from backoffice.doctor.findings import Found, Health
from backoffice.doctor.rights import RIGHTS, clock_found
from reconcile.catalog import load_catalog
from reconcile.envelope import NEEDED_TYPES, Ours, read_event
from reconcile.settings import STRIPE_API_VERSION, Settings
from reconcile.store import notices
from tests.support.sandbox import Sandbox
from tests.support.services import environment, running_services
from tests.support.shop import create_price

URL = "https://seats.example.com/webhooks/stripe"


@pytest.fixture
def healthy(settings: Settings, sandbox: Sandbox) -> Settings:
    """Settings of an account that is set up as the README says."""
    for price in load_catalog(settings.catalog_path).prices():
        create_price(sandbox, price)
    create_endpoint(sandbox)
    return settings.model_copy(update={"nightly_writes": True})


def create_endpoint(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    """A webhook endpoint with everything this service needs."""
    form: dict[str, Any] = {"url": URL, "api_version": STRIPE_API_VERSION}
    form["enabled_events[]"] = list(NEEDED_TYPES)
    return sandbox.post("/v1/webhook_endpoints", form | changes)


def unwell(settings: Settings, url: str | None = URL) -> dict[tuple[str, str], Found]:
    """What is not well, by area and check."""
    found = examine(settings, url)
    return {(one.area, one.check): one for one in found if one.health is not Health.OK}


def test_a_healthy_service_has_nothing_to_do(healthy: Settings) -> None:
    assert unwell(healthy) == {}
    areas = {one.area for one in examine(healthy, URL)}
    assert areas == {
        *("settings", "database", "roster", "queue", "stripe key", "clock"),
        *("webhook endpoint", "prices", "customer portal"),
    }


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: f"{right.name}-{right.level}")
def test_a_missing_right_is_named(healthy: Settings, sandbox: Sandbox, right: Any) -> None:
    sandbox.control(
        "/faults",
        {"kind": "permission", "method": right.method.upper(), "path": right.path, "times": None},
    )
    found = unwell(healthy)["stripe key", f"{right.name}: {right.level}"]
    assert found.health is (Health.WARN if right.optional else Health.FAIL)
    assert right.name in found.do or right.optional


@pytest.mark.parametrize(
    ("trouble", "health", "said"),
    [(None, Health.OK, "was taken"), ("answered 401", Health.WARN, "not taken: answered 401")],
)
def test_how_the_last_notice_went_is_told_without_asking_the_host(
    healthy: Settings, trouble: str | None, health: Health, said: str
) -> None:
    telling = healthy.model_copy(update={"host_webhook_url": "http://127.0.0.1:1/hooks"})
    with running_services(telling) as services, services.sessions.begin() as session:
        notice = notices.add(
            session, "member.changed", "mem_1", "x", organization_id=None, due_at=services.clock()
        )
        tried = notices.Try(
            at=services.clock(), delivered=not trouble, status=None, trouble=trouble,
            holds_until=None,
        )  # fmt: skip
        notices.write_try(session, str(notice), tried)
    (found,) = (one for one in examine(telling, URL) if one.area == "host")
    assert (found.health, said in found.seen) == (health, True)


def test_looking_writes_nothing(healthy: Settings, sandbox: Sandbox) -> None:
    def stored() -> list[Any]:
        lists = ("/v1/events", "/v1/subscriptions", "/v1/billing_portal/configurations")
        return [sandbox.get(path, limit=100)["data"] for path in lists]

    before = stored()
    list(examine(healthy, URL))
    assert stored() == before


def test_a_refused_key_ends_the_questions(healthy: Settings) -> None:
    refused = healthy.model_copy(update={"stripe_api_key": _secret("sk_nonsense")})
    found = unwell(refused)
    assert found["stripe key", "accepted"].health is Health.FAIL
    assert not {area for area, _ in found} & {"prices", "webhook endpoint"}


def test_stripe_away_is_one_line(make_settings: Callable[..., Settings]) -> None:
    away = make_settings(stripe_api_base="http://127.0.0.1:1")
    found = [one for one in examine(away) if one.area == "stripe key"]
    assert [(one.check, one.health) for one in found] == [("reachable", Health.FAIL)]
    assert "TRUEUP_STRIPE_API_BASE" in found[0].do


def test_an_endpoint_for_somebody_else_is_not_ours(settings: Settings, sandbox: Sandbox) -> None:
    create_endpoint(sandbox, url="https://other.example.com/hooks")
    found = unwell(settings)["webhook endpoint", "url"]
    assert found.health is Health.FAIL
    assert "https://other.example.com/hooks" in found.seen
    assert URL in found.do


def test_without_a_url_the_path_tells_which_endpoint_is_ours(
    settings: Settings, sandbox: Sandbox
) -> None:
    create_endpoint(sandbox, url="https://other.example.com/hooks")
    assert unwell(settings, None)["webhook endpoint", "url"].health is Health.FAIL
    create_endpoint(sandbox)
    assert ("webhook endpoint", "url") not in unwell(settings, None)


def test_an_endpoint_with_the_wrong_things_is_told_in_full(
    settings: Settings, sandbox: Sandbox
) -> None:
    endpoint = create_endpoint(
        sandbox, **{"api_version": "2024-06-20", "enabled_events[]": ["invoice.paid"]}
    )
    sandbox.post(f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "true"})
    found = unwell(settings)
    assert "disabled" in found["webhook endpoint", "url"].seen
    assert "customer.subscription.updated" in found["webhook endpoint", "event types"].do
    assert "invoice.paid" not in found["webhook endpoint", "event types"].do
    version = found["webhook endpoint", "API version"]
    assert (version.health, STRIPE_API_VERSION in version.seen) == (Health.WARN, True)


@pytest.mark.parametrize("event_type", NEEDED_TYPES)
def test_the_needed_events_are_those_that_make_work(event_type: str, settings: Settings) -> None:
    """The list is held against the parser that decides what becomes of an event."""
    thing = {"id": "sub_1", "customer": "cus_1", "subscription": "sub_1"}
    event = {
        "id": "evt_1",
        "object": "event",
        "type": event_type,
        "created": 1790000000,
        "livemode": False,
        "data": {"object": thing},
    }
    row = read_event(json.dumps(event).encode(), Ours.of(settings), source="webhook")
    assert row.state == "pending", row.reason


def test_events_that_stripe_could_not_deliver_are_told(healthy: Settings, sandbox: Sandbox) -> None:
    """The receiver refuses and stores nothing: only Stripe can tell of them."""
    sandbox.control("/webhook_faults", {"kind": "drop", "type": "customer.updated"})
    sandbox.control("/clock", {"now": int(time.time()) - 600})
    customer = sandbox.post("/v1/customers")["id"]
    sandbox.post(f"/v1/customers/{customer}", {"description": "renamed"})
    sandbox.control("/clock", {"real": True})
    found = unwell(healthy)["webhook endpoint", "deliveries"]
    assert found.health is Health.WARN
    assert found.seen.startswith("1 of the last hour")
    assert "trueup events backfill" in found.do


def test_prices_are_held_against_the_catalog(healthy: Settings, sandbox: Sandbox) -> None:
    prices = list(load_catalog(healthy.catalog_path).prices())
    ids = {p["lookup_key"]: p["id"] for p in sandbox.get("/v1/prices", limit=100)["data"]}
    archived, moved = prices[0], prices[1]
    sandbox.post(f"/v1/prices/{ids[archived.lookup_key]}", {"active": "false"})
    sandbox.post(
        "/v1/prices",
        {
            "currency": moved.currency,
            "unit_amount": 1,
            "recurring[interval]": moved.interval,
            "lookup_key": moved.lookup_key,
            "transfer_lookup_key": "true",
            "product_data[name]": "Mistaken",
        },
    )
    found = {check: one for (area, check), one in unwell(healthy).items() if area == "prices"}
    assert len(found) == 2
    texts = [f"{one.seen} {one.do}" for one in found.values()]
    assert any(f"no active price {archived.lookup_key}" in text for text in texts)
    assert any("costs 1 each" in text for text in texts)
    assert all(one.health is Health.FAIL for one in found.values())


def test_prices_that_are_missing_say_what_they_should_cost(settings: Settings) -> None:
    found = [one for (area, _), one in unwell(settings).items() if area == "prices"]
    prices = list(load_catalog(settings.catalog_path).prices())
    assert len(found) == len(prices)
    for one, price in zip(found, prices, strict=True):
        assert str(price.lookup_key) in one.do
        assert f"{price.currency} a {price.interval}" in one.do


def test_a_portal_that_edits_quantities_is_warned_of(healthy: Settings, sandbox: Sandbox) -> None:
    """B11."""
    update = "features[subscription_update]"
    sandbox.post(
        "/v1/billing_portal/configurations",
        {
            f"{update}[enabled]": "true",
            f"{update}[default_allowed_updates][]": ["quantity"],
            f"{update}[products]": "",
        },
    )
    found = unwell(healthy)
    assert list(found) == [("customer portal", "quantity editing")]
    assert found["customer portal", "quantity editing"].health is Health.WARN


def test_a_database_behind_the_code_is_told_to_migrate(
    healthy: Settings, blank_database_url: str
) -> None:
    behind = healthy.model_copy(update={"database_url": blank_database_url})
    assert unwell(behind)["database", "migrations"].do == "run `trueup migrate`"


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:1/x", "sqlite:///x", ""])
def test_a_database_that_is_away_hides_nothing_else(healthy: Settings, url: str) -> None:
    found = unwell(healthy.model_copy(update={"database_url": url}))
    assert list(found) == [("database", "reachable")]


def test_a_view_that_is_missing_is_named(healthy: Settings) -> None:
    found = unwell(healthy.model_copy(update={"roster_view": "public.no_such_view"}))
    assert "TRUEUP_ROSTER_VIEW" in found["roster", "reachable"].do


def test_a_queue_that_is_away_hides_nothing_else(healthy: Settings) -> None:
    found = unwell(healthy.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    assert list(found) == [("queue", "reachable")]


@pytest.fixture
def careless_queue(redis_client: redis.Redis) -> Iterator[None]:
    """A queue that may throw things away."""
    redis_client.config_set("maxmemory", "100mb")
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    yield
    redis_client.config_set("maxmemory", "0")
    redis_client.config_set("maxmemory-policy", "noeviction")


def test_a_queue_that_throws_things_away_is_warned_of(
    healthy: Settings, careless_queue: None
) -> None:
    found = unwell(healthy)["queue", "eviction"]
    assert (found.health, "allkeys-lru" in found.seen) == (Health.WARN, True)


@pytest.mark.parametrize(
    ("seconds", "health"), [(0, "ok"), (-20, "ok"), (60, "warn"), (-200, "fail"), (400, "fail")]
)
def test_a_wrong_clock_is_told(seconds: int, health: str) -> None:
    stripe_now = datetime(2026, 11, 22, tzinfo=UTC)
    found = clock_found(stripe_now, lambda: stripe_now + timedelta(seconds=seconds))
    assert found.health == health
    assert str(abs(seconds)) in found.seen or seconds == 0


def test_empty_secrets_and_keys_are_named_and_never_shown(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(stripe_api_key="", webhook_secrets={"main": "whsec_1", "old": ""})
    found = list(examine(settings))
    failed = {one.check: one for one in found if one.area == "settings"}
    assert failed["key"].health is Health.FAIL
    assert failed["webhook secrets"].seen == "old is empty"
    assert "whsec_1" not in str(found)


def test_a_broken_catalog_is_named(healthy: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "catalog.toml"
    broken.write_text("[plans")
    found = unwell(healthy.model_copy(update={"catalog_path": broken}))
    assert str(broken) in found["settings", "catalog"].seen


def test_the_command_answers_scripts_and_people(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(healthy).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRUEUP_NIGHTLY_WRITES", "true")
    answered = CliRunner().invoke(trueup, ["doctor", "--json", "--url", URL])
    assert answered.exit_code == 0, answered.output
    assert {one["health"] for one in json.loads(answered.stdout)} == {"ok"}

    monkeypatch.setenv("TRUEUP_WEBHOOK_SECRETS", "main=")
    shown = CliRunner().invoke(trueup, ["doctor"])
    assert shown.exit_code == 1
    assert "main is empty" in shown.stdout


def _secret(text: str) -> Any:
    return Settings(stripe_api_key=text).stripe_api_key  # type: ignore[arg-type]
