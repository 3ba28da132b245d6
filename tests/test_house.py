"""The rules of the house, checked: what is declared is used, what is written down is true."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from backoffice.cli import COMMANDS, trueup
from reconcile.settings import PREFIX, Settings
from tests.support.source import (
    ROOMS,
    ROOT,
    calls,
    imported,
    named,
    prose_files,
    python_files,
    settings_table,
)
from worker import queues

MOST_LINES = 400
# Files that may be longer, each with its reason.
LONGER = {
    "migrations/versions/0001_the_first_tables.py": "generated, read top to bottom",
    "migrations/versions/0002_doors_products_and_on_call.py": "generated, read top to bottom",
    "tests/policy/test_reconciliation_table.py": "the decision table, row by row, in its order",
}

METRIC_KINDS = {"Counter", "Gauge", "GaugeMetricFamily", "Histogram", "Summary"}
SQL_VERBS = {"delete", "func", "insert", "select", "text", "update"}
SQL_HOMES = re.compile(r"reconcile/(store/.*|tables/.*|database)\.py$|migrations/.*")
# Who may look at the tables past the store, and why.
SQL_READERS = {"backoffice/demo/stage.py": "the audience checks the store, so it cannot ask it"}
# Built from pieces, so that this file does not find itself.
UNFINISHED = re.compile(
    "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"))
)
OTHER_PLACES = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|py" + r"pi\.org|python" + "hosted")


def everything() -> list[Path]:
    """All files of this repository that people wrote."""
    own = [ROOT / name for name in ("Makefile", "pyproject.toml", "Dockerfile", ".ci/run")]
    compose = [*ROOT.glob("*.yml"), *ROOT.glob("*.toml")]
    return [*python_files(*ROOMS, "tests"), *prose_files(), *own, *compose]


def test_job_names_resolve_to_functions() -> None:
    module, _, name = queues.WORK_OFF.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_every_declared_queue_is_listened_to() -> None:
    source = _text("worker/process.py")
    for queue in queues.QUEUES:
        names = [name for name, value in vars(queues).items() if value == queue]
        assert any(re.search(rf"\bqueues\.{name}\b|\b{name}\b", source) for name in names), queue


def test_every_setting_is_documented_as_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    documented = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert settings_table() in documented, "run python -m tests.support.settings_doc"


def test_every_setting_is_read_somewhere() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in python_files())
    unread = [name for name in Settings.model_fields if not re.search(rf"\.{name}\b", source)]
    assert not unread


def test_settings_that_the_prose_names_exist() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    known |= {f"{PREFIX}CRASH_POINT", f"{PREFIX}STRIPE_CLI"}  # for tests, read by themselves
    for path in prose_files():
        found = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*[A-Z]", path.read_text(encoding="utf-8")))
        found -= {f"{PREFIX}X", f"{PREFIX}X_FILE"}
        assert found <= known, named(path)


def test_every_metric_is_documented() -> None:
    documented = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    declared = {
        str(argument.value)
        for path in python_files()
        for name, call in calls(path)
        if name in METRIC_KINDS and call.args
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    assert declared
    assert not {name for name in declared if f"`{name}" not in documented}
    promised = set(re.findall(r"`(trueup_[a-z_]+?)(?:_total|_seconds_bucket)?`", documented))
    assert not {name for name in promised if not any(one.startswith(name) for one in declared)}


def test_commands_that_the_prose_names_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*(?: [\w-]+)*):", _text("Makefile"), re.MULTILINE))
    targets = {target for group in targets for target in group.split()}
    for path in prose_files():
        code = re.findall(
            r"`([^`\n]+)`|^ {0,4}\$? ?((?:trueup|make) .*)$", _text(path), re.MULTILINE
        )
        for line in (inline or block for inline, block in code):
            if match := re.match(r"(?:\S*/)?trueup ([a-z|-]+)", line):
                assert set(match[1].split("|")) <= set(COMMANDS), f"{named(path)}: {line}"
            if match := re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z-]+)", line):
                assert match[1] in targets, f"{named(path)}: {line}"


def test_options_that_the_prose_names_exist() -> None:
    """On a line that names one command, every option is that command's."""
    for path in prose_files():
        for line in _text(path).splitlines():
            named_here = set(re.findall(r"\btrueup ([a-z-]+)", line)) & set(COMMANDS)
            if len(named_here) != 1 or named_here == {"sandbox"}:  # it parses its own
                continue
            command = trueup.get_command(click.Context(trueup), *named_here)
            assert command is not None
            known = {"--help"}.union(*_options(command))
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) <= known, line


def _options(command: click.Command) -> Iterator[list[str]]:
    """The spellings of every option of the command and of its subcommands."""
    yield from ([*one.opts, *one.secondary_opts] for one in command.params)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _options(below)


