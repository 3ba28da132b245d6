"""The example catalog is found in a checkout, and comes with a wheel."""

import shutil
import tomllib
from pathlib import Path

import pytest

from backoffice.local import example
from reconcile.catalog import load_catalog

ROOT = Path(__file__).parents[2]


def test_a_checkouts_own_comes_first() -> None:
    assert example.example_catalog() == ROOT / "catalog.example.toml"


def test_an_installed_package_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ((source, target),) = project["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ].items()
    installed = tmp_path / target
    installed.parent.mkdir(parents=True)
    shutil.copy(ROOT / source, installed)
    monkeypatch.setattr(example, "__file__", str(tmp_path / "backoffice" / "local" / "example.py"))
    assert load_catalog(example.example_catalog()).plans
    assert f" {source} " in (ROOT / "Dockerfile").read_text(encoding="utf-8")
