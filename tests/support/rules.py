"""The rules as data: their ids in the domain, who keeps each, which tests hold it, how to break it.

`docs/rules.md` names code and tests, `breaks.toml` says for each rule how its code would look if
somebody forgot the rule.
"""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.source import ROOT

DOMAIN = ROOT / "docs" / "domain.md"
RULES = ROOT / "docs" / "rules.md"
BREAKS = Path(__file__).parent / "breaks.toml"
_ROW = re.compile(r"^\| ([A-C]\d+|own_seat|[a-z_]+\.[a-z_]+) \|(.*)\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a file of this repository, written `path::name`."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}::{self.name}"

    def source(self) -> str | None:
        """The text of what the name stands for, decorators included; None when it is not there."""
        path = ROOT / self.path
        if not path.is_file():
            return None
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".py":
            return text if self.name in text else None
        found: ast.AST = ast.parse(text)
        for part in self.name.split("."):
            inside = getattr(found, "body", [])
            named = [node for node in inside if part in _names_of(node)]
            if not named:
                return None
            found = named[0]
        assert isinstance(found, ast.stmt)
        decorators = getattr(found, "decorator_list", [])
        first = min([found.lineno, *(one.lineno for one in decorators)])
        return "\n".join(text.splitlines()[first - 1 : found.end_lineno])


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of docs/rules.md."""

    id: str
    code: tuple[Place, ...]
    tests: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Break:
    """A rule forgotten: `old` stands once in the file, `new` is what stands there without it."""

    rule: str
    path: str
    old: str
    new: str


def ids_of_the_domain() -> list[str]:
    """Every id of docs/domain.md, in its order."""
    return [match[1] for match in _ROW.finditer(DOMAIN.read_text(encoding="utf-8"))]


def rules() -> list[Rule]:
    """The rows of docs/rules.md."""
    found = []
    for match in _ROW.finditer(RULES.read_text(encoding="utf-8")):
        code, tests = (tuple(_places(cell)) for cell in match[2].split("|"))
        found.append(Rule(match[1], code, tests))
    return found


def breaks() -> list[Break]:
    """Every way to break a rule, in the order of the file."""
    read = tomllib.loads(BREAKS.read_text(encoding="utf-8"))
    return [
        Break(rule=rule, path=way["file"], old=way["old"], new=way["new"])
        for rule, ways in read.items()
        for way in ways
    ]


def duplicates(names: list[str]) -> list[str]:
    """Those named more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def _places(cell: str) -> Iterator[Place]:
    for path, name in re.findall(r"`([^`:]+)::([^`]+)`", cell):
        yield Place(path, name)


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}