def test_the_readme_shows_every_command() -> None:
    shown = set(re.findall(r"^\| `trueup ([a-z-]+)", _text("README.md"), re.MULTILINE))
    assert shown == set(COMMANDS)


def test_links_of_the_prose_lead_somewhere() -> None:
    for path in prose_files():
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", _text(path)):
            assert (path.parent / target).exists(), f"{named(path)}: {target}"


def test_nothing_is_left_unfinished() -> None:
    marked = [named(path) for path in everything() if UNFINISHED.search(_text(path))]
    assert not marked


def test_no_function_is_an_empty_promise() -> None:
    empty = []
    for path in python_files():
        tree = ast.parse(_text(path))
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        # A protocol declares, and an override may mean "nothing to do here".
        allowed = {id(one) for node in classes if node.bases for one in node.body}
        empty += [
            f"{named(path)}:{node.lineno} {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and id(node) not in allowed
            and not node.decorator_list
            and all(_says_nothing(part) for part in node.body)
        ]
    assert not empty


def test_files_stay_readable() -> None:
    files = python_files(*ROOMS, "tests")
    lengths = {named(path): len(_text(path).splitlines()) for path in files}
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES and name not in LONGER}
    assert not set(LONGER) - {name for name, n in lengths.items() if n > MOST_LINES}


def test_every_module_says_what_it_is_for() -> None:
    silent = [named(p) for p in python_files() if not ast.get_docstring(ast.parse(_text(p)))]
    assert not silent


def test_every_dependency_has_its_reason() -> None:
    reasons = _text("docs/decisions/0002-dependencies.md")
    declared = re.findall(r'^\s+"([a-z][\w.-]*)(?:\[[\w,]+\])?[><=]', _text("pyproject.toml"), re.M)
    declared += re.findall(
        r'^embedded = \["([\w-]+)==.*?"([\w-]+)==', _text("pyproject.toml"), re.M
    )[0]
    assert len(declared) > 20
    assert not [name for name in declared if f"`{name}`" not in reasons]


def test_no_test_is_skipped_without_a_reason() -> None:
    silent = []
    for path in python_files("tests"):
        for name, call in calls(path):
            reasons = {keyword.arg: keyword.value for keyword in call.keywords}
            if name in {"skipif", "xfail"} and "reason" not in reasons:
                silent.append(f"{named(path)}:{call.lineno}")
            if name in {"skip", "importorskip"} and not (call.args or "reason" in reasons):
                silent.append(f"{named(path)}:{call.lineno}")
        if re.search(r"@pytest\.mark\.(skip|xfail)\s*$", _text(path), re.MULTILINE):
            silent.append(named(path))
    assert not silent


def test_only_the_store_writes_sql() -> None:
    elsewhere = [
        f"{named(path)}: {name}"
        for path in python_files("reconcile", "webhooks", "worker", "backoffice")
        if not SQL_HOMES.search(named(path)) and named(path) not in SQL_READERS
        for module, name in imported(path)
        if module.startswith("sqlalchemy") and name in SQL_VERBS
    ]
    assert not elsewhere


def test_the_policy_imports_the_standard_library_only() -> None:
    foreign = [
        f"{named(path)}: {module}"
        for path in python_files("reconcile/policy")
        for module, _ in imported(path)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not module.startswith("reconcile.policy")
    ]
    assert not foreign


def test_the_policy_asks_no_clock_and_touches_nothing() -> None:
    doors = {"open", "print", "now", "today", "utcnow", "getenv", "random"}
    touched = [
        f"{named(path)}:{call.lineno} {name}"
        for path in python_files("reconcile/policy")
        for name, call in calls(path)
        if name in doors
    ]
    assert not touched


def test_the_project_speaks_of_itself_only() -> None:
    elsewhere = {
        named(path): match[0]
        for path in everything()
        if path.name != "test_house.py" and (match := OTHER_PLACES.search(_text(path)))
    }
    assert not elsewhere


@pytest.mark.parametrize("name", ["requirements", "requirements-embedded", "requirements-dev"])
def test_every_locked_requirement_has_a_hash_and_no_index(name: str) -> None:
    lock = _text(f"{name}.lock")
    assert "--index-url" not in lock
    assert "://" not in lock
    for requirement in re.findall(r"^[a-z][^\n]*==(?:[^\n]*\\\n)*[^\n]*", lock, re.MULTILINE):
        assert "--hash=sha256:" in requirement, requirement.partition("\n")[0]


def _text(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _says_nothing(part: ast.stmt) -> bool:
    return isinstance(part, ast.Pass) or (
        isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
    )
