"""A settling process that is killed at a named place, and what Stripe then says was charged.

For tests of one raise: the process is a real one, killed with SIGKILL, and the proof is Stripe's
side: the invoices there are, and the log of the calls it got.
"""

import os
import signal
import subprocess
import sys
from typing import Any

from reconcile.store import adjustments
from tests.support.services import environment
from tests.support.shop import Shop

UPDATE = {"method": "POST", "path": "/v1/subscriptions/*"}


def started(shop: Shop, sub: str, crash_point: str = "") -> subprocess.Popen[str]:
    """A process that settles the subscription, to be killed at a place if one is named."""
    env = os.environ | environment(shop.services.settings)
    env |= {"TRUEUP_CRASH_POINT": crash_point, "TRUEUP_STRIPE_TIMEOUT_S": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.settle_process", sub],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_at(shop: Shop, sub: str, crash_point: str) -> None:
    """Settle it in a process that dies by SIGKILL at the place."""
    process = started(shop, sub, crash_point)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors


def updates(shop: Shop, sub: str) -> list[dict[str, Any]]:
    """Every update of ours that Stripe was sent."""
    calls = shop.sandbox.observe("/calls")["calls"]
    return [
        call
        for call in calls
        if (call["method"], call["path"]) == ("POST", f"/v1/subscriptions/{sub}")
        and (call["idempotency_key"] or "").startswith("trueup-")
    ]


def sent_by_an_earlier_release(shop: Shop, sub: str) -> None:
    """The pending adjustment, sent under its own key with other parameters than today's."""
    (pending,) = shop.adjustments(sub)
    (raised,) = pending.changes
    assert pending.proration_date is not None
    form = {
        "items[0][id]": raised.item_id,
        "items[0][quantity]": raised.to_quantity,
        "proration_behavior": "always_invoice",
        "proration_date": int(pending.proration_date.timestamp()),
        "metadata[trueup_adjustment]": pending.id,
    }
    headers = {"Idempotency-Key": pending.idempotency_key}
    shop.sandbox._answer("POST", f"/v1/subscriptions/{sub}", data=form, headers=headers)


def assert_charged_exactly_once(shop: Shop, sub: str) -> None:
    """One invoice in Stripe, of the one applied adjustment, in the ledger to the minor unit."""
    assert shop.quantities(sub)["voice"] == 5
    (invoice,) = shop.invoices(sub, "subscription_update")
    (applied,) = [a for a in shop.adjustments(sub) if a.state == "applied"]
    assert applied.invoice_id == invoice["id"]
    assert applied.total_minor == invoice["total"]
    assert applied.checked_at is not None
    with shop.services.sessions() as session:
        ledger = adjustments.ledger_of(session, applied.id)
    assert sorted(line.amount_minor for line in ledger) == sorted(
        line["amount"] for line in invoice["lines"]["data"]
    )
    assert len([u for u in updates(shop, sub) if u["status"] == 200 and not u["replayed"]]) == 1
    assert shop.seats(sub)["voice"].quantity == 5
    assert shop.findings(sub) == set()
