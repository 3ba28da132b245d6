"""A member becomes active: the check and the write of the row under one lock of the organization.

Where a seat has to be bought for it, the member waits as an inbox request while one process buys
for everybody who waits: a burst is one update of Stripe. Every rule is `policy`'s.
"""

import time
from dataclasses import dataclass
from datetime import timedelta

from reconcile.database import exclusive
from reconcile.members.buying import StillBuying, buy_for_waiting
from reconcile.members.joining import Done, NoSuchMember, Outcome, join, locked, room_of, unfit
from reconcile.members.room import pool_subscription, room_for
from reconcile.policy.activation import Allow, decide_activation, decide_invite
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import roster as roster_store
from reconcile.store import waiting
from reconcile.store.waiting import Answer

__all__ = ["Done", "Outcome", "StillBuying", "activate", "may_invite"]

WAIT_S = 30.0
# Whoever buys first waits this long for others: a team that signs in together is one update.
GATHER_S = 0.25
# A request that its own process has left is a worker's after it; longer than anybody waits.
LEASE = timedelta(seconds=60)
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    request_id: str
    subscription_id: str


def activate(
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    actor: str,
    wait_s: float = WAIT_S,
) -> Outcome:
    """Activate one member (accepted invite, unblock, first login, SSO) and say how it ended.

    Buys a seat first where the plan and the organization's settings say so. Raises StillBuying
    when that takes longer than `wait_s`, and the errors of `adjusting` when Stripe is away: the
    request stays, and a worker completes it. Raises RosterIsTheHosts and NoSuchMember.
    """
    asked = _ask(services, organization_id, member_id, actor)
    if not isinstance(asked, _Asked):
        return asked
    until = time.monotonic() + wait_s
    while True:
        try:
            _buy_if_nobody_does(services, organization_id, asked)
        except Exception:
            with services.sessions.begin() as session:
                waiting.hand_over(session, asked.request_id, due_at=services.clock())
            raise
        with services.sessions() as session:
            answer = waiting.answer_to(session, asked.request_id)
        if answer:
            return _outcome(answer)
        if time.monotonic() > until:
            raise StillBuying(member_id)
        time.sleep(_LOOK_EVERY_S)


def _outcome(answer: Answer) -> Outcome:
    return Refuse(code=answer.code, message=answer.line) if answer.code else Done(line=answer.line)


def _ask(services: Services, organization_id: str, member_id: str, actor: str) -> Outcome | _Asked:
    """Activate at once where there is room, or leave a request for a seat."""
    with services.sessions.begin() as session:
        organization, member = locked(session, services, organization_id, member_id)
        if why_not := unfit(session, services, organization, member):
            return why_not
        decided = decide_activation(room_of(session, services, organization, member))
        if isinstance(decided, Refuse):
            return decided
        if isinstance(decided, Allow) or decided.activates_first:
            # The charge follows: the change of the roster is worked off within moments.
            return join(session, services, member, decided.reason, actor)
        subscription_id = pool_subscription(session, organization_id)
        assert subscription_id, "only a live subscription is raised"
        request_id = waiting.add(
            session, organization_id, member_id, actor=actor, due_at=services.clock() + LEASE
        )
        return _Asked(request_id=request_id, subscription_id=subscription_id)


def _buy_if_nobody_does(services: Services, organization_id: str, asked: _Asked) -> None:
    with exclusive(services.engine, f"sub:{asked.subscription_id}") as mine:
        if not mine:
            return
        with services.sessions() as session:
            if waiting.answer_to(session, asked.request_id):
                return
        time.sleep(GATHER_S)
        buy_for_waiting(services, organization_id, asked.subscription_id)


def may_invite(
    services: Services, organization_id: str, *, role: str, seat_type: str | None
) -> Allow | Refuse:
    """Return whether an invite for this role and seat type may be sent; it reserves nothing (C3).

    Raises NoSuchMember when the organization is not imported.
    """
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        if organization is None:
            raise NoSuchMember(organization_id)
        rules = services.catalog.plan(organization.plan).rules
        known = rules.roles.get(role)
        if known is None or (known.seat_types and seat_type not in known.seat_types):
            return Refuse(
                code="seat_type_not_allowed",
                message=f"The role {role} takes no seat of the type {seat_type}",
                remedies=tuple(known.seat_types) if known else tuple(rules.roles),
            )
        takes = seat_type if known.seat_types else None
        return decide_invite(room_for(session, services, organization, takes=takes))
