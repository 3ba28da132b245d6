"""What was approved of a contract, and is a dead letter by now (A6)."""

from sqlalchemy import func, select, update

from reconcile.operating import repairing
from reconcile.store.renewals import APPROVED
from reconcile.tables import events
from tests.support.approving import (
    EVE,
    agree,
    agreed,
    approve,
    begun,
    begun_with_two_kinds,
    waiting,
    withdrawn,
)
from tests.support.renewing import HOUR_S, advance, in_its_hour, period_end
from tests.support.shop import Shop


def dead(shop: Shop) -> str:
    """Stripe would not have what waits, whatever it was: a person is to look. Returns its id."""
    these = (events.c.type == APPROVED, events.c.state == "pending")
    values = {
        "state": "dead",
        "finished_at": func.now(),
        "reason": "StripeRejected: no",
        "error_class": "dead",
        "error_fingerprint": "abc",
    }
    with shop.services.sessions.begin() as session:
        changed = update(events).where(*these).values(**values).returning(events.c.id)
        return str(session.execute(changed).scalar_one())


def state(shop: Shop, event_id: str) -> tuple[str, str | None]:
    """The row's state, and what it is counted under as a failure."""
    wanted = select(events.c.state, events.c.error_class).where(events.c.id == event_id)
    with shop.services.sessions() as session:
        found = session.execute(wanted).one()
    return found.state, found.error_class


def test_what_is_a_dead_letter_can_be_taken_back(monthly: Shop, clock: str) -> None:
    """Nobody was shown it, and requeued it was made."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    row = dead(shop)
    found = waiting(shop)
    assert found is not None
    assert found.quantities == {"pro": 8}
    assert withdrawn(shop) == {"pro": 8}
    assert waiting(shop) is None
    assert state(shop, row) == ("done", None)
    assert repairing.requeue(shop.services, [row], EVE, force=True).ids == ()
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    in_its_hour(shop, sub)
    assert shop.quantities(sub) == {"pro": 6}


def test_a_dead_letter_that_is_requeued_does_not_undo_a_later_change(
    monthly: Shop, clock: str
) -> None:
    """It would be made good: paid seats gone, by an approval that another one replaced."""
    shop, sub = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    row = dead(shop)
    approve(shop, pro=9)
    assert state(shop, row) == ("done", None)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    in_its_hour(shop, sub)
    repairing.requeue(shop.services, [row], EVE)
    in_its_hour(shop, sub)
    shop.settle(sub)
    assert shop.quantities(sub) == {"pro": 9}
    assert agreed(shop)[-1] == {"pro": 9}


def test_a_dead_letter_keeps_what_no_later_change_is_of(two_kinds: Shop, clock: str) -> None:
    shop = two_kinds
    _, sub = begun_with_two_kinds(shop, clock)
    approve(shop, base=7, voice=4)
    row = dead(shop)
    approve(shop, voice=3)
    found = waiting(shop)
    assert found is not None
    assert found.quantities == {"base": 7, "voice": 3}
    assert state(shop, row)[0] == "dead"
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    in_its_hour(shop, sub)
    assert shop.quantities(sub) == {"base": 5, "voice": 3}
    assert repairing.requeue(shop.services, [row], EVE).ids == (row,)
    in_its_hour(shop, sub)
    assert shop.quantities(sub) == {"base": 7, "voice": 3}
