"""Products live at random, through the API and at Stripe, each beside a model of what is true.

Hypothesis chooses who does what, and tells the steps to what goes wrong. Every run plays the same
lives; `LIVES=50 pytest tests/faults/test_state_machine.py` plays so many new ones of each
product, and `--hypothesis-seed=N` beside it plays those again.
"""

from tests.support.life import play
from tests.support.life_agency import Agency
from tests.support.life_commerce import Commerce
from tests.support.life_workspace import Workspace
from tests.support.shop import Shop


def test_an_agency_at_random(shop: Shop) -> None:
    play(Agency, shop, lives=2, steps=30)


def test_a_shop_at_random(shop: Shop) -> None:
    play(Commerce, shop, lives=2, steps=40)


def test_a_workspace_at_random(shop: Shop) -> None:
    play(Workspace, shop, lives=2, steps=25)
