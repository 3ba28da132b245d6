"""What changes at a renewal: the buyer keeps what the period was paid for.

Stripe offers no "from the next period on" for a quantity. Weighed:
- `none` at once: the seats are gone for the rest of a period that was paid for.
- A subscription schedule with a phase from the renewal on: it takes over the whole subscription,
  and every later change, ours or a person's, would have to rewrite its phases.
- After the renewal: the invoice has been drafted with the old quantity already.
- `none` in the last hour of the period: nothing is billed or credited, the renewal invoice has the
  new quantity, and the hour of unused seats is worth nothing to anyone. This is done.

The hour is kept by an inbox row that comes due then, and stays while an unpaid invoice or the like
holds the lowering back. When that hour passed without it, or nobody was there, it is made good:
lowered with the proration date at the start of the new period, which credits the whole difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP, Actor
from reconcile.adjustments.preparing import now_of
from reconcile.errors import StripeGone
from reconcile.policy.values import Change, PlanRules, Proration, SeatPolicy
from reconcile.services import Services
from reconcile.store import contracts, roster, subscriptions
from reconcile.store import renewals as store
from reconcile.store.renewals import Approved
from reconcile.stripe_shapes import StripeSubscription

LAST_HOUR = timedelta(hours=1)
_CLOCKS_DIFFER = timedelta(minutes=1)
_LOOK_FOR_UNKNOWN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What to write now (prorated from when, asked by whom); with no change, the line says why.

    `found` is what somebody has set in Stripe already. `trigger` is the request that it comes from,
    where that is not what made us look.
    """

    line: str
    change: Change | None = None
    found: Mapping[str, int] = field(default_factory=dict)
    prorated_from: datetime | None = None
    actor: Actor = TRUEUP
    trigger: str | None = None


def plan(
    services: Services, subscription: StripeSubscription, change: Change, *, writes: bool
) -> Due:
    """Return whether a lowering at renewal is due, and remember it until it is made.

    In its hour as well: an unpaid invoice, a pause or a failure may last longer than that.
    """
    assert change.at_renewal
    assert change.proration == Proration.NONE
    start, end = subscription.period_start, subscription.period_end
    now = now_of(services, subscription)
    if start is None or end is None:
        return Due(line=change.reason, change=change)
    is_due = now >= end - LAST_HOUR
    if not is_due and (made_good := _missed(services, subscription.id, change, start)):
        return Due(line=made_good.reason, change=made_good, prorated_from=start)
    if writes:
        with services.sessions.begin() as session:
            store.plan_lowering(
                session,
                subscription.id,
                dict(change.quantities),
                period_end=end,
                due_at=_within_hour(services, end, now),
            )
    if is_due:
        return Due(line=change.reason, change=change)
    return Due(line=f"{change.reason}, on {end.isoformat(timespec='minutes')}")


def _missed(
    services: Services, subscription_id: str, change: Change, start: datetime
) -> Change | None:
    """Return what of the change was to be made for the period that began then, prorated from it."""
    with services.sessions() as session:
        missed = store.planned_until(session, subscription_id, start)
        seats = subscriptions.seats_of(session, subscription_id)
    late = {
        seat_type: max(wanted, missed[seat_type])
        for seat_type, wanted in change.quantities.items()
        if seat_type in missed
        and max(wanted, missed[seat_type]) < (seats[seat_type].stripe_quantity or 0)
    }
    if not late:
        return None
    return replace(
        change,
        quantities=late,
        proration=Proration.CHARGE_NOW,
        at_renewal=False,
        reason=f"{change.reason}; the renewal was missed, prorated from its start",
    )


def hour_to_come(services: Services, subscription_id: str) -> datetime | None:
    """Return when the last hour of the period has begun, by our clock, if something waits for it.

    None where it has, or nothing does. In an hour where Stripe does not know the subscription: what
    is over it still knows, so that is a wrong key, and what was approved is not lost over it.
    Raises as a read of Stripe does.
    """
    try:
        subscription = services.stripe.subscription(subscription_id)
    except StripeGone:
        with services.sessions() as session:
            waits = bool(store.approved(session, subscription_id))
        return services.clock() + _LOOK_FOR_UNKNOWN if waits else None
    start, end = subscription.period_start, subscription.period_end
    if start is None or end is None or subscription.status in subscriptions.ENDED:
        return None
    now = now_of(services, subscription)
    with services.sessions() as session:
        waits = now < end - LAST_HOUR and store.waits_for(
            session, subscription_id, period_start=start, period_end=end
        )
    return _within_hour(services, end, now) if waits else None


def lowering_waits(services: Services, subscription: StripeSubscription) -> bool:
    """Return whether a planned lowering is due, still wanted, and not made."""
    start, end = subscription.period_start, subscription.period_end
    if start is None or end is None:
        return False
    with services.sessions() as session:
        planned = store.planned_until(session, subscription.id, end)
        rules = _rules(session, services, subscription.id) if planned else None
        if rules is None or rules.policy != SeatPolicy.FOLLOW:
            return False
        missed = store.planned_until(session, subscription.id, start)
        seats = subscriptions.seats_of(session, subscription.id)
    due = planned if now_of(services, subscription) >= end - LAST_HOUR else missed
    return any(
        max(wanted, seats[seat_type].active_seen or 0) < (seats[seat_type].stripe_quantity or 0)
        for seat_type, wanted in due.items()
        if seat_type in seats
    )


