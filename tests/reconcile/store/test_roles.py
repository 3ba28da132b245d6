"""Least privilege, proved by trying: each role does its work, and nothing else is let through."""

# ruff: noqa: S608 - the statements are put together of our own tables' names

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
import pytest
import requests
from click.testing import CliRunner, Result
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url

from backoffice.cli import trueup
from backoffice.local.network import free_port
from backoffice.local.servers import Servers, migrate_database
from reconcile.actor import TRUEUP
from reconcile.database import build_engine, build_sessions
from reconcile.members.roster_import import import_files
from reconcile.nights import nightly, prune
from reconcile.operating.status import look_around
from reconcile.settings import Settings
from reconcile.store import audit, roles
from reconcile.tables import metadata
from tests.support.sandbox import Sandbox
from tests.support.servers import connect
from tests.support.shop import opened_shop
from tests.support.stripe_events import snapshot, subscription
from tests.support.webhooks import TIMEOUT_S, post_event
from tests.webhooks.conftest import running_receiver

TABLES = sorted(metadata.tables)


@dataclass(frozen=True)
class Users:
    """Urls of one database for its owner and for a user of each role."""

    owner: str
    receiver: str
    worker: str
    report: str


@pytest.fixture
def users(blank_database_url: str) -> Iterator[Users]:
    """A migrated database with the three roles, and a login that has each."""
    prefix = f"t{secrets.token_hex(4)}"
    migrate_database(blank_database_url)
    engine = build_engine(blank_database_url, pool_size=1)
    with build_sessions(engine).begin() as session:
        made = roles.grant(session, prefix=prefix)
    with build_sessions(engine).begin() as session:
        assert roles.grant(session, prefix=prefix) == made  # again, after an update
    engine.dispose()
    with connect(blank_database_url) as owner:
        for role in made:
            owner.execute(f"create role {role}_user login in role {role}")
        urls = [
            make_url(blank_database_url).set(username=f"{role}_user").render_as_string(False)
            for role in made
        ]
        yield Users(blank_database_url, *urls)
        for role in made:
            owner.execute(f"drop owned by {role}")
            owner.execute(f"drop role {role}_user")
            owner.execute(f"drop role {role}")


def may(url: str, statement: str) -> bool:
    """Whether the statement is let through; nothing stays of it."""
    with connect(url) as connection:
        connection.autocommit = False
        try:
            connection.execute(statement)
        except InsufficientPrivilege:
            return False
        except psycopg.Error:
            return True  # it was let through and failed for another reason
        finally:
            connection.rollback()
    return True


def test_the_receiver_stores_counts_and_is_ready_with_no_other_right(
    users: Users, servers: Servers, tmp_path: Path
) -> None:
    """Whatever it ever asks the database: new, again, again when finished, refused, readiness."""
    new, finished = (snapshot("customer.subscription.updated", subscription()) for _ in range(2))
    metrics = f"127.0.0.1:{free_port()}"
    with (
        connect(users.owner) as owner,
        running_receiver(
            tmp_path, servers, database_url=users.receiver, metrics_listen=metrics
        ) as receiver,
    ):
        for event in (new, finished, new):
            assert post_event(receiver.url, event).status_code == 200
        owner.execute(
            "update events set state = 'done', finished_at = now(), due_at = null where id = %s",
            [finished["id"]],
        )
        assert post_event(receiver.url, finished).status_code == 200
        assert post_event(receiver.url, new, secret="whsec_wrong").status_code == 400
        for url in (
            f"{receiver.url}/healthz",
            f"{receiver.url}/readyz",
            f"http://{metrics}/metrics",
        ):
            answer = requests.get(url, timeout=TIMEOUT_S)
            assert answer.status_code == 200, answer.text
        assert 'trueup_webhook_requests_total{outcome="stored",secret="main"} 4.0' in answer.text
        told = owner.execute("select id, deliveries, state from events").fetchall()
    assert set(told) == {(new["id"], 2, "pending"), (finished["id"], 2, "done")}


def test_the_receiver_can_insert_events_and_nothing_else(users: Users) -> None:
    for table in TABLES:
        for statement in (f"select * from {table}", f"delete from {table}", f"truncate {table}"):
            assert not may(users.receiver, statement), statement
        if table != "events":
            assert not may(users.receiver, f"insert into {table} default values"), table
    assert not may(users.receiver, "select payload from events")
    assert not may(users.receiver, "update events set state = 'done'")
    assert not may(users.receiver, "create table mine (id int)")
    assert may(users.receiver, "select count(id) from events")


