"""What waits for a renewal: approved changes of a contract (A6)."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from reconcile.actor import Actor
from reconcile.store import renewals
from reconcile.store.renewals import Approved

END = datetime(2026, 5, 1, tzinfo=UTC)
EVE = Actor("token:tok_1")


def approve(sessions: sessionmaker[Session], why: str, **quantities: int) -> Approved:
    with sessions.begin() as session:
        renewals.plan_change(
            session,
            "sub_1",
            quantities,
            approved=why,
            actor=EVE,
            period_end=END,
            due_at=END - timedelta(hours=1),
        )
        (found,) = renewals.approved(session, "sub_1")
    return found


def test_an_approval_of_another_seat_type_leaves_the_one_before_standing(
    sessions: sessionmaker[Session],
) -> None:
    """A6: both were answered with "from the next cycle on"."""
    approve(sessions, "order 1", base=8, voice=2)
    found = approve(sessions, "order 2", voice=3)
    assert (found.quantities, found.approved) == ({"base": 8, "voice": 3}, "order 1; order 2")
    found = approve(sessions, "order 3", base=9, voice=3)
    assert (found.quantities, found.approved) == ({"base": 9, "voice": 3}, "order 3")
