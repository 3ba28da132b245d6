"""What goes with an applied change, in the transaction that records it: members, contract, audit.

Whoever sees the new seats sees who is on them, what the contract says by now, and who did it.
"""

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP, Actor
from reconcile.policy.seat_change import Move
from reconcile.policy.values import SeatPolicy
from reconcile.services import Services
from reconcile.store import audit, contracts, notices, renewals, roster, subscriptions
from reconcile.store.adjustments import Adjustment
from reconcile.store.roster import Member


def follow(session: Session, services: Services, done: Adjustment) -> None:
    """Record everything that follows from an adjustment that Stripe took.

    The caller holds the organization's lock.
    """
    if done.moves:
        move_members(session, services, done.organization_id, done.moves, done.actor, done.id)
    organization = roster.organization(session, done.organization_id)
    assert organization is not None
    after = {change.seat_type: change.to_quantity for change in done.changes}
    if services.catalog.plan(organization.plan).rules.policy == SeatPolicy.CONTRACT:
        contracts.change(
            session,
            organization.id,
            done.actor,
            after,
            adjustment_id=done.id,
            because=done.reason,
        )
        # Of two approved changes the later one counts, also where only the first one waits.
        renewals.leave_out(
            session,
            organization.id,
            after.keys(),
            through=done.trigger,
            outcome="a later change was made",
        )
    if done.kind == "interval":
        # The old period's end does not come: what was to be lowered then went with the switch.
        renewals.withdraw(
            session, done.subscription_id, "another interval began", kind=renewals.LOWER
        )
    _tell_auto_added(session, services, done)
    because = done.reason if done.actor == TRUEUP else done.actor.because
    audit.record(
        session,
        replace(done.actor, because=because),
        "interval.switched" if done.kind == "interval" else "seats.changed",
        done.subscription_id,
        organization_id=organization.id,
        before={"seats": {change.seat_type: change.from_quantity for change in done.changes}},
        after={
            "seats": after,
            "adjustment": done.id,
            "invoice": done.invoice_id,
            "currency": done.currency,
            "total_minor": done.total_minor,
            "amount_due_minor": done.amount_due_minor,
        },
    )


def _tell_auto_added(session: Session, services: Services, done: Adjustment) -> None:
    """Tell what Auto-Add bought and what it cost, once for each kind of seat (B15)."""
    for change in done.changes:
        if not change.automatic:
            continue
        notices.add(
            session,
            "auto_add.happened",
            f"{done.id}/{change.seat_type}",
            done.outcome or done.reason,
            organization_id=done.organization_id,
            due_at=services.clock(),
            data={
                "seat_type": change.seat_type,
                "quantity_before": change.from_quantity,
                "quantity_after": change.to_quantity,
                "currency": done.currency,
                "total_minor": done.total_minor,
                "amount_due_minor": done.amount_due_minor,
                "adjustment_id": done.id,
                "invoice_id": done.invoice_id,
            },
        )


def in_place(
    session: Session, organization_id: str, moves: tuple[Move, ...]
) -> Iterator[tuple[Move, Member]]:
    """Yield who is still where they move from; of the others there is nothing to move."""
    for move in moves:
        member = roster.member(session, organization_id, move.member_id)
        if member and (member.status, member.seat_type) == ("active", move.from_seat_type):
            yield move, member


def move_members(  # noqa: PLR0913, PLR0917 - who moves, who asked, and on which occasion
    session: Session,
    services: Services,
    organization_id: str,
    moves: tuple[Move, ...],
    actor: Actor,
    occasion: str,
) -> None:
    """Move the members who are still where they were; the caller holds the organization's lock.

    The host application is told, so that each member's app reflects it (B6).
    """
    for move, member in in_place(session, organization_id, moves):
        roster.write_member(session, replace(member, seat_type=move.to_seat_type))
        subscriptions.note_moved(session, organization_id, move.from_seat_type, move.to_seat_type)
        audit.record(
            session,
            actor,
            "member.seat_type_changed",
            member.id,
            organization_id=organization_id,
            before={"seat_type": move.from_seat_type},
            after={"seat_type": move.to_seat_type},
        )
        notices.add(
            session,
            "member.changed",
            f"{organization_id}/{member.id}/{occasion}",
            f"{member.id}: moved to a {move.to_seat_type} seat",
            organization_id=organization_id,
            due_at=services.clock(),
            data={
                "member_id": member.id,
                "what": "moved",
                "role": member.role,
                "seat_type": move.to_seat_type,
                "status": member.status,
            },
        )
