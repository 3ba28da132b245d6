"""The shape of the catalog file, and everything that can be wrong with one.

TOML in, validated tables out; unknown keys are refused, because a setting with a typing error
would silently be its default. Only `catalog` reads these; everyone else sees its values.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from reconcile.policy.proration import TiersMode
from reconcile.policy.values import ContractKind, SeatPolicy

Problem = tuple[str, str]  # where (a key path), what

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Label = Annotated[str, Field(min_length=1, max_length=60)]
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000)]
Minor = Annotated[StrictInt, Field(ge=0, le=99_999_999)]  # Stripe's largest unit amount
Reference = Annotated[str, Field(pattern=r"^\S{1,200}$")]
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
Interval = Literal["week", "month", "year"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TierTable(_Table):
    """One tier of a price; the last one has no `up_to`."""

    up_to: Annotated[StrictInt, Field(ge=1)] | None = None
    unit_minor: Minor = 0
    flat_minor: Minor = 0


class PriceTable(_Table):
    """One price: which one it is in Stripe, and what it costs."""

    id: Reference | None = None
    lookup_key: Reference | None = None
    unit_minor: Minor | None = None
    tiers_mode: TiersMode | None = None
    tiers: tuple[TierTable, ...] = ()


Prices = dict[Interval, dict[Currency, PriceTable]]


class SeatTable(_Table):
    """One seat type of a plan."""

    label: Label
    minimum: Count = 0
    ceiling: Count | None = None
    included: Count | None = None
    hard_cap: Count | None = None
    credits_per_seat: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 0
    prices: Prices = Field(default_factory=dict)


class RoleTable(_Table):
    """One role of a plan: which pools it may take a seat of, and what it may do."""

    seats: tuple[Name, ...] = ()
    owner: StrictBool = False
    admin: StrictBool = False
    changes_roles: StrictBool = False


class PurchasedTable(_Table):
    """Settings of the policy `purchased`."""

    restores_quantity: StrictBool = False
    raises_below_floor: StrictBool = True


class FollowTable(_Table):
    """Settings of the policy `follow`."""

    raises: Literal["now", "monthly"] = "now"
    lowers: Literal["renewal", "now"] = "renewal"


class ContractTable(_Table):
    """Settings of the policy `contract`."""

    kind: ContractKind = ContractKind.MONTHLY
    removals: StrictBool = False
    allows_overage: StrictBool = False


class UsageTable(_Table):
    """What a month's usage may be before a person looks (C9)."""

    orders_a_month: Count | None = None
    gmv_minor_a_month: dict[Currency, Annotated[StrictInt, Field(ge=0, le=10**15)]] = Field(
        default_factory=dict
    )


class PlanTable(_Table):
    """One plan. `purchased`, `follow` and `contract` hold the settings of the policy so named."""

    label: Label
    policy: SeatPolicy
    tier: Name | None = None
    single_admin: StrictBool = False
    blocks_invites_in_trial: StrictBool = False
    activates_first: StrictBool = False
    purchased: PurchasedTable | None = None
    follow: FollowTable | None = None
    contract: ContractTable | None = None
    usage: UsageTable | None = None
    seats: Annotated[dict[Name, SeatTable], Field(min_length=1)]
    roles: Annotated[dict[Name, RoleTable], Field(min_length=1)]
    fees: Prices = Field(default_factory=dict)  # the plan's own price, not a seat's


class CatalogTable(_Table):
    """The whole file."""

    plans: Annotated[dict[Name, PlanTable], Field(min_length=1)]


def parse_tables(data: Mapping[str, Any]) -> tuple[CatalogTable | None, list[Problem]]:
    """Return the validated tables, or None, and everything that is wrong, by key path."""
    try:
        tables = CatalogTable.model_validate(data)
    except ValidationError as error:
        return None, [
            (_path(one["loc"]), "unknown key" if one["type"] == "extra_forbidden" else one["msg"])
            for one in error.errors(include_url=False)
        ]
    problems = list(_price_used_twice(tables))
    for name, plan in tables.plans.items():
        for where, what in _plan_problems(plan):
            problems.append((f"plans.{name}{where}", what))
    return (None if problems else tables), problems


