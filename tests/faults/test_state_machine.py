"""Products live at random, through the API and at Stripe, each beside a model of what is true.

Hypothesis chooses who does what, and tells the steps to what goes wrong. Every run plays the same
lives; `LIVES=50 pytest tests/faults/test_state_machine.py` plays so many new ones of each product,
and `--hypothesis-seed=N` beside it plays those again.
"""

import os

import pytest

from tests.support.life import Life, play
from tests.support.life_agency import Agency
from tests.support.life_business import Business
from tests.support.life_commerce import Commerce
from tests.support.life_team import Team
from tests.support.life_workspace import Workspace
from tests.support.shop import Shop

LIVES = int(os.environ.get("LIVES", "0"))
A_LIFE_S = 60

# So many steps that most lives of the product come to what it is about, and so many lives that
# what is broken on purpose is found (the floor, a permit, a double charge, a review's clock).
# A team and a contract begin with what they are about: one life of each does.
PRODUCTS = [
    (Agency, 3, 25),
    (Commerce, 4, 25),
    (Workspace, 2, 20),
    (Team, 1, 8),
    (Business, 1, 10),
]


@pytest.mark.timeout(120 + LIVES * A_LIFE_S)
@pytest.mark.parametrize(("product", "lives", "steps"), PRODUCTS)
def test_lives_at_random(shop: Shop, product: type[Life], lives: int, steps: int) -> None:
    play(product, shop, lives=LIVES or lives, steps=steps, new=LIVES > 0)
