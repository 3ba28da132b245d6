"""The project's own source as data, for the tests of the house."""

import ast
from collections.abc import Iterator
from pathlib import Path

from reconcile.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("backoffice", "bench", "migrations", "reconcile", "sandbox", "webhooks", "worker")
PROSE = ("README.md", "CHANGELOG.md", "docs/**/*.md")


def python_files(*rooms: str) -> list[Path]:
    """Every Python file of these rooms (all of them by default, tests not included)."""
    return sorted(path for room in rooms or ROOMS for path in (ROOT / room).rglob("*.py"))


def prose_files() -> list[Path]:
    """What people read: README, CHANGELOG and docs."""
    return sorted(path for pattern in PROSE for path in ROOT.glob(pattern))


def named(path: Path) -> str:
    """The path as this repository calls it."""
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call in the file, with the plain name of what is called (`pytest.skip` is `skip`)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, node


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """What the file imports: (module, name), the name empty for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def settings_table() -> str:
    """The table of `docs/settings.md`, from the settings themselves."""
    rows = ["| variable | default | what it does |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else str(field.get_default())
        if "SecretStr" in str(field.annotation):
            default = ""  # never a secret's own text, not even asterisks
        shown = f"`{default}`" if default else ""
        what = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {what} |")
    return "\n".join(rows) + "\n"
