"""A worker killed between the host's answer and our mark: told again, with the same message id."""

import os
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker
from standardwebhooks import Webhook

from reconcile.crash_points import CrashPoint
from reconcile.settings import Settings
from reconcile.store import notices
from tests.support.host import SECRET, running_host
from tests.support.services import environment
from tests.support.shop import Shop
from tests.support.workshop import Workshop, eventually


def test_at_least_once_with_one_id(
    shop: Shop, settings: Settings, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    with running_host() as host:
        env = {
            **os.environ,
            **environment(settings),
            "TRUEUP_HINT_LEASE_S": "1",
            "TRUEUP_HOST_WEBHOOK_URL": host.url,
            "TRUEUP_HOST_WEBHOOK_SECRETS": SECRET,
        }
        workshop = Workshop(tmp_path, env, sessions)
        with sessions.begin() as session:
            notice_id = notices.add(
                session,
                "member.changed",
                "org_1/mem_1/1",
                "mem_1 is active",
                organization_id="org_1",
                due_at=shop.services.clock(),
                data={"member_id": "mem_1", "what": "activated"},
            )
        assert notice_id is not None

        def marked() -> bool:
            with sessions() as session:
                found = notices.by_id(session, notice_id)
                return found is not None and found.delivered_at is not None

        try:
            workshop.relay_here()
            workshop.trueup("worker", TRUEUP_CRASH_POINT=f"{CrashPoint.AFTER_DELIVERY}:{marker}")
            eventually(lambda: marked() and workshop.count("pending") == 0)
        finally:
            workshop.stop()
    assert marker.exists(), "nobody died"
    assert [each.id for each in host.came] == [notice_id, notice_id]
    assert host.came[0].body == host.came[1].body
    for came in host.came:
        Webhook(SECRET).verify(came.body, dict(came.headers))
