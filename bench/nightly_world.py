"""Many subscriptions in the sandbox and the same ones in our tables, some of them drifted.

Every organization has one Base and two Voice members active, and has bought one Base and three
Voice seats. A drifted one was lowered to a single Voice seat in Stripe, and no webhook told.
"""

from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import Engine, text

KEY = "sk_test_of_the_bench"
TIMEOUT_S = 300
BOUGHT, LOWERED = (1, 3), (1, 1)

CATALOG = """
[plans.agency]
label = "Agency"
policy = "purchased"
[plans.agency.seats.base]
label = "Base"
[plans.agency.seats.base.prices.month.usd]
id = "{base}"
unit_minor = 3000
[plans.agency.seats.voice]
label = "Voice"
[plans.agency.seats.voice.prices.month.usd]
id = "{voice}"
unit_minor = 5000
[plans.agency.roles.member]
seats = ["base", "voice"]
[plans.agency.roles.admin]
seats = ["base"]
admin = true
"""


@dataclass(frozen=True, slots=True)
class Prices:
    """The ids of the two seat types' prices in the sandbox."""

    base: str
    voice: str


def create_prices(url: str) -> Prices:
    """Create the catalog's prices."""

    def create(name: str, unit_minor: int) -> str:
        form: dict[str, str | int] = {
            "currency": "usd",
            "unit_amount": unit_minor,
            "recurring[interval]": "month",
            "product_data[name]": name,
        }
        answer = requests.post(f"{url}/v1/prices", form, auth=(KEY, ""), timeout=TIMEOUT_S)
        answer.raise_for_status()
        return str(answer.json()["id"])

    return Prices(create("Base", 3000), create("Voice", 5000))


def write_catalog(path: Path, prices: Prices) -> Path:
    """Write the catalog of these prices."""
    path.write_text(CATALOG.format(base=prices.base, voice=prices.voice), encoding="utf-8")
    return path


def seed_sandbox(url: str, prices: Prices, count: int, *, drift_every: int) -> None:
    """Make the subscriptions; each `drift_every`-th one (0: none) is lowered."""
    quantities = [
        LOWERED if drift_every and number % drift_every == 0 else BOUGHT
        for number in range(1, count + 1)
    ]
    body = {
        "items": [{"price": prices.base}, {"price": prices.voice}],
        "quantities": quantities,
        "metadata": {"organization_id": "org_{n}"},
    }
    answer = requests.post(f"{url}/_sandbox/seed", json=body, timeout=TIMEOUT_S)
    answer.raise_for_status()


_ROWS = (
    """
    insert into organizations (id, name, plan, stripe_customer_id)
    select 'org_' || n, 'Organization ' || n, 'agency', 'cus_seed' || n from numbers
    """,
    """
    insert into members (organization_id, id, role, seat_type, status)
    select 'org_' || n, each.id, 'member', each.seat_type, 'active' from numbers
    cross join (values ('ann', 'base'), ('bob', 'voice'), ('cat', 'voice')) as each (id, seat_type)
    """,
    """
    insert into subscriptions (id, organization_id, customer_id, status, currency, interval, as_of)
    select 'sub_seed' || n, 'org_' || n, 'cus_seed' || n, 'active', 'usd', 'month', now()
    from numbers
    """,
    """
    insert into seats (subscription_id, seat_type, item_id, price_id, quantity, stripe_quantity,
        active_seen)
    select 'sub_seed' || n, each.seat_type, 'si_seed' || n || each.place, each.price,
        each.bought, each.bought, each.active
    from numbers cross join (values ('base', '0', :base, :base_bought, 1),
        ('voice', '1', :voice, :voice_bought, 2)) as each (seat_type, place, price, bought, active)
    """,
)


def seed_database(engine: Engine, prices: Prices, count: int) -> None:
    """Write what we would hold after having settled every one of them before the drift."""
    given = {
        "count": count,
        "base": prices.base,
        "voice": prices.voice,
        "base_bought": BOUGHT[0],
        "voice_bought": BOUGHT[1],
    }
    numbers = (
        "with numbers as (select lpad(n::text, 8, '0') as n "
        "from generate_series(1, cast(:count as int)) as n) "
    )
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        for statement in _ROWS:
            connection.execute(text(numbers + statement), given)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text("analyze organizations, members, subscriptions, seats"))
