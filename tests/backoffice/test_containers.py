"""Dockerfile and docker-compose.yml, held against the code: what they name exists."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import make_url

from backoffice.cli import COMMANDS, trueup
from reconcile.settings import PREFIX, Settings

SHELL = shutil.which("sh") or "sh"
ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "trueup"}
VARIABLES = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def parses(argv: list[str]) -> None:
    """Assert that `trueup` takes these arguments; nothing is run."""
    name, *arguments = argv
    command = trueup.get_command(click.Context(trueup), name)
    assert command is not None, name
    command.make_context(name, list(arguments))


@pytest.mark.parametrize("name", OURS)
def test_every_container_runs_a_command_that_exists(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files that a command reads are there: named as in the container, below this test's directory.
    argv = [*OURS[name].get("entrypoint", ["trueup"])[1:], *OURS[name]["command"]]
    for number, word in enumerate(argv):
        if word.startswith("/run/secrets/"):
            argv[number] = str(tmp_path / Path(word).name)
            Path(argv[number]).touch()
    parses(argv)


def test_every_process_of_the_service_has_a_container() -> None:
    processes = {"receiver", "api", "worker", "relay", "schedule", "migrate", "sandbox", "doctor"}
    assert set(OURS) == processes
    assert processes <= set(COMMANDS)


def test_what_is_said_of_containers_is_of_the_specification() -> None:
    """The words are those of the Compose Specification's schema; a misspelt one is refused."""
    of_a_service = {
        *("build", "cap_drop", "command", "depends_on", "deploy", "entrypoint", "environment"),
        *("healthcheck", "image", "ports", "profiles", "read_only", "restart", "secrets"),
        *("security_opt", "stop_grace_period", "tmpfs", "volumes"),
    }
    whole = {name for name in COMPOSE if not name.startswith("x-")}
    assert whole <= {"services", "volumes", "secrets"}
    for name, service in SERVICES.items():
        assert set(service) <= of_a_service, name
        for needed in service.get("depends_on", {}):
            assert needed in SERVICES, name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith("${"), name


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_container_exists(name: str) -> None:
    named = {key for key in OURS[name]["environment"] if key.startswith(PREFIX)}
    assert {key.removesuffix("_FILE") for key in named} <= VARIABLES
    interpolated = set(re.findall(rf"\$\{{({PREFIX}\w+)", str(OURS[name]["environment"])))
    assert interpolated <= VARIABLES


def test_the_image_names_settings_that_exist() -> None:
    named = set(re.findall(rf"\b{PREFIX}\w+", DOCKERFILE))
    assert named
    assert named <= VARIABLES


def test_the_image_is_built_from_what_is_here_and_from_the_lock() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in instructions("COPY"):
        if "--from" not in line:
            *sources, _ = line.split()
            assert all((ROOT / source).exists() for source in sources), line
            assert {f"!{source}" for source in sources} <= set(ignored), line
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert "--require-hashes --requirement requirements.lock" in installs[0]
    packages = re.findall(r'packages = \[(".*")\]', (ROOT / "pyproject.toml").read_text())[0]
    copied = {line.split()[0] for line in instructions("COPY")}
    assert set(shlex.split(packages.replace(",", " "))) <= copied


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER")[-1] == "10001"
    assert DOCKERFILE.index("USER 10001") > DOCKERFILE.rindex("FROM ")


def test_the_image_starts_the_receiver_by_default() -> None:
    assert instructions("ENTRYPOINT") == ['["trueup"]']
    parses(yaml.safe_load(instructions("CMD")[-1]))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "doctor"}))
def test_every_container_has_a_health_check_for_where_it_listens(name: str) -> None:
    check = " ".join(SERVICES[name]["healthcheck"]["test"])
    if name in {"receiver", "api", "sandbox"}:
        command = SERVICES[name]["command"]
        assert command[command.index("--port") + 1] in check
    elif name in OURS:
        listens = SERVICES[name]["environment"][f"{PREFIX}METRICS_LISTEN"]
        assert f":{listens.rpartition(':')[2]}/metrics" in check


def test_the_checked_lines_of_python_are_python() -> None:
    for service in SERVICES.values():
        check = service.get("healthcheck", {}).get("test", [])
        if "python" in check:
            compile(check[-1], "healthcheck", "exec")


