"""An approved contract change is applied by a worker or withdrawn by a person, never both (A6)."""

from collections import Counter

from sqlalchemy import func, update

from reconcile.tables import events
from tests.backoffice.api.test_contracts import HOUR_S, ORG, Business
from tests.support.racers import racers
from tests.support.shop import Shop

ROUNDS = 3


def test_a_withdrawal_against_its_application_exactly_one_wins(shop: Shop) -> None:
    """Stripe takes its time, so that some withdrawals come while the change is on its way."""
    business = Business(shop)
    business.record().ok(200)
    business.at(business.period_end() - HOUR_S // 2)
    slow = {"kind": "slow", "method": "POST", "path": "/v1/subscriptions/*", "delay_s": 0.2}
    ends: Counter[str] = Counter()
    with racers(2, shop.services.settings) as field:
        for lap in range(ROUNDS):
            before = shop.quantities(business.sub)["pro"]
            business.approve(business.ask(before + 1).ok(201)).ok(201)
            with shop.services.sessions.begin() as session:
                waiting = events.c.state == "pending"
                session.execute(update(events).where(waiting).values(due_at=func.now()))
            shop.sandbox.control("/faults", slow)
            _, taken = field.race(
                ["work_off", f"sub:{business.sub}"], ["after", lap * 0.15, "withdraw", "org_1"]
            )
            ends[taken[0]] += 1
            won = taken == ["withdrawn"]
            assert won or taken == ["refused", "nothing_waits"], taken
            shop.settle(business.sub)
            now = before if won else before + 1
            assert shop.quantities(business.sub) == {"pro": now}
            standing = business.api.get(f"{ORG}/contract").ok(200)
            assert (standing["quantities"], standing["approved"]) == ({"pro": now}, None)
    assert sum(ends.values()) == ROUNDS
    assert shop.writes(business.sub) == ends["refused"]
