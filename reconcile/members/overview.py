"""How an organization stands: its seats, its subscriptions, what is open. Reads only.

The same facts an activation is decided from, so that what is shown as free is free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from reconcile import facts
from reconcile.members.room import room_for
from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import SeatPolicy, SeatTypeRules
from reconcile.roster import Counts
from reconcile.services import Services
from reconcile.store import roster as roster_store
from reconcile.store import subscriptions
from reconcile.store.roster import AutoAdd, Organization
from reconcile.store.subscriptions import Held, Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatTypeOverview:
    """One seat type. None where there is no such number: nothing is bought of included seats."""

    rules: SeatTypeRules
    quantity: int | None  # Q, summed over own seats
    stripe_quantity: int | None  # S
    active: int | None  # None when the roster cannot be read
    capacity: int | None  # what activations are checked against
    auto_add: AutoAdd | None

    @property
    def free(self) -> int | None:
        """Seats that may be taken without buying one."""
        if self.capacity is None or self.active is None:
            return None
        return max(0, self.capacity - self.active)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """An organization, its seats and its subscriptions that are not over."""

    organization: Organization
    policy: SeatPolicy
    seats: tuple[SeatTypeOverview, ...]
    subscriptions: tuple[Held, ...]
    counts_problem: str | None
    read_at: datetime


def overview(session: Session, services: Services, organization: Organization) -> Overview:
    """Return how the organization stands, in the caller's transaction. Raises UnknownPlan."""
    rules = services.catalog.plan(organization.plan).rules
    held = subscriptions.of_organization(session, organization.id)
    bought = subscriptions.seats_of_organization(session, organization.id)
    # Of own seats each is one; else what moved to another subscription would be told twice.
    seated = held if rules.policy == SeatPolicy.OWN_SEAT else facts.seated(held, bought)
    counts = services.roster.counts(session, organization.id)
    automatic = roster_store.auto_add_settings(session, organization.id)
    return Overview(
        organization=organization,
        policy=rules.policy,
        seats=tuple(
            _seat_type(session, services, organization, each, seated, bought, counts, automatic)
            for each in rules.seat_types.values()
        ),
        subscriptions=held,
        counts_problem=counts.problem,
        read_at=services.clock(),
    )


def _seat_type(  # noqa: PLR0913, PLR0917 - what one seat type is put together from
    session: Session,
    services: Services,
    organization: Organization,
    rules: SeatTypeRules,
    seated: Sequence[Held],
    bought: Mapping[str, Mapping[str, Seat]],
    counts: Counts,
    automatic: Mapping[str, AutoAdd],
) -> SeatTypeOverview:
    policy = services.catalog.plan(organization.plan).rules.policy
    name = rules.seat_type
    seats = [(each, bought[each.id][name]) for each in seated if name in bought.get(each.id, {})]
    if policy == SeatPolicy.INCLUDED:
        capacity = rules.included
    elif policy == SeatPolicy.OWN_SEAT:
        capacity = sum(seat.quantity for each, seat in seats if is_paid(standing_of(each.status)))
    else:
        room = room_for(session, services, organization, takes=name, may_raise=False)
        capacity = room.capacity
    in_stripe = [s.stripe_quantity for _, s in seats if s.stripe_quantity is not None]
    return SeatTypeOverview(
        rules=rules,
        quantity=sum(seat.quantity for _, seat in seats) if seats else None,
        stripe_quantity=sum(in_stripe) if in_stripe else None,
        active=counts.of(name),
        capacity=capacity,
        auto_add=automatic.get(name),
    )
