"""The catalog file: three products as the rules need them, and an error that names the place."""

from pathlib import Path

import pytest

from reconcile.catalog import CatalogError, NoSuchPrice, UnknownPlan, load_catalog, parse_catalog
from reconcile.policy.values import ContractKind, SeatPolicy

EXAMPLE = Path(__file__).parents[2] / "catalog.example.toml"

SMALL = """
[plans.team]
label = "Team"
policy = "purchased"
[plans.team.seats.voice]
label = "Voice"
minimum = 1
ceiling = 9
prices.month.usd = { id = "price_1", unit_minor = 3500 }
[plans.team.roles.admin]
seats = ["voice"]
admin = true
"""


def problems(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, name="catalog.toml")
    return [line.strip() for line in caught.value.detail.splitlines()]


def test_the_example_holds_every_policy_and_the_three_products() -> None:
    catalog = load_catalog(EXAMPLE)
    assert {plan.rules.policy for plan in catalog.plans.values()} == set(SeatPolicy)
    pro = catalog.price_of("workspace_pro", "pro", "month", "usd")
    assert pro.model.full_minor(1) == 9900  # A2
    assert catalog.plan("workspace_pro").rules.single_admin  # A3
    assert catalog.plan("workspace_business").rules.contract_kind == ContractKind.ANNUAL_UPFRONT
    included = {
        name: [seat.included for seat in catalog.plan(name).rules.seat_types.values()]
        for name in ("commerce_starter", "commerce_growth", "commerce_scale")
    }
    assert included == {  # C1
        "commerce_starter": [1, 1],
        "commerce_growth": [3, 3],
        "commerce_scale": [7, 15],
    }
    commerce = catalog.plan("commerce_scale").rules
    assert commerce.blocks_invites_in_trial  # C4
    assert [seat.hard_cap for seat in commerce.seat_types.values()] == [7, 15]  # C8
    assert commerce.roles["owner"].seat_types == ()  # C2
    assert [r.role for r in commerce.roles.values() if r.changes_roles] == ["owner"]  # C6


@pytest.mark.parametrize("quantity", [1, 10, 11, 40])
def test_the_example_sells_a_year_for_ten_percent_less_at_every_volume(quantity: int) -> None:
    """B10: on top of the volume discount."""
    catalog = load_catalog(EXAMPLE)
    for plan, seat_type in (("agency", "base"), ("agency", "voice"), ("workspace_pro", "pro")):
        month = catalog.price_of(plan, seat_type, "month", "usd").model.full_minor(quantity)
        year = catalog.price_of(plan, seat_type, "year", "usd").model.full_minor(quantity)
        assert year * 10 == month * 12 * 9


def test_prices_named_by_lookup_key_get_their_ids_once() -> None:
    catalog = load_catalog(EXAMPLE)
    assert len(catalog.lookup_keys) == len(list(catalog.prices()))
    ids = {key: f"price_{key}" for key in catalog.lookup_keys}
    resolved = catalog.resolved(ids)
    assert resolved.lookup_keys == ()
    found = resolved.seat_for_price("price_agency_voice_year")
    assert found is not None
    assert (found.plan, found.seat_type, found.interval) == ("agency", "voice", "year")
    assert resolved.seat_for_price("price_commerce_growth_month") is None
    assert resolved.is_fee("price_commerce_growth_month")
    assert not resolved.is_fee("price_strange")
    assert resolved.intervals("agency", "usd") == {"month", "year"}
    assert resolved.intervals("agency", "eur") == set()


def test_a_lookup_key_that_stripe_does_not_know_is_named() -> None:
    catalog = load_catalog(EXAMPLE)
    ids = {key: key for key in catalog.lookup_keys if key != "agency_base_month"}
    with pytest.raises(CatalogError, match="lookup_key agency_base_month: create"):
        catalog.resolved(ids)


def test_what_the_catalog_does_not_have_is_an_error_with_its_name() -> None:
    catalog = parse_catalog(SMALL)
    with pytest.raises(UnknownPlan, match="pro; it has team"):
        catalog.plan("pro")
    with pytest.raises(NoSuchPrice, match="voice of team, each year, in usd"):
        catalog.price_of("team", "voice", "year", "usd")


