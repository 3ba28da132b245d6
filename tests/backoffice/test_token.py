"""`trueup token`: shown once, kept as a digest, audited, and gone from the next request on."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from backoffice.cli import trueup
from reconcile.settings import Settings
from reconcile.store import audit
from reconcile.tables import api_tokens
from tests.support.api import Client, api_of
from tests.support.roster import add_organization
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop

Run = Callable[..., Result]


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """An empty shop."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def api(shop: Shop) -> Client:
    """A client of the shop's API."""
    return api_of(shop.services)


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run `trueup token` with this test's database."""

    def command(*arguments: str) -> Result:
        return CliRunner(env=environment(settings)).invoke(trueup, ["token", *arguments])

    return command


def test_a_made_token_opens_what_its_scopes_say(run: Run, api: Client) -> None:
    made = run("create", "--name", "backend", "--scope", "read")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    reader = api.with_token(token)
    reader.get("/organizations").ok()
    reader.post("/organizations", id="org_1", name="A", plan="agency").problem(403, "scope_missing")


def test_only_the_digest_is_kept_and_the_list_shows_no_secret(run: Run, shop: Shop) -> None:
    token = run("create", "--name", "backend", "--scope", "read").stdout.strip()
    secret = token.rpartition("_")[2]
    with shop.services.sessions() as session:
        row = session.execute(select(api_tokens)).one()
        entries = audit.page(session)
    assert secret not in str(row)
    assert secret not in str(entries)
    listed = run("list", "--json")
    assert secret not in listed.output
    assert [one["state"] for one in json.loads(listed.stdout)] == ["usable"]
    assert "backend" in run("list").output


def test_a_revoked_token_opens_nothing_and_both_are_in_the_audit_trail(
    run: Run, api: Client, shop: Shop
) -> None:
    token = run("create", "--name", "backend", "--scope", "read").stdout.strip()
    token_id = f"tok_{token.split('_')[1]}"
    api.with_token(token).get("/organizations").ok()
    assert run("revoke", token_id, "--because", "it leaked", "--by", "kim").exit_code == 0
    api.with_token(token).get("/organizations").problem(401, "unauthenticated")
    with shop.services.sessions() as session:
        revoked, created = audit.page(session, subject=token_id)
    assert (created.action, revoked.action) == ("token.created", "token.revoked")
    assert (revoked.actor, revoked.because) == ("cli:kim", "it leaked")
    again = run("revoke", token_id, "--because", "it leaked", "--json")
    assert again.stdout == "", "what is JSON is JSON alone"
    assert again.exit_code == 1
    assert "Error: there is no token" in again.output


def test_a_token_of_one_organization(run: Run, api: Client, shop: Shop) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1")
        add_organization(session, "org_2")
    made = run("create", "--name", "one", "--scope", "read", "--organization", "org_1", "--json")
    bound = api.with_token(json.loads(made.stdout)["token"])
    bound.get("/organizations/org_1").ok()
    bound.get("/organizations/org_2").problem(404, "not_found")
    unknown = run("create", "--name", "one", "--scope", "read", "--organization", "org_9")
    assert unknown.exit_code == 1


def test_an_expired_token_opens_nothing(run: Run, shop: Shop) -> None:
    made = run("create", "--name", "short", "--scope", "read", "--expires", "1").stdout.strip()
    api_of(shop.services).with_token(made).get("/organizations").ok()
    tomorrow = shop.at(datetime.now(UTC) + timedelta(days=1, seconds=1))
    api_of(tomorrow.services).with_token(made).get("/organizations").problem(401, "unauthenticated")
