"""What commands print, at any width and in any hands: ids whole, colours for terminals only."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from backoffice.cli import trueup
from backoffice.commands.operator import WIDTH, columns
from reconcile.settings import Settings
from reconcile.store import notices, reviews
from tests.support.operating import dead
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop
from tests.support.source import ROOT

LONG = "0123456789" * 6  # an id that fits on no line beside another word
TIMEOUT_S = 60


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def ids_of(shop: Shop) -> dict[str, str]:
    """An id for each list, of an installation that has something of everything."""
    customer = shop.organization(voice=4)
    subscription = shop.subscribe(customer, {"voice": 4})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 2)
    shop.settle(subscription)
    services, now = shop.services, datetime.now(UTC)
    with services.sessions.begin() as session:
        told = notices.add(
            session, "member.changed", "mem_1", "word " * 40,
            organization_id="org_1", due_at=now,
        )  # fmt: skip
        opened = reviews.add(
            session, "org_1", reviews.ENTERPRISE, "word " * 40, detail={}, at=now, grace_ends_at=now
        )
        assert opened is not None
    return {
        "events": dead(services, id=f"evt_{LONG}", reason=f"word sub_{LONG} " * 9),
        "jobs": f"review:{opened.id}",
        "adjustments": shop.adjustments(subscription)[0].id,
        "findings": subscription,
        "notices": str(told),
        "reviews": str(opened.id),
        "organizations": "org_1",
        "token": "tok_",
    }


def test_every_list_holds_its_ids_whole_whatever_the_width(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    made = run(trueup, ["token", "create", "--name", "word " * 40, "--scope", "read"])
    assert made.exit_code == 0, made.output
    for noun, wanted in ids_of(shop).items():
        shown = {}
        for width in ("80", "200"):
            result = run(trueup, [noun, "list"], env={"COLUMNS": width})
            assert result.exit_code == 0, result.output
            shown[width] = result.stdout
        assert shown["80"] == shown["200"], noun
        assert wanted in shown["80"], shown["80"]
        assert "\x1b" not in shown["80"]
        for line in shown["80"].splitlines():
            # Longer than a line is only what has one word after its margin, or a row's own ids.
            assert len(line) <= WIDTH or " " not in line.strip() or not line.startswith(" "), line


def test_the_doctors_lines_are_folded_and_never_cut(settings: Settings) -> None:
    broken = environment(settings) | {
        "TRUEUP_DATABASE_URL": f"sqlite:///{LONG}{LONG}",
        "TRUEUP_CATALOG_PATH": f"/{LONG}{LONG}.toml",
        "TRUEUP_STRIPE_API_KEY": "",
    }
    shown = CliRunner().invoke(trueup, ["doctor"], env=broken | {"COLUMNS": "40"})
    assert shown.exit_code == 1
    assert f"{LONG}{LONG}.toml" in shown.stdout
    lines = shown.stdout.splitlines()
    assert "fail  database, reachable: " in shown.stdout
    assert "      do: correct TRUEUP_DATABASE_URL" in lines
    assert re.search(r"^\d+ ok, \d+ warn, [1-9]\d* fail$", shown.stdout, re.MULTILINE)
    assert "\x1b" not in shown.stdout


def test_columns_are_aligned_and_as_wide_as_what_is_in_them() -> None:
    rows = [("seats", "base", "voice"), ("active", 3, 1200), ("bought", LONG, "-")]
    assert list(columns(rows, "  ")) == [
        f"  seats   {'base':>60}  voice",
        f"  active  {'3':>60}   1200",
        f"  bought  {LONG}      -",
    ]


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(no_color: str, colored: bool) -> None:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    running = subprocess.Popen(
        [sys.executable, "-m", "backoffice", "doctor"],
        cwd=ROOT,
        env=env | {"NO_COLOR": no_color, "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while read := os.read(ours, 65536):
            shown += read
    except OSError:
        pass  # how Linux says that nobody holds the other end any more
    finally:
        os.close(ours)
        assert running.wait(TIMEOUT_S) == 1
    assert b"TRUEUP_DATABASE_URL" in shown
    assert (b"\x1b[" in shown) is colored