def _path(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(part for part in parts if part != ".[key]").lstrip(".")


def iterate_prices(prices: Prices) -> Iterator[tuple[str, str, PriceTable]]:
    """Yield (interval, currency, price) of one table of prices."""
    for interval, by_currency in prices.items():
        for currency, price in by_currency.items():
            yield interval, currency, price


def _price_tables(plan: PlanTable) -> Iterator[tuple[str, PriceTable]]:
    for interval, currency, price in iterate_prices(plan.fees):
        yield f".fees.{interval}.{currency}", price
    for name, seat in plan.seats.items():
        for interval, currency, price in iterate_prices(seat.prices):
            yield f".seats.{name}.prices.{interval}.{currency}", price


def _price_used_twice(tables: CatalogTable) -> Iterator[Problem]:
    used = [
        (f"plans.{name}{where}", price.id or price.lookup_key)
        for name, plan in tables.plans.items()
        for where, price in _price_tables(plan)
    ]
    times = Counter(reference for _, reference in used if reference)
    first: dict[str, str] = {}
    for where, reference in used:
        if reference and times[reference] > 1 and first.setdefault(reference, where) != where:
            yield where, f"the price {reference} is used twice, first at {first[reference]}"


def _plan_problems(plan: PlanTable) -> Iterator[Problem]:
    for policy in (SeatPolicy.PURCHASED, SeatPolicy.FOLLOW, SeatPolicy.CONTRACT):
        if getattr(plan, policy.value) is not None and plan.policy != policy:
            yield f".{policy.value}", f"only for plans of the policy {policy.value}"
    yield from _role_problems(plan)
    for name, seat in plan.seats.items():
        for where, what in _seat_problems(plan.policy, seat):
            yield f".seats.{name}{where}", what
    for where, price in _price_tables(plan):
        for inner, what in _price_problems(price):
            yield f"{where}{inner}", what
    yield from _unequal_prices(plan)


def _role_problems(plan: PlanTable) -> Iterator[Problem]:
    for name, role in plan.roles.items():
        for seat_type in role.seats:
            if seat_type not in plan.seats:
                yield f".roles.{name}.seats", f"the plan has no seat type {seat_type}"
    owners = [name for name, role in plan.roles.items() if role.owner]
    if len(owners) > 1:
        yield ".roles", f"only one role may be the owner's, not {', '.join(owners)}"
    if not owners and not any(role.admin for role in plan.roles.values()):
        yield ".roles", "one role has to be the owner's or an admin's"
    if plan.single_admin and sum(role.admin for role in plan.roles.values()) != 1:
        yield ".single_admin", "needs exactly one role with admin = true"


def _seat_problems(policy: SeatPolicy, seat: SeatTable) -> Iterator[Problem]:
    if policy == SeatPolicy.INCLUDED:
        if seat.included is None:
            yield "", "a plan of the policy included says how many are included"
        if seat.prices:
            yield ".prices", "included seats have no prices; the plan's own price goes in fees"
    else:
        if seat.included is not None:
            yield ".included", "only for plans of the policy included"
        if not seat.prices:
            yield ".prices", "at least one price is needed"
    if seat.credits_per_seat and policy != SeatPolicy.OWN_SEAT:
        yield ".credits_per_seat", "only for plans of the policy own_seat"
    if seat.credits_per_seat and "week" in seat.prices:
        yield ".credits_per_seat", "credits are by the month: no price of a week goes with them"
    limits = {"ceiling": seat.ceiling, "hard_cap": seat.hard_cap, "included": seat.included}
    for name, limit in limits.items():
        if limit is not None and limit < seat.minimum:
            yield f".{name}", f"{limit} is below the minimum of {seat.minimum}"
        if limit is not None and seat.hard_cap is not None and limit > seat.hard_cap:
            yield f".{name}", f"{limit} is above the hard cap of {seat.hard_cap}"


def _price_problems(price: PriceTable) -> Iterator[Problem]:
    if (price.id is None) == (price.lookup_key is None):
        yield "", "give either id or lookup_key"
    if (price.unit_minor is None) == (not price.tiers):
        yield "", "give either unit_minor or tiers"
    if (price.tiers_mode is None) != (not price.tiers):
        yield ".tiers_mode", "tiers need a tiers_mode, and only they do"
    tops = [tier.up_to for tier in price.tiers]
    if tops and (tops[-1] is not None or None in tops[:-1]):
        yield ".tiers", "the last tier, and only it, has no up_to"
    known = [top for top in tops if top is not None]
    if any(later <= earlier for earlier, later in pairwise(known)):
        yield ".tiers", "each up_to is larger than the one before"


def _unequal_prices(plan: PlanTable) -> Iterator[Problem]:
    """A subscription has one interval and one currency: each seat type needs a price for it."""
    offered = {
        name: {(i, c) for i, c, _ in iterate_prices(seat.prices)}
        for name, seat in plan.seats.items()
    }
    every = set().union(*offered.values())
    for name, pairs in offered.items():
        for interval, currency in sorted(every - pairs) if pairs else ():
            yield (
                f".seats.{name}.prices",
                f"no {interval} price in {currency}, which other seats of the plan have",
            )
