"""A night, as an operator sees it: a webhook was lost, `trueup nightly` finds what it told.

The roster comes from files, the subscription from Stripe's list, the drift from its dashboard.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from reconcile.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop

ROOT = Path(__file__).parent.parent.parent


def trueup(settings: Settings, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, as cron or a person calls it."""
    return subprocess.run(
        [sys.executable, "-m", "backoffice", *arguments],
        env=os.environ | environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def night(settings: Settings, *arguments: str) -> dict[str, Any]:
    ran = trueup(settings, "nightly", "--json", *arguments)
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def test_a_lost_webhook_is_found_by_night(
    shop: Shop, settings: Settings, sandbox: Sandbox, tmp_path: Path
) -> None:
    # An agency with three active Voice members is imported from files ...
    customer = sandbox.post(
        "/v1/customers",
        {
            "payment_method": "pm_card_visa",
            "invoice_settings[default_payment_method]": "pm_card_visa",
        },
    )["id"]
    organizations = tmp_path / "organizations.csv"
    organizations.write_text(f"id,name,plan,stripe_customer_id\nacme,Acme,agency,{customer}\n")
    members = tmp_path / "members.jsonl"
    people = [("ann", "admin", "base"), *((f"v{n}", "member", "voice") for n in range(3))]
    fields = ("id", "role", "seat_type")
    members.write_text(
        "\n".join(
            json.dumps(
                dict(zip(fields, person, strict=True))
                | {"organization_id": "acme", "status": "active"}
            )
            for person in people
        )
    )
    imported = trueup(settings, "import", organizations, members, "--json")
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout)["members"]["added"] == 4

    # ... buys four Voice seats, and the first night takes the subscription over.
    subscription_id = shop.subscribe(str(customer), {"voice": 4, "base": 1}, organization_id="acme")
    first = night(settings, "--write", "--night", "2026-03-01")
    assert first["differing"] == {"new in Stripe": 1}

    # Somebody lowers it in the dashboard to less than is in use, and the webhook is lost.
    shop.edit(subscription_id, "voice", 1, proration_behavior="always_invoice")

    # The next night is a rehearsal: it says what it would do and what that would cost.
    rehearsed = night(settings, "--dry-run", "--night", "2026-03-02")
    assert rehearsed["differing"] == {"quantity": 1}
    assert rehearsed["lines"] == [
        f"sub:{subscription_id} (quantity): would: raise Voice back 1 -> 3, 3 are active"
    ]
    (would,) = rehearsed["would_move"]
    assert (would["currency"], would["direction"]) == ("usd", "charged")
    assert shop.quantities(subscription_id) == {"voice": 1, "base": 1}

    # Told to write, it raises the seats back to those in use and charges for them once.
    written = night(settings, "--write", "--night", "2026-03-02")
    assert shop.quantities(subscription_id) == {"voice": 3, "base": 1}
    assert written["adjustments"] == {"applied": 1}
    (moved,) = written["moved"]
    invoice = shop.invoices(subscription_id, "subscription_update")[-1]
    assert moved["total_minor"] == invoice["total"] > 0

    # Called again by cron, the night is done; and the one after has nothing to do.
    assert night(settings, "--write", "--night", "2026-03-02") == written
    assert night(settings, "--write", "--night", "2026-03-03")["differing"] == {}

    # The same report as a table, for a person.
    shown = trueup(settings, "nightly", "--night", "2026-03-02").stdout
    assert "Night of 2026-03-02" in shown
    assert "raise Voice back 1 -> 3" in shown


def test_a_night_without_stripe_says_so_in_one_sentence(
    shop: Shop, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.control("/faults", {"kind": "server_error", "method": "GET", "times": 100})
    ran = trueup(settings, "nightly")
    assert ran.returncode == 1
    assert "Stripe could not be reached" in ran.stderr
    assert "Traceback" not in ran.stderr
