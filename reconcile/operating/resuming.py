"""An adjustment in flight, looked after by a person: what became of it, and who made the change.

"Was it charged twice?" is what is asked then. It never is; the answer says why not.
"""

from dataclasses import dataclass
from enum import StrEnum

from reconcile.actor import Actor
from reconcile.operating import explaining
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import adjustments, look
from reconcile.store.adjustments import Adjustment
from reconcile.store.look import Event


class How(StrEnum):
    """What resuming did."""

    ENDED_BEFORE = "ended_before"
    FOUND = "found"
    SENT = "sent"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    UNKNOWN = "unknown"


_LINES = {
    How.ENDED_BEFORE: "It had ended before: nothing was sent for it now.",
    How.FOUND: "Stripe had the change already: it was found and recorded, not made again.",
    How.SENT: "Stripe did not have the change: it was made now, for the first time.",
    How.REFUSED: "The payment was declined: nothing was changed or charged.",
    How.GIVEN_UP: "It is given up: nothing was charged for it now.",
    How.UNKNOWN: "It is not known yet. Whoever tries again finds it, or sends it under the same "
    "key, which Stripe carries out once.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The adjustment after a look at it, and the request that looked.

    `anew` is what the look decided besides, from how things are now: a charge of its own.
    """

    adjustment: Adjustment
    request: Event
    how: How
    anew: tuple[Adjustment, ...] = ()

    @property
    def line(self) -> str:
        """What was done, for whoever asks whether it was charged twice."""
        return _LINES[self.how]


def resume(services: Services, adjustment_id: str, actor: Actor) -> Resumed | Refuse:
    """Finish an adjustment in flight; charged once, whoever sent it before. `actor` says why."""
    with services.sessions() as session:
        before = adjustments.by_id(session, adjustment_id)
    if before is None:
        return Refuse(
            code="not_found",
            message=f"there is no adjustment {adjustment_id}",
            remedies=("trueup adjustments list --state pending",),
        )
    request = explaining.apply(services, before.subscription_id, actor)
    if isinstance(request, Refuse):
        return request
    with services.sessions() as session:
        after = adjustments.by_id(session, adjustment_id)
        made = look.adjustments_from(session, request.superseded_by or request.id)
    assert after is not None
    anew = tuple(each for each in made if each.id != after.id)
    return Resumed(adjustment=after, request=request, how=_how(before, after), anew=anew)


def _how(before: Adjustment, after: Adjustment) -> How:
    if before.state != "pending":
        return How.ENDED_BEFORE
    if after.state == "applied":
        return How.SENT if after.stripe_request_id else How.FOUND
    return _ENDS[after.state]


_ENDS = {"pending": How.UNKNOWN, "refused": How.REFUSED, "failed": How.GIVEN_UP}
