"""`trueup import` and `trueup nightly`, as a script runs them: real processes, real answers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backoffice.commands.reconcile import _say
from reconcile.operating.explaining import Explained
from reconcile.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 90

Run = Callable[..., subprocess.CompletedProcess[str]]

ORGANIZATIONS = "id,name,plan,stripe_customer_id\norg_1,Northwind,agency,cus_1\n"
MEMBERS = """\
organization_id,id,role,seat_type,status,email
org_1,mem_1,admin,base,active,a@example.com
org_1,mem_2,member,voice,active,b@example.com
org_1,mem_3,member,voice,invited,c@example.com
"""


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """The catalog's prices in the sandbox, and services to look with."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def trueup(settings: Settings) -> Run:
    """Run `trueup` with this test's settings."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
        return subprocess.run(
            [sys.executable, "-m", "backoffice", *map(str, arguments)],
            env=env | environment(settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


def test_import_counts_what_it_did_and_doing_it_again_changes_nothing(
    trueup: Run, tmp_path: Path
) -> None:
    organizations, members = tmp_path / "organizations.csv", tmp_path / "members.csv"
    organizations.write_text(ORGANIZATIONS)
    members.write_text(MEMBERS)

    first = trueup("import", organizations, members, "--json")
    assert (first.returncode, first.stderr) == (0, "")
    told = json.loads(first.stdout)
    assert (told["organizations"]["added"], told["members"]["added"], told["requests"]) == (1, 3, 1)

    again = trueup("import", organizations, members)
    assert again.returncode == 0
    row = next(line for line in again.stdout.splitlines() if "members" in line)
    assert row.split() == ["members", "0", "0", "0", "3"]


def test_one_wrong_line_refuses_the_import_and_is_named(trueup: Run, tmp_path: Path) -> None:
    organizations, members = tmp_path / "organizations.csv", tmp_path / "members.csv"
    organizations.write_text(ORGANIZATIONS)
    members.write_text(MEMBERS.replace("mem_2,member,voice,active", "mem_2,member,voice,asleep"))
    refused = trueup("import", organizations, members)
    assert refused.returncode == 1
    assert f"{members}:3: " in refused.stderr
    assert "Traceback" not in refused.stderr

    members.write_text(MEMBERS)
    accepted = trueup("import", organizations, members, "--json")
    assert json.loads(accepted.stdout)["organizations"]["added"] == 1, "the first left something"


def test_import_needs_a_catalog_it_can_read(
    trueup: Run, tmp_path: Path, settings: Settings
) -> None:
    organizations = tmp_path / "organizations.csv"
    organizations.write_text(ORGANIZATIONS)
    done = subprocess.run(
        [sys.executable, "-m", "backoffice", "import", organizations],
        env=os.environ
        | environment(settings)
        | {"TRUEUP_CATALOG_PATH": str(tmp_path / "nowhere.toml")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "nowhere.toml cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_nightly_run_says_what_it_would_do_then_does_it_once(shop: Shop, trueup: Run) -> None:
    customer = shop.organization(voice=3, base=1)
    subscription = shop.subscribe(customer, {"voice": 3, "base": 1})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 2)

    dry = trueup("nightly", "--json")
    assert dry.returncode == 0, dry.stderr
    report = json.loads(dry.stdout)
    assert (report["state"], report["writes"], report["would_change"]) == ("done", False, 1)
    assert shop.quantities(subscription)["voice"] == 2

    told = trueup("nightly").stdout.splitlines()[-1]
    assert told == "nothing was written: --write, or TRUEUP_NIGHTLY_WRITES=true"
    assert "1 would change and did not" in " ".join(trueup("status").stdout.split())

    written = trueup("nightly", "--write")
    assert "nothing was written" not in written.stdout
    assert written.returncode == 0, written.stderr
    assert "written" in written.stdout
    assert shop.quantities(subscription)["voice"] == 3
    assert shop.writes(subscription) == 1

    again = trueup("nightly", "--write", "--json")
    assert json.loads(again.stdout)["adjustments"] == report_of(written.stdout)
    assert shop.writes(subscription) == 1


def report_of(table: str) -> dict[str, int]:
    """The adjustments a printed report counts."""
    rows = (line.split() for line in table.splitlines() if "adjustments" in line)
    return {how: int(count) for _, how, count in rows}


def test_an_explanation_shows_a_count_of_zero_and_says_all_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seat = {"seat_type": "voice", "active": 0, "active_before": 0, "bought": 3, "auto_add": False}
    inputs = {"plan": "agency", "policy": "purchased", "seats": [seat], "decision": "nothing",
              "row": "purchased.agrees", "reason": "3 Voice", "suggest": {"voice": 0}}  # fmt: skip
    _say(Explained(subject="sub_1", inputs=inputs))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["active", "0"] in lines
    assert ["before", "0"] in lines
    assert ["auto", "False"] not in lines
    assert ["suggest:", "voice", "to", "0"] in lines


def test_the_nightly_run_away_from_stripe_says_so(
    trueup: Run, settings: Settings, sandbox: Sandbox, shop: Shop
) -> None:
    sandbox.process.stop()
    done = trueup("nightly")
    assert done.returncode == 1
    assert "Stripe could not be reached" in done.stderr
    assert "Traceback" not in done.stderr.partition("Error:")[2]
