"""Our own side: settings, catalog file, database, roster, queue."""

from collections.abc import Iterator

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backoffice.doctor.findings import Found, fail, ok, warn
from reconcile.catalog import Catalog, CatalogError, load_catalog
from reconcile.database import describe, pending_migrations
from reconcile.roster import build_roster
from reconcile.settings import Settings
from reconcile.store import notices
from worker.queues import connect

OLDEST_POSTGRES = 140_000  # as `server_version_num` counts


def settings_found(settings: Settings) -> Iterator[Found]:
    """Whether the settings that have no default are there. Never shows a secret."""
    key = settings.stripe_api_key.get_secret_value()
    if not key:
        yield fail("settings", "key", "no Stripe key", "set TRUEUP_STRIPE_API_KEY")
    elif key.startswith("pk_"):
        yield fail("settings", "key", "a publishable key", "use a secret or restricted key")
    else:
        kind = "restricted" if key.startswith("rk_") else "secret"
        yield ok("settings", "key", f"{kind}, {'live' if settings.livemode else 'test'} mode")
    empty = [n for n, s in settings.webhook_secrets.items() if not s.get_secret_value()]
    if not settings.webhook_secrets:
        do = "set TRUEUP_WEBHOOK_SECRETS to main=whsec_..., from the endpoint's page at Stripe"
        yield fail("settings", "webhook secrets", "none: every event will be refused", do)
    elif empty:
        do = "give it its whsec_... or take its name out of TRUEUP_WEBHOOK_SECRETS"
        yield fail("settings", "webhook secrets", f"{', '.join(empty)} is empty", do)
    else:
        yield ok("settings", "webhook secrets", ", ".join(settings.webhook_secrets))
    if not settings.nightly_writes:
        do = "read a few nightly reports, then set TRUEUP_NIGHTLY_WRITES=true"
        yield warn("settings", "nightly run", "dry-run: it repairs nothing yet", do)


def catalog_found(settings: Settings) -> tuple[Catalog | None, Found]:
    """The catalog file, when it can be read, and the line about it."""
    try:
        catalog = load_catalog(settings.catalog_path)
    except CatalogError as error:
        do = "mend it (catalog.example.toml shows every key), or set TRUEUP_CATALOG_PATH"
        return None, fail("settings", "catalog", str(error), do)
    seen = f"{len(catalog.plans)} plans, {len(list(catalog.prices()))} prices"
    return catalog, ok("settings", "catalog", seen)


def database_found(engine: Engine) -> Iterator[Found]:
    """Whether the database answers, is new enough and migrated. Raises SQLAlchemyError."""
    server = describe(engine)
    if server.version_number < OLDEST_POSTGRES:
        do = f"use PostgreSQL {OLDEST_POSTGRES // 10_000} or newer"
        yield fail("database", "version", f"PostgreSQL {server.version}", do)
    else:
        yield ok("database", "version", f"PostgreSQL {server.version}")
    if server.read_only:
        do = "point TRUEUP_DATABASE_URL at the primary"
        yield fail("database", "writable", "a read-only replica", do)
    if pending_migrations(engine):
        yield fail("database", "migrations", "behind this version", "run `trueup migrate`")
    else:
        yield ok("database", "migrations", "up to date")


def roster_found(settings: Settings, catalog: Catalog, engine: Engine) -> Iterator[Found]:
    """Whether members can be counted. Raises RosterUnreadable."""
    roster = build_roster(settings, catalog)
    try:
        with Session(engine) as session:
            roster.check(session)
    finally:
        roster.close()
    where = f"the view {settings.roster_view}" if settings.roster_view else "our own tables"
    yield ok("roster", "readable", where)


def host_found(settings: Settings, engine: Engine) -> Iterator[Found]:
    """How the last notice went. The endpoint is not tried: whatever is sent there is the host's."""
    if not settings.host_webhook_url:
        return
    with Session(engine) as session:
        last = notices.last_try(session)
    if last is None:
        yield ok("host", "notices", "none was sent yet")
    elif last.trouble:
        seen = f"the last one, {last.tried_at:%Y-%m-%d %H:%M} UTC, was not taken: {last.trouble}"
        yield warn("host", "notices", seen, "have TRUEUP_HOST_WEBHOOK_URL answer, or correct it")
    else:
        yield ok("host", "notices", f"the last one was taken, {last.tried_at:%Y-%m-%d %H:%M} UTC")


def queue_found(settings: Settings) -> Iterator[Found]:
    """Whether the queue answers and would keep what it is given. Raises redis.RedisError."""
    client = connect(settings)
    try:
        info = client.info()
    finally:
        client.close()
    assert isinstance(info, dict)
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version", "of unknown version"))
    yield ok("queue", "reachable", f"{name} {version}")
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction" or not info.get("maxmemory"):
        yield ok("queue", "eviction", f"maxmemory-policy {policy}, {_memory(info)}")
    else:
        seen = f"maxmemory-policy {policy}: hints may be thrown away under pressure"
        yield warn("queue", "eviction", seen, "set maxmemory-policy noeviction; hints come again")
    if info.get("aof_enabled") or info.get("rdb_last_save_time", 0) > 0:
        kept = "append only file" if info.get("aof_enabled") else "snapshots"
        yield ok("queue", "persistence", kept)
    else:
        seen = "memory only: after its restart the relay hints everything again"
        yield warn("queue", "persistence", seen, "set appendonly yes")


def _memory(info: dict[str, object]) -> str:
    return f"limit {info['maxmemory']} bytes" if info.get("maxmemory") else "no memory limit"


# What may go wrong while looking, beside our own errors.
DATABASE_ERRORS = (SQLAlchemyError, ValueError)
QUEUE_ERRORS = (redis.RedisError, ValueError)
