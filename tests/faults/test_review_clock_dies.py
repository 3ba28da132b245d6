"""A worker killed in the middle of a review's step: it is made once, and the clock goes on."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from reconcile.crash_points import CrashPoint
from reconcile.settings import Settings
from reconcile.settling.beside import check_organization
from reconcile.store import reviews
from reconcile.tables import events, notices
from tests.support.roster import add_members, add_organization
from tests.support.services import environment
from tests.support.shop import Shop
from tests.support.workshop import Workshop, eventually


@pytest.mark.parametrize("place", [CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_FINISH])
def test_the_restriction_comes_once(
    shop: Shop, settings: Settings, sessions: sessionmaker[Session], tmp_path: Path, place: str
) -> None:
    """C8, with a grace that ended while nobody worked."""
    now = shop.services.clock()
    with sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_scale")
        add_members(session, "org_1", "admin", role="admin", active=8)
    check_organization(shop.services, "org_1", trigger="evt_1")
    with sessions.begin() as session:
        review = reviews.open_of(session, "org_1")
        assert review is not None
        reviews.write(session, review.id, grace_ends_at=now - timedelta(minutes=1))

    def put_off() -> bool:
        with sessions() as session:
            clock = session.execute(select(events).where(events.c.type == reviews.CLOCK)).one()
            ahead = clock.due_at - now > timedelta(hours=23)
            return ahead and clock.state == "pending" and reviews.is_restricted(session, "org_1")

    marker = tmp_path / "died"
    env = os.environ | environment(settings) | {"TRUEUP_HINT_LEASE_S": "1"}
    workshop = Workshop(tmp_path, dict(env), sessions)
    try:
        workshop.relay_here()
        workshop.trueup("worker", TRUEUP_CRASH_POINT=f"{place}:{marker}")
        eventually(lambda: marker.exists() and put_off())
    finally:
        workshop.stop()
    with sessions() as session:
        counted = select(notices.c.type, func.count()).group_by(notices.c.type)
        told = {row[0]: row[1] for row in session.execute(counted)}
    assert told == {"review.opened": 1, "organization.restricted": 1}