def test_a_worker_settles_runs_the_night_prunes_imports_and_looks_with_its_role(
    users: Users,
    make_settings: Callable[..., Settings],
    redis_url: str,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    settings = make_settings(
        database_url=users.worker, redis_url=redis_url, stripe_api_base=sandbox.url
    )
    with opened_shop(settings, sandbox) as shop:
        customer = shop.organization(base=1, voice=2)
        bought = shop.subscribe(customer, {"base": 1, "voice": 2})
        shop.settle(bought)
        shop.edit(bought, "voice", 1)
        shop.settle(bought)
        assert shop.quantities(bought) == {"base": 1, "voice": 2}
        assert [each.state for each in shop.adjustments(bought)] == ["applied"]
        night = date(2026, 3, 1)
        assert nightly.run(shop.services, night, writes=True).state == "done"
        assert prune.run(shop.services, night).state == "done"
        roster = tmp_path / "organizations.csv"
        roster.write_text("id,name,plan,stripe_customer_id,trial\nacme,Acme,agency,,\n")
        services = shop.services
        done = import_files(
            services.sessions, services.catalog, [roster], now=services.clock(), replace=True
        )
        assert done.organizations.added == 1
        looked = look_around(services, "not asked")
        assert next(part.line for part in looked.parts if part.name == "database") == "answers"
        with shop.services.sessions.begin() as session:
            audit.record(session, TRUEUP, "role.tried", "org_1")


def test_a_worker_makes_no_table_and_rewrites_no_audit_trail(users: Users) -> None:
    for statement in (
        "create table mine (id int)",
        "drop table events",
        "alter table events add column mine int",
        "alter table audit_trail disable trigger all",
        "update audit_trail set actor = 'nobody'",
        "delete from audit_trail",
        "truncate audit_trail",
        "truncate events",
        "create role mine",
    ):
        assert not may(users.worker, statement), statement


def test_a_report_reads_and_writes_nothing(users: Users) -> None:
    for table in TABLES:
        assert not may(users.report, f"insert into {table} default values"), table
        assert not may(users.report, f"delete from {table}"), table
    for table in ("adjustments", "ledger_lines", "findings", "organizations", "subscriptions"):
        assert may(users.report, f"select * from {table}"), table
    assert may(users.report, "select id, type, state, reason, outcome from events")
    for hidden in (
        "select payload from events",
        "select email from members",
        "select digest from api_tokens",
        "select answer from idempotency_keys",
    ):
        assert not may(users.report, hidden), hidden


def test_every_table_is_thought_of(users: Users) -> None:
    """A new table is the worker's by itself, and nobody else's by accident."""
    for table in TABLES:
        assert may(users.worker, f"select * from {table}"), table
        assert may(users.worker, f"insert into {table} default values"), table


def test_a_process_has_a_user_of_its_own_that_signs_in_by_its_password(users: Users) -> None:
    """The server here asks nobody for a password, so what it keeps of it is looked at."""
    user, role = f"u{secrets.token_hex(4)}", make_url(users.receiver).username
    assert role is not None
    engine = build_engine(users.owner, pool_size=1)

    def admit(password: str) -> str:
        with build_sessions(engine).begin() as session:
            role_of_the_group = role.removesuffix("_user")
            roles.admit(session, role=role_of_the_group, user=user, password=password)
        with connect(users.owner) as owner:
            kept = owner.execute("select rolpassword from pg_authid where rolname = %s", [user])
            return str(kept.fetchone())

    try:
        first = admit("it's % a :password")
        assert "SCRAM-SHA-256$" in first
        assert "password" not in first
        assert admit("another") != first
        url = make_url(users.owner).set(username=user).render_as_string(False)
        assert may(url, "insert into events default values")
        assert not may(url, "select payload from events")
        assert not may(url, "select 1 from members")
    finally:
        with connect(users.owner) as owner:
            owner.execute(f"drop role if exists {user}")
        engine.dispose()


def test_migrate_makes_the_users_that_the_files_name(
    blank_database_url: str, tmp_path: Path
) -> None:
    name = f"u{secrets.token_hex(4)}"
    env = {"TRUEUP_DATABASE_URL": blank_database_url}
    good, bad = tmp_path / "receiver", tmp_path / "bad"
    good.write_text(f"postgresql://{name}:of-the-test@postgres/trueup\n")
    bad.write_text("of-the-test")

    def migrate(file: Path) -> Result:
        options = ("--roles", "--prefix", f"{name}r", "--login", "receiver", str(file))
        return CliRunner().invoke(trueup, ["migrate", *options], env=env)

    try:
        for _ in range(2):
            done = migrate(good)
            assert done.exit_code == 0, done.output
            assert f"{name} signs in as {name}r_receiver" in done.stdout
        url = make_url(blank_database_url).set(username=name).render_as_string(False)
        assert may(url, "insert into events default values")
        assert not may(url, "select 1 from members")
        refused = migrate(bad)
        assert (refused.exit_code, "holds no database url" in refused.output) == (1, True)
        assert "of-the-test" not in done.output + refused.output
    finally:
        with connect(blank_database_url) as owner:
            for role in (name, *roles.names(f"{name}r")):
                if owner.execute("select from pg_roles where rolname = %s", [role]).fetchone():
                    owner.execute(f"drop owned by {role}")
                    owner.execute(f"drop role {role}")


@pytest.mark.parametrize("user", ["", "x; drop table events", "Kim", "a-b", "postgres'", "é", None])
def test_a_user_that_is_made_has_a_plain_name_and_is_not_the_owner(
    users: Users, user: str | None
) -> None:
    owner = make_url(users.owner).username
    engine = build_engine(users.owner, pool_size=1)
    with build_sessions(engine)() as session, pytest.raises(ValueError, match=r"plain|owns"):
        roles.admit(session, role="trueup_worker", user=str(user or owner), password="x")
    with build_sessions(engine)() as session, pytest.raises(ValueError, match="no password"):
        roles.admit(session, role="trueup_worker", user="kim", password="")
    engine.dispose()


@pytest.mark.parametrize("prefix", ["x; drop table events", "Trueup", "", "a" * 41, "a-b"])
def test_a_prefix_is_a_plain_name(users: Users, prefix: str) -> None:
    engine = build_engine(users.owner, pool_size=1)
    with build_sessions(engine)() as session, pytest.raises(ValueError, match="prefix"):
        roles.grant(session, prefix=prefix)
    engine.dispose()
