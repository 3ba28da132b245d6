"""The command as a person and a script meet it: quick, one sentence an error, exit codes."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from psycopg.errors import (
    ConnectionFailure,
    DeadlockDetected,
    DiskFull,
    LockNotAvailable,
    QueryCanceled,
    SerializationFailure,
)
from sqlalchemy.exc import OperationalError

from backoffice.cli import COMMANDS, trueup
from backoffice.commands.explain import explain

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 60
PROMISED = (  # and in this order
    "up receiver api worker relay schedule sandbox listen nightly "
    "status events jobs adjustments findings notices reviews organizations reconcile "
    "pause resume catch-up token migrate import doctor demo"
)


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `trueup` with only these settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    return subprocess.run(
        [sys.executable, "-m", "backoffice", *arguments],
        env=env | {f"TRUEUP_{name.upper()}": value for name, value in settings.items()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_help_is_quick_and_loads_no_machinery() -> None:
    started = time.monotonic()
    done = run("--help")
    elapsed_s = time.monotonic() - started
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in PROMISED.split())
    # A third of a second when the machine is idle; the bound is for a busy one.
    assert elapsed_s < 15
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, backoffice.cli; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    ).stdout.split()
    assert not {"sqlalchemy", "stripe", "flask", "rq", "pydantic", "rich"} & set(loaded)


@pytest.mark.parametrize("name", PROMISED.split())
def test_every_promised_command_exists_and_explains_itself(name: str) -> None:
    command = trueup.get_command(click.Context(trueup), name)
    assert command is not None
    assert command.help
    assert COMMANDS[name][1].endswith(".")


def test_the_commands_are_the_promised_ones() -> None:
    assert list(COMMANDS) == PROMISED.split()


GIVEN = {
    "TRUEUP_DATABASE_URL": "postgresql://127.0.0.1:1/x",
    "TRUEUP_REDIS_URL": "redis://127.0.0.1:1",
    "TRUEUP_STRIPE_API_KEY": "sk_test_1",
    "TRUEUP_WEBHOOK_SECRETS": "main=whsec_1",
}
NEEDS = {
    "migrate": ["TRUEUP_DATABASE_URL"],
    "relay": ["TRUEUP_DATABASE_URL", "TRUEUP_REDIS_URL"],
    "worker": ["TRUEUP_DATABASE_URL", "TRUEUP_REDIS_URL", "TRUEUP_STRIPE_API_KEY"],
    "schedule": ["TRUEUP_DATABASE_URL", "TRUEUP_REDIS_URL", "TRUEUP_STRIPE_API_KEY"],
    "nightly": ["TRUEUP_DATABASE_URL", "TRUEUP_REDIS_URL", "TRUEUP_STRIPE_API_KEY"],
    "receiver": list(GIVEN),
}


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, needs in NEEDS.items() for setting in needs]
)
def test_a_missing_setting_is_named(
    name: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in GIVEN.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv(setting)
    done = CliRunner().invoke(trueup, [name])
    assert done.exit_code == 2
    assert f"{setting} is not set" in done.stderr


def test_a_wrong_setting_is_named_and_its_value_kept_to_itself() -> None:
    done = run("migrate", database_url="postgresql://x", webhook_secrets="whsec_secret_without")
    assert done.returncode == 1
    assert "TRUEUP_WEBHOOK_SECRETS" in done.stderr
    assert "whsec_secret_without" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_one_sentence() -> None:
    done = run("migrate", database_url="postgresql://127.0.0.1:1/nobody")
    assert done.returncode == 1
    assert "TRUEUP_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["receiver", "api", "up"])
def test_a_port_that_is_taken_is_a_sentence_and_nothing_is_started(
    command: str, tmp_path: Path
) -> None:
    option = "--api-port" if command == "up" else "--port"
    given = {name.removeprefix("TRUEUP_").lower(): value for name, value in GIVEN.items()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(command, option, port, **given | {"data_dir": str(tmp_path / "data")})
    assert done.returncode == (2 if command == "up" else 1)
    assert f"with {option}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_another_kind_of_database_is_refused() -> None:
    done = run("migrate", database_url="sqlite:///x.db")
    assert done.returncode == 2
    assert "PostgreSQL" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_brings_a_blank_database_up_to_date_and_again(blank_database_url: str) -> None:
    for _ in range(2):
        done = run("migrate", database_url=blank_database_url)
        assert (done.returncode, done.stdout) == (0, "the database is up to date\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionFailure("no route"), "cannot be reached"),
        (QueryCanceled("canceling statement due to statement timeout"), "took too long"),
        (LockNotAvailable("canceling statement due to lock timeout"), "took too long"),
        (DeadlockDetected("deadlock detected"), "run the command again"),
        (SerializationFailure("could not serialize access"), "run the command again"),
        (DiskFull("could not extend file: No space left on device"), "no room left"),
    ],
    ids=["away", "slow", "locked", "deadlock", "serialization", "full"],
)
def test_a_database_that_is_there_is_not_said_to_be_away(error: Exception, said: str) -> None:
    sentence = str(explain(OperationalError("select 1", {}, error)))
    assert said in sentence
    assert ("cannot be reached" in sentence) == isinstance(error, ConnectionFailure)
    assert sentence.endswith(f": {error}"), "what the database said is kept"
