"""A person confirms a change of seats, and the process that applies it is killed on the way."""

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.crash_points import CrashPoint
from reconcile.policy.seat_change import Wanted
from reconcile.settling.work import work_off
from reconcile.tables import events
from tests.support.services import environment
from tests.support.shop import Shop

ADA = Actor("token:host")
APPLY = """
import sys
from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.settings import Settings
from tests.support.activating import services
with services(Settings()) as built:
    print(seat_change.apply(built, "org_1", sys.argv[1], actor=Actor("token:host")))
"""
PLACES = (
    CrashPoint.AFTER_INTENT,
    CrashPoint.AFTER_CALL,
    CrashPoint.AFTER_OUTCOME,
    CrashPoint.BEFORE_FINISH,
)


@pytest.mark.parametrize("place", PLACES)
def test_killed_while_it_is_applied(shop: Shop, place: CrashPoint) -> None:
    """Applied again or worked off, whichever comes first: once, and the preview says how."""
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 2})
    shop.settle(sub)
    wanted = Wanted(quantities={"voice": 4})
    shown = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(shown, Preview), shown
    died = subprocess.run(
        [sys.executable, "-c", APPLY, shown.id],
        env=os.environ | environment(shop.services.settings) | {"TRUEUP_CRASH_POINT": place},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    again = seat_change.apply(shop.services, "org_1", shown.id, actor=ADA)
    assert isinstance(again, Applied), again
    with shop.services.sessions.begin() as session:
        session.execute(events.update().values(due_at=shop.services.clock()))
    work_off(shop.services, f"sub:{sub}")
    (invoice,) = shop.invoices(sub, "subscription_update")
    (applied,) = shop.adjustments(sub)
    assert (applied.state, applied.invoice_id) == ("applied", invoice["id"])
    assert applied.total_minor == invoice["total"] == shown.quote.total_minor
    assert shop.quantities(sub) == {"voice": 4}
    with shop.services.sessions() as session:
        assert set(session.scalars(select(events.c.state))) == {"done"}
