"""The catalog: which plans there are, their seat types, prices, limits and policies.

Read from one TOML file at the start of a process and never changed afterwards. Stripe does not let
anyone choose a price's id, so a price may be named by `id` or by `lookup_key`; `resolved` fills in
the ids that Stripe gave, once, at the start. See catalog.example.toml for every key.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from reconcile.catalog_file import (
    PlanTable,
    Prices,
    PriceTable,
    UsageTable,
    iterate_prices,
    parse_tables,
)
from reconcile.errors import TrueupError, WaitingForRow
from reconcile.policy.proration import PriceModel, Tier
from reconcile.policy.values import PlanRules, RoleRules, SeatTypeRules, UsageLimit


class CatalogError(TrueupError):
    """The catalog cannot be used."""


class UnknownPlan(WaitingForRow):
    """The catalog has no such plan."""


class NoSuchPrice(WaitingForRow):
    """The catalog has no price for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price of the catalog. `seat_type` is None for a plan's own fee."""

    plan: str
    seat_type: str | None
    interval: str
    currency: str
    model: PriceModel
    id: str | None
    lookup_key: str | None

    @property
    def name(self) -> str:
        """What people find it by in Stripe."""
        return self.lookup_key or self.id or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan: its rules for the decisions, and its prices."""

    name: str
    label: str
    rules: PlanRules
    prices: tuple[Price, ...]


@dataclass(frozen=True)
class Catalog:
    """All plans by name."""

    plans: Mapping[str, Plan]

    def plan(self, name: str) -> Plan:
        """Return the plan; raises UnknownPlan."""
        try:
            return self.plans[name]
        except KeyError:
            raise UnknownPlan(f"{name}; it has {', '.join(self.plans)}") from None

    def prices(self) -> Iterator[Price]:
        """Yield every price of every plan, fees included."""
        for plan in self.plans.values():
            yield from plan.prices

    def seat_for_price(self, price_id: str) -> Price | None:
        """Return the price if it is a seat type's; None for fees and for strange prices."""
        price = self._by_id.get(price_id)
        return price if price and price.seat_type else None

    def is_fee(self, price_id: str) -> bool:
        """Return whether the price is a plan's own fee: known, but no seats."""
        price = self._by_id.get(price_id)
        return price is not None and price.seat_type is None

    def price_of(self, plan: str, seat_type: str, interval: str, currency: str) -> Price:
        """Return the price a seat type has for an interval; raises NoSuchPrice."""
        for price in self.plan(plan).prices:
            wanted = (seat_type, interval, currency)
            if (price.seat_type, price.interval, price.currency) == wanted:
                return price
        raise NoSuchPrice(f"{seat_type} of {plan}, each {interval}, in {currency}")

    def intervals(self, plan: str, currency: str) -> frozenset[str]:
        """Return the intervals that the plan's seats can be paid by in a currency (B10)."""
        prices = self.plan(plan).prices
        return frozenset(p.interval for p in prices if p.seat_type and p.currency == currency)

    @cached_property
    def lookup_keys(self) -> tuple[str, ...]:
        """The lookup keys that have no id yet."""
        return tuple(p.lookup_key for p in self.prices() if p.lookup_key and not p.id)

    def resolved(self, ids: Mapping[str, str]) -> "Catalog":
        """Return the catalog with Stripe's ids for its lookup keys.

        Raises CatalogError naming every key that Stripe does not know.
        """
        if missing := [key for key in self.lookup_keys if key not in ids]:
            raise CatalogError(
                f"Stripe has no active price with lookup_key {', '.join(missing)}: create them "
                "(`trueup doctor` shows what each should cost)"
            )

        def with_id(price: Price) -> Price:
            return replace(price, id=ids[price.lookup_key]) if price.lookup_key else price

        plans = {
            name: replace(plan, prices=tuple(with_id(price) for price in plan.prices))
            for name, plan in self.plans.items()
        }
        return Catalog(plans)

    @cached_property
    def _by_id(self) -> dict[str, Price]:
        return {price.id: price for price in self.prices() if price.id}