def test_containers_wait_for_the_migrations_and_the_queue() -> None:
    for name in ("receiver", "worker", "relay", "schedule"):
        needs = OURS[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["valkey"]["condition"] == "service_healthy"
    assert OURS["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_workers_scale_and_stop_slower_than_their_jobs() -> None:
    worker = SERVICES["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker
    grace_s = float(worker["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().shutdown_grace_s


def test_the_queue_keeps_what_it_is_given() -> None:
    command = " ".join(SERVICES["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_sandbox_and_the_doctor_come_only_when_asked_for() -> None:
    asked = {
        name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service
    }
    assert asked == {"sandbox": ["sandbox"], "doctor": ["doctor"]}


def secrets_of(name: str) -> set[str]:
    """The secrets of a container: those that its settings or its command name, and no other."""
    service = SERVICES[name]
    given = set(service.get("secrets", []))
    told = [*service.get("environment", {}).values(), *service.get("command", [])]
    assert {Path(str(one)).name for one in told if str(one).startswith("/run/secrets/")} == given
    return given


def test_each_container_is_given_the_secrets_it_needs_and_no_other() -> None:
    inside = {"worker_database_url", "stripe_api_key", "host_webhook_secrets"}
    assert {name: secrets_of(name) for name in SERVICES} == {
        "postgres": {"postgres_password"},
        "valkey": set(),
        "migrate": {"owner_database_url", "receiver_database_url", "worker_database_url"},
        # Taken over, the public door knows no key of Stripe's and no user but its own.
        "receiver": {"receiver_database_url", "stripe_mode", "webhook_secrets"},
        **dict.fromkeys(("api", "worker", "relay", "schedule"), inside),
        "doctor": inside | {"webhook_secrets"},
        "sandbox": set(),
    }
    # None of them in the environment, where `docker inspect` shows it.
    given = [
        value for service in SERVICES.values() for value in service.get("environment", {}).values()
    ]
    assert not [value for value in given if "@" in str(value) or "KEY" in str(value)]


def test_each_process_signs_in_with_the_role_it_needs() -> None:
    argv = OURS["migrate"]["command"]
    logins = {argv[at + 1]: argv[at + 2] for at, word in enumerate(argv) if word == "--login"}
    assert "--roles" in argv
    url = f"{PREFIX}DATABASE_URL_FILE"
    assert OURS["receiver"]["environment"][url] == logins["receiver"]
    for name in ("api", "worker", "relay", "schedule", "doctor"):
        assert OURS[name]["environment"][url] == logins["worker"]


@pytest.fixture
def make_secrets(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run the script in a directory with nothing else in it; what is typed, all at once."""
    script = tmp_path / "deploy" / "make-secrets"
    script.parent.mkdir()
    shutil.copy(ROOT / "deploy" / "make-secrets", script)

    def run(typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHELL, str(script)],
            cwd="/",
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_the_secrets_are_made_once_and_are_what_the_containers_are_given(
    make_secrets: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    none = make_secrets("")
    assert none.returncode == 1
    assert "run this again" in none.stderr
    made = make_secrets("rk_test_of_mine\nwhsec_of_mine=\n")
    assert (made.returncode, made.stdout) == (0, "secrets/ is complete\n"), made.stderr
    there = {
        one.name: one.read_text(encoding="utf-8").strip()
        for one in (tmp_path / "secrets").iterdir()
    }
    files = {name: str(one["file"]) for name, one in COMPOSE["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in there}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()

    assert there["stripe_mode"] == "rk_test_"
    assert there["webhook_secrets"] == "main=whsec_of_mine="
    urls = [make_url(there[f"{name}_database_url"]) for name in ("owner", "receiver", "worker")]
    assert [url.username for url in urls] == [
        SERVICES["postgres"]["environment"]["POSTGRES_USER"], "receiver", "worker",
    ]  # fmt: skip
    assert urls[0].password == there["postgres_password"]
    assert len({url.password for url in urls}) == 3
    assert all(url.host == "postgres" and len(str(url.password)) == 48 for url in urls)
    # As the processes read them.
    Settings(
        stripe_api_key=SecretStr(there["stripe_mode"]),
        host_webhook_url="https://app.example.com/notices",
        host_webhook_secrets=there["host_webhook_secrets"],  # type: ignore[arg-type] # parsed text
    )

    assert make_secrets("").returncode == 0
    assert there == {
        one.name: one.read_text(encoding="utf-8").strip()
        for one in (tmp_path / "secrets").iterdir()
    }


@pytest.mark.parametrize(("mode", "live"), [("sk_live_", True), ("rk_test_", False)])
def test_a_keys_first_letters_are_enough_for_the_public_door(mode: str, live: bool) -> None:
    assert Settings(stripe_api_key=SecretStr(mode)).livemode is live
