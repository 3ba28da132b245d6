"""Whatever is edited, activated and raised: the buyer pays for exactly the seats there are.

In the first seconds of a period a proration is a whole one to the minor unit, so all invoices and
pending items together must come to the full price of the final quantity.
"""

import random
from itertools import count

import pytest

from reconcile.nights import checks
from tests.support.shop import Shop

UNIT_MINOR = 1500
STEPS = 8
START = 1_790_000_000


@pytest.mark.parametrize("seed", range(3))
def test_all_charges_and_credits_come_to_the_price_of_what_is_there(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)
    shop = shop.with_plan("team", follow_lowers="now")
    clock = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
    customer = shop.organization(plan="team", member=4, test_clock=str(clock["id"]))
    sub = shop.subscribe(customer, {"member": 4}, plan="team")
    shop.settle(sub)
    active = 4
    seconds = count(START + 1)

    def tick() -> None:
        """Each step in a second of its own, as the edits of people are."""
        path = f"/v1/test_helpers/test_clocks/{clock['id']}/advance"
        shop.sandbox.post(path, {"frozen_time": next(seconds)})

    for _ in range(STEPS):
        tick()
        if chance.random() < 0.5:
            active = chance.randint(2, 9)
            shop.activate("org_1", "member", active)
        else:
            how = chance.choice(["create_prorations", "always_invoice"])
            shop.edit(sub, "member", chance.randint(1, 9), proration_behavior=how)
            tick()
        shop.settle(sub)
        assert shop.quantities(sub) == {"member": active}
    invoiced = sum(invoice["total"] for invoice in shop.invoices(sub))
    waiting = shop.sandbox.get("/v1/invoiceitems", customer=customer, pending="true", limit=100)
    pending = sum(item["amount"] for item in waiting["data"])
    assert invoiced + pending == UNIT_MINOR * active
    failed = [check for check in checks.run(shop.services) if not check.ok]
    assert [check.name for check in failed] == ["every event accounted for"], failed
