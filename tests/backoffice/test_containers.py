"""Dockerfile and docker-compose.yml, held against the code: what they name exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from backoffice.cli import COMMANDS, trueup
from reconcile.settings import PREFIX, Settings

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
def test_every_container_runs_a_command_that_exists(name: str) -> None:
    parses(OURS[name]["command"])


def test_every_process_of_the_service_has_a_container() -> None:
    processes = {"receiver", "api", "worker", "relay", "schedule", "migrate", "sandbox"}
    assert set(OURS) == processes
    assert processes <= set(COMMANDS)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_container_exists(name: str) -> None:
    named = {key for key in OURS[name]["environment"] if key.startswith(PREFIX)}
    assert named <= VARIABLES
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


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
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


def test_the_sandbox_comes_only_when_asked_for() -> None:
    assert SERVICES["sandbox"]["profiles"] == ["sandbox"]
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "sandbox")


def test_the_receiver_may_have_a_user_of_its_own_and_needs_none() -> None:
    given = OURS["receiver"]["environment"]
    url = f"{PREFIX}DATABASE_URL"
    optional, usual = given[url].removesuffix("}").split(":-", 1)
    assert optional == "${RECEIVER_DATABASE_URL"
    assert usual == re.sub(r":\?[^}]*", "", OURS["worker"]["environment"][url])
    same = OURS["worker"]["environment"]
    assert {key: value for key, value in given.items() if key != url} == {
        key: value for key, value in same.items() if key != url
    }
    assert "--roles" in OURS["migrate"]["command"]
