"""docs/security.md held against the code, and what only a look at the whole source can show."""

import ast
import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from reconcile.settings import PREFIX, Settings
from tests.support import auditing
from tests.support.source import ROOT, imported, named, python_files
from worker.budget import SharedBudget
from worker.queues import Queue, connect

SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
# What builds objects or runs code out of bytes.
UNSAFE = {"pickle", "cPickle", "dill", "marshal", "shelve", "jsonpickle"}
SECRET_SETTINGS = {
    "database_url": "postgresql://trueup:hunter2@db/trueup",
    "redis_url": "rediss://trueup:hunter2@queue:6380/0",
    "roster_database_url": "postgresql://host:hunter2@db/host",
    "stripe_api_key": "sk_test_hunter2",
    "webhook_secrets": "main=whsec_hunter2",
    "sentry_dsn": "https://hunter2@sentry.example.com/1",
}


def test_every_threat_names_tests_that_exist() -> None:
    table = SECURITY.partition("## The threat model")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][2:]
    there = {
        node.name
        for path in python_files("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(rows) >= 10
    for row in rows:
        shown = re.findall(r"`(test_\w+)`", row)
        assert shown, row
        assert set(shown) <= there, set(shown) - there


def test_nothing_is_unpickled_anywhere() -> None:
    found = [
        f"{named(path)}: {module}"
        for path in python_files()
        for module, _ in imported(path)
        if module.partition(".")[0] in UNSAFE
    ]
    assert not found


def test_no_code_is_made_of_text_and_no_shell_is_asked() -> None:
    found = []
    for path in python_files("backoffice", "reconcile", "webhooks", "worker", "migrations"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            shell = any(k.arg == "shell" for k in node.keywords)
            unverified = any(
                k.arg == "verify" and isinstance(k.value, ast.Constant) and k.value.value is False
                for k in node.keywords
            )
            if name in {"eval", "exec", "compile"} or shell or unverified:
                found.append(f"{named(path)}:{node.lineno}")
    assert not found


@pytest.mark.parametrize("name", SECRET_SETTINGS)
def test_every_secret_may_come_from_a_file_and_shows_nowhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    file.write_text(SECRET_SETTINGS[name] + "\n", encoding="utf-8")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}_FILE", str(file))
    settings = Settings()
    assert "hunter2" in repr(_revealed(settings, name))
    if not name.endswith("_url"):
        assert "hunter2" not in repr(settings)
        assert "hunter2" not in str(settings.model_dump())


def _revealed(settings: Settings, name: str) -> object:
    value = getattr(settings, name)
    if isinstance(value, dict):
        return {key: each.get_secret_value() for key, each in value.items()}
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_the_queue_is_used_with_a_password_and_with_few_rights(
    redis_url: str, redis_client: redis.Redis, make_settings: Callable[..., Settings]
) -> None:
    """The user that the security page describes is enough for queue and budget."""
    rights = [
        "+@all",
        "-@admin",
        "-@dangerous",
        "+keys",
        "+info",
        "~rq:*",
        "~trueup:*",
        "~LIMITS:*",
    ]
    user = ["ACL", "SETUSER", "of_the_test", "reset", "on", ">hunter2", *rights, "&*"]
    command: Callable[..., object] = redis_client.execute_command
    command(*user)
    try:
        url = re.sub(r"//[^@]*@|//", "//of_the_test:hunter2@", redis_url, count=1)
        settings = make_settings(redis_url=url)
        queue = Queue(settings)
        queue.hint(["sub:sub_1"])
        assert queue.depth() == 1
        budget = SharedBudget(settings)
        budget.acquire("GET /v1/subscriptions")
        budget.slow_down(0.01)
        assert budget._away_until == 0, "the budget was refused and went on alone"
        with pytest.raises(redis.AuthenticationError):
            connect(make_settings(redis_url=url.replace("hunter2", "wrong"))).ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            connect(settings).config_get("*")
    finally:
        command("ACL", "DELUSER", "of_the_test")


def test_rediss_means_tls_that_is_verified(make_settings: Callable[..., Settings]) -> None:
    client = connect(make_settings(redis_url="rediss://u:p@queue:6380/0?ssl_ca_certs=/ca.pem"))
    connection = client.connection_pool.make_connection()
    assert isinstance(connection, redis.SSLConnection)
    assert connection.cert_reqs == ssl.CERT_REQUIRED
    assert connection.check_hostname
    assert connection.ca_certs == "/ca.pem"


def test_the_receivers_process_holds_no_code_for_people() -> None:
    look = (
        "import sys; import webhooks.app, worker.queues;"
        "print([m for m in sys.modules if m.split('.')[0] == 'backoffice'])"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_an_audit_that_could_not_ask_is_no_clean_bill() -> None:
    """The reports are pip-audit's own format: a fix, an advisory, a package left out."""
    clean = {"name": "a", "version": "1", "vulns": []}
    advisory = {"id": "PYSEC-2026-1", "fix_versions": ["2"], "aliases": [], "description": ""}
    ill = {"name": "b", "version": "1", "vulns": [advisory]}
    left_out = {"name": "c", "skip_reason": "Dependency not found on PyPI: c (1)"}
    reports = {0: [clean], 1: [clean, ill, left_out], 2: [clean, left_out]}
    for code, packages in reports.items():
        found = auditing.read({"dependencies": packages, "fixes": []})
        assert auditing.ended([auditing.read({"dependencies": [clean]}), found]) == code
    assert auditing.ended([auditing.read({"dependencies": []})]) == 2
    assert found.not_asked == ("c: Dependency not found on PyPI: c (1)",)