def _rules(session: Session, services: Services, subscription_id: str) -> PlanRules | None:
    """Return the rules of the plan, which may be another one by now."""
    held = subscriptions.held(session, subscription_id)
    organization = roster.organization(session, held.organization_id) if held else None
    return services.catalog.plan(organization.plan).rules if organization else None


def approve(  # noqa: PLR0913 - one row, all by name
    session: Session,
    services: Services,
    subscription: StripeSubscription,
    change: Change,
    *,
    actor: Actor,
    now: datetime,
) -> datetime:
    """Remember an approved contract change for the renewal (A6); returns when it takes effect.

    `now` is the subscription's present.
    """
    end = subscription.period_end
    assert end is not None
    store.plan_change(
        session,
        subscription.id,
        dict(change.quantities),
        approved=change.reason,
        actor=actor,
        period_end=end,
        due_at=_within_hour(services, end, now),
    )
    return end


def _within_hour(services: Services, end: datetime, now: datetime) -> datetime:
    """Return when what waits for the last hour before `end` is due; `now` is the subscription's.

    A worker takes what comes due within its lease as well, and its clock is not the database's: in
    its hands before the hour, the row would be done and nothing changed.
    """
    late = timedelta(seconds=services.settings.hint_lease_s) + _CLOCKS_DIFFER
    return services.clock() + max(end - LAST_HOUR + late - now, timedelta())


def approved(services: Services, subscription: StripeSubscription) -> Due | None:
    """Return the approved contract change whose renewal is here or was missed, or None.

    What is in Stripe already goes first, it needs no call; then what is free in this hour, before
    what is made good, whose payment may be declined. None as well where the plan has no contract
    any more: nothing is written against its own rules.
    """
    start, end = subscription.period_start, subscription.period_end
    if start is None or end is None:
        return None
    with services.sessions() as session:
        planned = store.approved(session, subscription.id)
        rules = _rules(session, services, subscription.id) if planned else None
        if rules is None or rules.policy != SeatPolicy.CONTRACT:
            return None
        present = _present(session, services, subscription.id, rules)
    in_its_hour = now_of(services, subscription) >= end - LAST_HOUR
    here = [each for each in planned if each.period_end > start and in_its_hour]
    missed = [each for each in planned if each.period_end <= start]
    dues = [_due(each, present, subscription, None) for each in here]
    dues += [_due(each, present, subscription, start) for each in missed]
    dues.sort(key=lambda due: not due.found)
    return next((due for due in dues if due.change or due.found), None)


def come_in_time(services: Services, subscription: StripeSubscription) -> None:
    """Have what was approved come due in the last hour of this period, planned for a later end.

    Somebody has it billed by the month instead of by the year. The caller knows that none is due.
    """
    end = subscription.period_end
    with services.sessions() as session:
        planned = store.approved(session, subscription.id)
    later = [each for each in planned if end is not None and each.period_end > end]
    if end is None or not later:
        return
    due_at = _within_hour(services, end, now_of(services, subscription))
    with services.sessions.begin() as session:
        store.date(session, later, due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Present:
    """What an approved change is held against: quantities by seat type."""

    rules: PlanRules
    there: Mapping[str, int]  # in Stripe
    agreed: Mapping[str, int]
    active: Mapping[str, int]


def _present(
    session: Session, services: Services, subscription_id: str, rules: PlanRules
) -> _Present:
    """Return the seats as they are, those that are not on the subscription yet as well."""
    held = subscriptions.held(session, subscription_id)
    assert held is not None
    bought = subscriptions.seats_of(session, subscription_id)
    contract = contracts.in_force(session, held.organization_id)
    counts = services.roster.counts(session, held.organization_id).by_seat_type or {}
    return _Present(
        rules=rules,
        there={name: seat.stripe_quantity or 0 for name, seat in bought.items()},
        agreed={
            **(contract.quantities if contract else {}),
            **{name: seat.quantity for name, seat in bought.items()},
        },
        active={**counts, **{name: seat.active_seen or 0 for name, seat in bought.items()}},
    )


def _due(
    planned: Approved,
    present: _Present,
    subscription: StripeSubscription,
    missed_since: datetime | None,
) -> Due:
    # Never below who is active by now, whatever was approved then; and the plan may be another one.
    wanted = {
        name: max(count, present.active.get(name, 0))
        for name, count in planned.quantities.items()
        if name in present.rules.seat_types
    }
    quantities = {
        name: count for name, count in wanted.items() if count != present.there.get(name, 0)
    }
    change = Change(
        quantities=quantities,
        proration=Proration.CHARGE_NOW if missed_since else Proration.NONE,
        reason=planned.approved,
        # One that was attached after the approval is not written against either.
        through_schedule=subscription.schedule_id is not None,
    )
    return Due(
        line=planned.approved,
        change=change if quantities else None,
        found={
            name: count
            for name, count in wanted.items()
            if name not in quantities and count != present.agreed.get(name, 0)
        },
        prorated_from=missed_since,
        actor=planned.actor,
        trigger=planned.id,
    )
