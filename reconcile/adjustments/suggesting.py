"""Seats that are bought and not used: how few would do, and the credit that would bring (B13).

Only says so. Keeping them is the buyer's to decide, and reducing them is a change of seats like any
other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconcile.actor import Actor
from reconcile.adjustments.case import decide, read
from reconcile.adjustments.preparing import prepare
from reconcile.adjustments.quote import Quote, quote
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Change, Refuse, SeatPolicy
from reconcile.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Unused seats by seat type, and the reduction that leaves none; `quote` None where none is."""

    unused: Mapping[str, int]
    quantities: Mapping[str, int]
    quote: Quote | None


def suggest(services: Services, organization_id: str, *, actor: Actor) -> Suggestion | Refuse:
    """Return what could be reduced and its credit, to the minor unit, or why nothing may be.

    Of a plan whose seats follow its members there is nothing to suggest. Writes nothing to Stripe.
    """
    case = read(services, organization_id, Wanted(), actor)
    if isinstance(case, Refuse):
        return case
    fewest: dict[str, int] = {}
    if case.facts.rules.policy == SeatPolicy.PURCHASED:
        for seat in case.facts.seats:
            known = case.facts.rules.seat_types.get(seat.seat_type)
            if known and seat.active is not None and seat.stripe_quantity is not None:
                least = max(seat.active, known.minimum)
                if least < seat.stripe_quantity:
                    fewest[seat.seat_type] = least
    if not fewest:
        return Suggestion(unused={}, quantities={}, quote=None)
    wanted = Wanted(quantities=fewest)
    change = decide(services, case, wanted)
    if isinstance(change, Refuse):
        return change
    assert isinstance(change, Change), "something is fewer"
    intent = prepare(
        services,
        case.subscription,
        change,
        trigger="suggestion",
        active=case.facts.active_after(()),
    )
    now = case.facts.quantities()
    return Suggestion(
        unused={seat_type: now[seat_type] - least for seat_type, least in fewest.items()},
        quantities=fewest,
        quote=quote(services.catalog, case, wanted, change, intent),
    )
