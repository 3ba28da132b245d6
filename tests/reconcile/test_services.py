"""What the services of one process hold: locks never use up the connections to work with."""

from contextlib import ExitStack

from sqlalchemy import text

from reconcile.database import exclusive
from reconcile.settings import Settings
from tests.support.services import running_services


def test_as_many_locks_as_may_be_held_leave_every_session_its_connection(
    settings: Settings,
) -> None:
    with running_services(settings) as services, ExitStack() as held:
        for number in range(10):
            assert held.enter_context(exclusive(services.engine, f"sub:{number}"))
        sessions = [held.enter_context(services.sessions()) for _ in range(10)]
        assert [session.scalar(text("select 1")) for session in sessions] == [1] * 10
