"""Every command of docs/runbook.md, run against a real installation that has what it is for.

And its first promise: from an alert's name to a repaired dead letter by the page alone.
"""

import logging
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from backoffice.cli import trueup
from reconcile.nights import nightly
from reconcile.policy.values import FindingKind, Observation
from reconcile.settings import PREFIX, Settings
from reconcile.store import findings, notices, reviews
from reconcile.store.findings import Scope
from tests.support.inbox import an_event, the_event
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop
from tests.support.source import ROOT
from tests.support.workshop import Workshop, eventually

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
FINGERPRINT = "KeyError@settle._note"


def commands(text: str) -> list[str]:
    """Every `trueup` command of a part of the page, each once, in order."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(trueup\s[^`]+)`", prose)
    found = [" ".join(line.split()) for line in (*lines, *inline)]
    return list(dict.fromkeys(line for line in found if line.startswith("trueup ")))


def section(name: str) -> str:
    """The part of the page under this heading."""
    match = re.search(rf"^### {name}$(.*?)(?=^##)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert match, name
    return match[1]


# With arguments of the reader's own, or long-running: run elsewhere, each by tests of its own.
ELSEWHERE = {"trueup import", "trueup doctor --url ..."}


@dataclass
class Patient:
    """An installation with something of everything: its ids by the page's capital words."""

    shop: Shop
    subscription: str
    event: str
    values: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> Result:
        """Run a command of the page with this installation's values."""
        words = shlex.split(command)[1:]
        return CliRunner().invoke(trueup, [self.values.get(word, word) for word in words])


@pytest.fixture
def _put_back() -> Iterator[None]:
    """Commands configure logging; the tests that follow want their own."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture
def patient(
    _put_back: None,
    settings: Settings,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Patient]:
    """Relay and worker run; there is a dead letter, a change, a finding, and a drift."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("USER", "kim")
    monkeypatch.setenv("COLUMNS", "100")
    with opened_shop(settings, sandbox) as shop:
        customer = shop.organization(voice=5)
        subscription = shop.subscribe(customer, {"voice": 5})
        shop.settle(subscription)
        shop.edit(subscription, "voice", 4, proration_behavior="none")
        shop.settle(subscription)  # the change there is a story of
        (change,) = shop.adjustments(subscription)
        shop.edit(subscription, "voice", 3, proration_behavior="none")  # what the dead letter told
        with shop.services.sessions.begin() as session:
            event = _a_dead_letter(session, subscription)
            finding = _a_finding(session, subscription, change.id)
            review = _a_review(session)
            notice = notices.page(session, limit=1)[0].id
        nightly.run(shop.services, datetime.now(UTC).date())
        env = dict(environment(settings)) | {f"{PREFIX}HINT_LEASE_S": "1"}
        workshop = Workshop(tmp_path, _inherited() | env, shop.services.sessions)
        workshop.trueup("relay")
        workshop.trueup("worker")
        patient = Patient(
            shop,
            subscription,
            event,
            {
                "EVENT": event,
                "SUBSCRIPTION": subscription,
                "ORGANIZATION": "org_1",
                "ADJUSTMENT": change.id,
                "FINDING": str(finding),
                "FINGERPRINT": FINGERPRINT,
                "NOTICE": notice,
                "REVIEW": str(review),
                "TIME": (datetime.now(UTC) + timedelta(days=40)).isoformat(),
                "SEAT_TYPE": "voice",
                "WHY": "a rehearsal",
            },
        )
        yield patient
        workshop.stop()


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _a_dead_letter(session: Session, subscription: str) -> str:
    return an_event(
        session,
        work_key=f"sub:{subscription}",
        subscription_id=subscription,
        kind="thin",
        state="dead",
        attempts=1,
        error_class="permanent",
        error_fingerprint=FINGERPRINT,
        reason="KeyError: 'voice'",
        due_at=None,
    )


def _a_finding(session: Session, subscription: str, adjustment: str) -> int:
    scope = Scope(organization_id="org_1", subscription_id=subscription)
    differs = Observation(
        kind=FindingKind.INVOICE_DIFFERS_FROM_PREVIEW,
        summary="total 501, previewed 500",
        adjustment_id=adjustment,
    )
    findings.observe(session, scope, differs, at=datetime.now(UTC), opened_by=adjustment)
    return findings.open_of(session, scope)[0].id


def _a_review(session: Session) -> int:
    opened = reviews.add(
        session, "org_1", reviews.ENTERPRISE, "5 members", detail={}, at=datetime.now(UTC),
        grace_ends_at=datetime.now(UTC) + timedelta(days=30),
    )  # fmt: skip
    assert opened is not None
    return opened.id


# Some find something wrong, which is their exit code; misuse (2) or a traceback is never right.
@pytest.mark.timeout(600)  # each is run once, with a worker that answers
def test_every_command_of_the_page_runs(patient: Patient) -> None:
    failed = []
    ran = 0
    for command in commands(RUNBOOK):
        if command in ELSEWHERE or command in {"trueup", "trueup status"}:
            continue
        result = patient.run(command)
        ran += 1
        clean = result.exception is None or isinstance(result.exception, SystemExit)
        if result.exit_code not in {0, 1} or not clean or "Traceback" in result.output:
            failed.append((command, result.exit_code, repr(result.exception), result.output[-400:]))
    assert not failed
    assert ran > 30, "the page lost its commands"
    assert "by cli:kim: a rehearsal" in patient.run("trueup findings show FINDING").output


def test_from_the_alerts_name_to_a_repaired_dead_letter(patient: Patient) -> None:
    """Someone who never saw the code: the section's commands in its order, ids read off them."""
    steps = commands(section("TrueupDeadLetters"))
    status, listing, show, count, requeue, discard, doctor = steps
    assert doctor == "trueup doctor", "whether Stripe is back"
    seen = patient.run(status)
    assert seen.exit_code == 1
    assert FINGERPRINT in seen.output, "the screen names the mistake"
    patient.values["FINGERPRINT"] = re.search(r"\S+@\S+?(?=[\s,:;]|$)", seen.output)[0]  # type: ignore[index] # asserted above
    listed = patient.run(listing)
    patient.values["EVENT"] = re.search(r"evt_\w+", listed.output)[0]  # type: ignore[index] # the list of dead letters has one
    story = patient.run(show)
    assert story.exit_code == 0
    assert "KeyError" in story.output
    dry = patient.run(count)
    assert dry.exit_code == 0, dry.output
    assert "1" in dry.output
    assert _state(patient) == "dead", "counting changed something"
    repaired = patient.run(requeue)
    assert repaired.exit_code == 0, repaired.output
    eventually(lambda: _state(patient) == "done")
    assert patient.shop.quantities(patient.subscription) == {"voice": 5}, "the drift is repaired"
    assert FINGERPRINT not in patient.run(status).output
    assert discard.startswith("trueup events discard EVENT")


def _state(patient: Patient) -> str:
    with patient.shop.services.sessions() as session:
        return str(the_event(session, patient.event).state)


def test_each_severity_of_the_page_is_reachable() -> None:
    """Every alert's section says what is seen and what it means."""
    for name in re.findall(r"^### (Trueup\w+)$", RUNBOOK, re.MULTILINE):
        part = section(name)
        assert "*Seen*" in part, name
        assert "*Means*" in part or "*overdue*" in part, name