def load_catalog(path: Path) -> Catalog:
    """Return the catalog in the file.

    Raises CatalogError with the line of a syntax error, or one line a problem, each with the path
    of its key (`plans.agency.seats.voice.prices.month.usd.unit_minor: ...`).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} cannot be read: {error}") from error
    return parse_catalog(text, name=str(path))


def parse_catalog(text: str, *, name: str = "catalog") -> Catalog:
    """Return the catalog in a TOML text; see `load_catalog` for the errors."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+), column (\d+)", str(error))
        where = f"line {place[1]}, column {place[2]}" if place else "at its end"
        what = str(error).partition(" (")[0]
        raise CatalogError(f"{name}, {where}: {what}") from error
    except RecursionError:
        raise CatalogError(f"{name}: values are nested too deeply") from None
    tables, problems = parse_tables(data)
    if tables is None:
        lines = [f"{where or 'the file'}: {what}" for where, what in problems]
        raise CatalogError(f"{name}\n  " + "\n  ".join(lines))
    return Catalog({key: _plan(key, table) for key, table in tables.plans.items()})


def _plan(name: str, table: PlanTable) -> Plan:
    prices = list(_prices(name, None, table.fees))
    for seat_type, seat in table.seats.items():
        prices += _prices(name, seat_type, seat.prices)
    return Plan(name=name, label=table.label, rules=_rules(name, table), prices=tuple(prices))


def _rules(name: str, table: PlanTable) -> PlanRules:
    rules = PlanRules(
        plan=name,
        policy=table.policy,
        seat_types={
            seat_type: SeatTypeRules(
                seat_type=seat_type,
                label=seat.label,
                minimum=seat.minimum,
                ceiling=seat.ceiling,
                included=seat.included,
                hard_cap=seat.hard_cap,
                credits_per_seat=seat.credits_per_seat,
            )
            for seat_type, seat in table.seats.items()
        },
        roles={
            role: RoleRules(
                role=role,
                seat_types=found.seats,
                is_owner=found.owner,
                is_admin=found.admin or found.owner,
                changes_roles=found.changes_roles or found.owner,
            )
            for role, found in table.roles.items()
        },
        tier=table.tier or name,
        single_admin=table.single_admin,
        blocks_invites_in_trial=table.blocks_invites_in_trial,
        activates_first=table.activates_first,
        usage=tuple(_usage(table.usage)) if table.usage else (),
    )
    if table.purchased:
        rules = replace(
            rules,
            restores_quantity=table.purchased.restores_quantity,
            raises_below_floor=table.purchased.raises_below_floor,
        )
    if table.follow:
        rules = replace(rules, follow_raises=table.follow.raises, follow_lowers=table.follow.lowers)
    if table.contract:
        rules = replace(
            rules,
            contract_kind=table.contract.kind,
            contract_removals=table.contract.removals,
            contract_allows_overage=table.contract.allows_overage,
        )
    return rules


def _usage(table: UsageTable) -> Iterator[UsageLimit]:
    if table.orders_a_month is not None:
        yield UsageLimit(metric="orders", currency="", most=table.orders_a_month)
    for currency, most in table.gmv_minor_a_month.items():
        yield UsageLimit(metric="gmv", currency=currency, most=most)


def _prices(plan: str, seat_type: str | None, prices: Prices) -> Iterator[Price]:
    for interval, currency, price in iterate_prices(prices):
        yield Price(
            plan=plan,
            seat_type=seat_type,
            interval=interval,
            currency=currency,
            model=_model(price),
            id=price.id,
            lookup_key=price.lookup_key,
        )


def _model(price: PriceTable) -> PriceModel:
    tiers = tuple(
        Tier(up_to=tier.up_to, unit_minor=tier.unit_minor, flat_minor=tier.flat_minor)
        for tier in price.tiers
    )
    return PriceModel(unit_minor=price.unit_minor or 0, tiers_mode=price.tiers_mode, tiers=tiers)
