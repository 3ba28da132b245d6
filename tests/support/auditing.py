"""`make audit`: asks the package index for advisories on what is locked, and says how far it came.

pip-audit ends well when it could not ask about anything; a mirror without the index's JSON
interface then looks like a clean bill of health. Exit codes here: 0 every package was asked about
and has no advisory, 1 there are advisories, 2 some could not be asked about and none is known.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from tests.support.source import ROOT

LOCKS = ("requirements.lock", "requirements-embedded.lock", "requirements-dev.lock")
SERVICES = ("pypi", "osv")
TIMEOUT_S = 600
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Audited:
    """What one lock's audit found: a line for each advisory, and for each package left out."""

    asked: int
    advisories: tuple[str, ...]
    not_asked: tuple[str, ...]


def read(report: dict[str, Any]) -> Audited:
    """Return what pip-audit's JSON report says."""
    packages = report["dependencies"]
    left_out = tuple(f"{p['name']}: {p['skip_reason']}" for p in packages if "skip_reason" in p)
    advisories = tuple(
        f"{p['name']} {p['version']}: {each['id']}, mended in "
        f"{', '.join(each['fix_versions']) or 'no version yet'}"
        for p in packages
        for each in p.get("vulns", ())
    )
    return Audited(len(packages) - len(left_out), advisories, left_out)


def ended(found: Sequence[Audited]) -> int:
    """Return the exit code for what was found."""
    if any(each.advisories for each in found):
        return 1
    return 2 if any(each.not_asked or not each.asked for each in found) else 0


def ask(lock: str, service: str) -> Audited:
    """Ask about one lock; one that cannot be asked about at all is left out whole."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"),
            *("--progress-spinner", "off", "--format", "json"),
            *("--vulnerability-service", service, "--requirement", lock),
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        return read(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        return Audited(0, (), (f"{lock}: {last}",))


def main(service: str) -> int:
    """Ask about every lock, say what was found, and return the exit code."""
    found = []
    for lock in LOCKS:
        audited = ask(lock, service)
        found.append(audited)
        click.echo(f"{lock}: {audited.asked} asked about, {len(audited.advisories)} advisories, "
              f"{len(audited.not_asked)} not asked about")  # fmt: skip
        for line in (*audited.advisories, *audited.not_asked[:SHOWN]):
            click.echo(f"  {line}")
        if len(audited.not_asked) > SHOWN:
            click.echo(f"  and {len(audited.not_asked) - SHOWN} more")
    code = ended(found)
    if code == 2:
        click.echo(
            "NOT AUDITED in full: this index answers no such questions, or cannot be reached. "
            "Run it where it does, or with SERVICE=osv; `make audit-code` needs no network."
        )
    return code


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else SERVICES[0]
    if chosen not in SERVICES:
        sys.exit(f"no such service: {chosen}; one of {', '.join(SERVICES)}")
    sys.exit(main(chosen))
