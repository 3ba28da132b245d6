"""What the tests of this room share: a host that takes notices, and services that tell it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.settling.work import WorkReport, work_off
from reconcile.store import notices
from reconcile.tables import events
from tests.support.host import SECRET, Host, running_host
from tests.support.services import running_services


@pytest.fixture
def host() -> Iterator[Host]:
    """A host application that answers 204."""
    with running_host() as running:
        yield running


@pytest.fixture
def services(
    make_settings: Callable[..., Settings], database_url: str, host: Host
) -> Iterator[Services]:
    """Services that tell the host; Stripe is not asked."""
    settings = make_settings(
        database_url=database_url,
        host_webhook_url=host.url,
        host_webhook_secrets=(SECRET,),
        host_webhook_timeout_s=1,
    )
    with running_services(settings) as built:
        yield built


def with_settings(services: Services, **changed: Any) -> Services:
    """The same services with other settings."""
    return replace(services, settings=services.settings.model_copy(update=changed))


def tell(services: Services, subject: str = "org_1/1", **values: Any) -> str:
    """Write a notice."""
    given: dict[str, Any] = {
        "organization_id": "org_1",
        "due_at": services.clock(),
        "data": {"seat_type": "voice", "active": 5, "capacity": 5},
    } | values
    with services.sessions.begin() as session:
        notice_id = notices.add(
            session, "seats.limit_reached", subject, "No free Voice seat: 5 of 5 in use.", **given
        )
    assert notice_id is not None
    return notice_id


def send(services: Services, notice_id: str) -> WorkReport:
    """Work the notice off, as a worker does."""
    return work_off(services, f"notice:{notice_id}")


def request_of(session: Session, notice_id: str) -> Any:
    """The inbox row that delivers the notice."""
    return session.execute(select(events).where(events.c.work_key == f"notice:{notice_id}")).one()
