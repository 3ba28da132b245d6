"""What a change of items, anchor or trial costs: new periods, prorations, what to bill now.

Edits a subscription the caller puts. Flexible mode keeps the anchor over an interval change and
bills the rest of the new period as a proration; classic mode starts a new cycle and bills it whole
(both recorded).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.billing.prorate import charge, credit
from sandbox.billing.proration import period_at
from sandbox.store import Obj
from sandbox.subscriptions.item_changes import Change
from sandbox.world import World


@dataclass
class Dues:
    """What a change makes payable: prorations (new items, not stored), whole periods to bill."""

    prorations: list[Obj] = field(default_factory=list)
    whole: list[Obj] = field(default_factory=list)


@dataclass(frozen=True)
class Terms:
    """How and from when to prorate; `at` is the pinned date, `now` the clock."""

    at: int
    now: int
    prorate: bool
    reset_anchor: bool


def reprice(world: World, subscription: Obj, changes: list[Change], terms: Terms) -> Dues:
    """Give every item its new period and collect what is owed or credited."""
    subscription["items"] = [change.after for change in changes if change.after is not None]
    if subscription["status"] == "trialing":
        return _during_trial(subscription)
    classic = subscription["billing_mode"]["type"] == "classic"
    if classic and (terms.reset_anchor or _new_interval(world, changes)):
        return _new_cycle(world, subscription, changes, terms)
    dues = Dues()
    for change in changes:
        if change.moves_money or terms.reset_anchor:
            dues.prorations += _of_item(world, subscription, change, terms)
    if terms.reset_anchor:
        subscription["billing_cycle_anchor"] = terms.now
    return dues


def _during_trial(subscription: Obj) -> Dues:
    """Nothing was paid, so nothing moves: items share the trial's period."""
    for item in subscription["items"]:
        item["current_period_start"] = subscription["trial_start"]
        item["current_period_end"] = subscription["trial_end"]
        item["_debits"] = []
    return Dues()


def cycle_of(world: World, item: Obj) -> tuple[str, int]:
    """Interval and count of an item's price."""
    recurring = world.store.need("price", item["price"])["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _new_interval(world: World, changes: list[Change]) -> bool:
    olds = {cycle_of(world, change.before) for change in changes if change.before}
    news = {cycle_of(world, change.after) for change in changes if change.after}
    return olds != news


def _new_cycle(world: World, subscription: Obj, changes: list[Change], terms: Terms) -> Dues:
    """Classic: everything unused is credited and a new period starts now."""
    dues = Dues()
    for change in changes:
        if change.before is not None and terms.prorate:
            dues.prorations += credit(world, subscription, change.before, terms.at, terms.now)
    for item in subscription["items"]:
        _set_period(item, period_at(terms.now, *cycle_of(world, item), terms.now))
        item["_debits"] = []
    subscription["billing_cycle_anchor"] = terms.now
    dues.whole = list(subscription["items"])
    return dues


def _of_item(world: World, subscription: Obj, change: Change, terms: Terms) -> list[Obj]:
    """Debit first, credit last: newest first then reads as Stripe lists them (recorded)."""
    old, new = change.before, change.after
    if old is not None and new is not None and not change.moves_money:
        return _extended(world, subscription, old, new, terms)
    credited = credit(world, subscription, old, terms.at, terms.now) if old else []
    debits: list[Obj] = []
    if new is not None:
        period = _period(world, subscription, old, new, terms)
        _set_period(new, period)
        if terms.prorate and "quantity" in new:
            start = max(terms.now, period[0]) if terms.reset_anchor else terms.at
            new["_debits"] = []
            debits = [charge(world, subscription, new, at=start, period=period, now=terms.now)]
    return debits + credited if terms.prorate else []


def _extended(world: World, subscription: Obj, old: Obj, new: Obj, terms: Terms) -> list[Obj]:
    """A new anchor for an unchanged item: only the added time is owed (recorded)."""
    period = period_at(terms.now, *cycle_of(world, new), terms.now)
    _set_period(new, period)
    start = old["current_period_end"]
    if not terms.prorate or start >= period[1] or "quantity" not in new:
        return []
    return [charge(world, subscription, new, at=start, period=period, now=terms.now)]


def _period(
    world: World, subscription: Obj, old: Obj | None, new: Obj, terms: Terms
) -> tuple[int, int]:
    cycle = cycle_of(world, new)
    if terms.reset_anchor:
        return period_at(terms.now, *cycle, terms.now)
    if old is not None and cycle_of(world, old) == cycle:
        return old["current_period_start"], old["current_period_end"]
    if old is not None:
        return period_at(old["current_period_start"], *cycle, terms.at)
    for other in subscription["items"]:
        if other is not new and cycle_of(world, other) == cycle:
            return other["current_period_start"], other["current_period_end"]
    return period_at(subscription["billing_cycle_anchor"], *cycle, terms.now)


def _set_period(item: Obj, period: tuple[int, int]) -> None:
    item["current_period_start"], item["current_period_end"] = period
