"""What the host application is told of a roster: full pools, limits reached, members who changed.

Written in the transaction of what it tells of. A full pool is told of once a day and size, however
many are refused.
"""

from sqlalchemy.orm import Session

from reconcile.policy.activation import AUTO_ADD_LIMIT, NO_ROOM, ActivationFacts
from reconcile.policy.values import Refuse, SeatPolicy
from reconcile.services import Services
from reconcile.store import notices
from reconcile.store.roster import Member


def tell_refused(
    session: Session, services: Services, member: Member, known: ActivationFacts, refused: Refuse
) -> None:
    """Tell of a member refused for lack of room; of other refusals nothing."""
    kind = _kind(refused)
    seat = known.rules.seat_types.get(known.takes or "")
    if kind is None or seat is None:
        return
    seats = seat.included if known.rules.policy == SeatPolicy.INCLUDED else known.capacity
    of_seats = {"seat_type": seat.seat_type, "active": known.active}
    data = of_seats | {"capacity": seats, "member_id": member.id, "code": refused.code}
    day = services.clock().date().isoformat()
    notices.add(
        session,
        kind,
        f"{member.organization_id}/{seat.seat_type}/{seats}/{day}",
        refused.message,
        organization_id=member.organization_id,
        due_at=services.clock(),
        data=of_seats | {"agreed": seats} if refused.code == "contract" else data,
    )


def _kind(refused: Refuse) -> str | None:
    if refused.code == AUTO_ADD_LIMIT:
        return "auto_add.ceiling_reached"
    if refused.code == "contract":
        return "contract.change_needed"
    return "seats.limit_reached" if refused.code in NO_ROOM else None


def tell_changed(
    session: Session, services: Services, member: Member, what: str, occasion: str
) -> None:
    """Tell how a member stands now: what their app shows depends on it (A2, B6)."""
    notices.add(
        session,
        "member.changed",
        f"{member.id}/{occasion}",
        f"{member.id}: {what}; {member.status}, {member.seat_type or 'no'} seat",
        organization_id=member.organization_id,
        due_at=services.clock(),
        data={
            "member_id": member.id,
            "what": what,
            "role": member.role,
            "seat_type": member.seat_type,
            "status": member.status,
        },
    )