WRONG = {
    "unknown key": (
        "minimum = 1",
        "minimun = 1",
        "plans.team.seats.voice.minimun: unknown key",
    ),
    "a price that is no whole number": (
        "unit_minor = 3500",
        "unit_minor = 35.00",
        "plans.team.seats.voice.prices.month.usd.unit_minor: Input should be a valid integer",
    ),
    "an interval that Stripe does not bill": (
        "prices.month.usd",
        "prices.monthly.usd",
        "plans.team.seats.voice.prices.monthly: Input should be 'week', 'month' or 'year'",
    ),
    "a currency in capitals": (
        "month.usd",
        "month.USD",
        "plans.team.seats.voice.prices.month.USD: String should match pattern '^[a-z]{3}$'",
    ),
    "a policy that does not exist": (
        '"purchased"',
        '"bought"',
        (
            "plans.team.policy: Input should be 'purchased', 'follow', 'own_seat', 'contract' or "
            "'included'"
        ),
    ),
    "both id and lookup_key": (
        'id = "price_1"',
        'id = "price_1", lookup_key = "voice"',
        "plans.team.seats.voice.prices.month.usd: give either id or lookup_key",
    ),
    "neither amount nor tiers": (
        ", unit_minor = 3500",
        "",
        "plans.team.seats.voice.prices.month.usd: give either unit_minor or tiers",
    ),
    "tiers without a mode": (
        "unit_minor = 3500",
        "tiers = [{ unit_minor = 3500 }]",
        (
            "plans.team.seats.voice.prices.month.usd.tiers_mode: tiers need a tiers_mode, and only "
            "they do"
        ),
    ),
    "no last tier": (
        "unit_minor = 3500",
        'tiers_mode = "volume", tiers = [{ up_to = 5, unit_minor = 3500 }]',
        "plans.team.seats.voice.prices.month.usd.tiers: the last tier, and only it, has no up_to",
    ),
    "tiers out of order": (
        "unit_minor = 3500",
        'tiers_mode = "volume", tiers = [{ up_to = 5 }, { up_to = 5 }, {}]',
        "plans.team.seats.voice.prices.month.usd.tiers: each up_to is larger than the one before",
    ),
    "a ceiling below the minimum": (
        "ceiling = 9",
        "ceiling = 0",
        "plans.team.seats.voice.ceiling: 0 is below the minimum of 1",
    ),
    "a ceiling above the hard cap": (
        "ceiling = 9",
        "ceiling = 9\nhard_cap = 7",
        "plans.team.seats.voice.ceiling: 9 is above the hard cap of 7",
    ),
    "included seats in a purchased plan": (
        "ceiling = 9",
        "included = 9",
        "plans.team.seats.voice.included: only for plans of the policy included",
    ),
    "prices in an included plan": (
        '"purchased"',
        '"included"',
        (
            "plans.team.seats.voice.prices: included seats have no prices; "
            "the plan's own price goes in fees"
        ),
    ),
    "the settings of another policy": (
        "[plans.team.roles.admin]",
        "[plans.team.follow]\n[plans.team.roles.admin]",
        "plans.team.follow: only for plans of the policy follow",
    ),
    "a role with a seat the plan does not have": (
        'seats = ["voice"]',
        'seats = ["base"]',
        "plans.team.roles.admin.seats: the plan has no seat type base",
    ),
    "nobody who could be an admin": (
        "admin = true",
        "",
        "plans.team.roles: one role has to be the owner's or an admin's",
    ),
    "no prices at all": (
        'prices.month.usd = { id = "price_1", unit_minor = 3500 }',
        "",
        "plans.team.seats.voice.prices: at least one price is needed",
    ),
    "a price used twice": (
        "[plans.team.roles.admin]",
        (
            '[plans.team.seats.base]\nlabel = "Base"\n'
            'prices.month.usd = { id = "price_1", unit_minor = 1 }\n[plans.team.roles.admin]'
        ),
        (
            "plans.team.seats.base.prices.month.usd: the price price_1 is used twice, first at "
            "plans.team.seats.voice.prices.month.usd"
        ),
    ),
    "seat types with different prices": (
        "[plans.team.roles.admin]",
        (
            '[plans.team.seats.base]\nlabel = "Base"\n'
            'prices.month.eur = { id = "price_2", unit_minor = 1 }\n[plans.team.roles.admin]'
        ),
        "plans.team.seats.base.prices: no month price in usd, which other seats of the plan have",
    ),
    "two owners": (
        "[plans.team.roles.admin]",
        (
            "[plans.team.roles.a]\nowner = true\n[plans.team.roles.b]\nowner = true\n"
            "[plans.team.roles.admin]"
        ),
        "plans.team.roles: only one role may be the owner's, not a, b",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_the_path_of_its_key(
    right: str, wrong: str, message: str
) -> None:
    assert parse_catalog(SMALL)
    assert SMALL.count(right) >= 1
    assert message in problems(SMALL.replace(right, wrong, 1))


def test_all_problems_are_said_at_once() -> None:
    text = SMALL.replace("minimum = 1", "minimun = 1").replace('"purchased"', '"bought"')
    assert len(problems(text)) == 3  # the file's name, and two problems


def test_a_syntax_error_has_its_line() -> None:
    assert problems(SMALL.replace("minimum = 1", "minimum = "))[0].startswith(
        "catalog.toml, line 7, column 11: "
    )
    assert "at its end" in problems("[plans")[0] or "line" in problems("[plans")[0]


def test_an_empty_file_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    assert "plans: Field required" in problems("")
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog(tmp_path / "nothing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog(tmp_path / "binary.toml")
