"""A member becomes active: the check and the write of the row under one lock of the organization.

Where a seat has to be bought for it, the member waits as an inbox request while one process buys
for everybody who waits: a burst is one update of Stripe. Every rule is `policy`'s.
"""

import time
from dataclasses import dataclass
from datetime import timedelta

from reconcile.actor import Actor
from reconcile.adjustments import holding
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive
from reconcile.members.buying import StillBuying, buy_for_waiting
from reconcile.members.joining import Done, Outcome, opened
from reconcile.members.room import pool_subscription
from reconcile.members.telling import tell_refused
from reconcile.policy.activation import Allow, Raise, decide_activation
from reconcile.policy.permits import Deed
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import waiting
from reconcile.store.waiting import Answer

__all__ = ["Done", "Outcome", "StillBuying", "activate", "unblock"]

WAIT_S = 30.0
# Whoever buys first waits until nobody else came for this long: a team that signs in together is
# one update. So many times at most, they are let in within seconds.
GATHER_S = 0.25
MOST_GATHERS = 8
# A request that its own process has left is a worker's after it; longer than anybody waits.
LEASE = timedelta(seconds=60)
# Many may be waiting while one buys for all: who waits longer looks less often.
_LOOK_FIRST_S = 0.05
_LOOK_LAST_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    request_id: str
    subscription_id: str


def activate(
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    actor: Actor,
    wait_s: float = WAIT_S,
) -> Outcome:
    """Activate one member (accepted invite, first login, SSO) and say how it ended.

    Buys a seat first where the plan and the organization's settings say so. A blocked member is
    refused: whoever logs in does not unblock themselves. Raises StillBuying when the purchase
    takes longer than `wait_s`, and the errors of `adjusting` when Stripe is away: the request
    stays, and a worker completes it. Raises RosterIsTheHosts and NoSuchMember.
    """
    return _enter(services, organization_id, member_id, Deed.ACTIVATE, actor, wait_s)


def unblock(
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    actor: Actor,
    wait_s: float = WAIT_S,
) -> Outcome:
    """Let a blocked member in again: an activation, checked like one (B12).

    Raises as `activate`.
    """
    return _enter(services, organization_id, member_id, Deed.UNBLOCK, actor, wait_s)


def _enter(  # noqa: PLR0913, PLR0917 - who lets whom in, and how
    services: Services,
    organization_id: str,
    member_id: str,
    deed: Deed,
    actor: Actor,
    wait_s: float,
) -> Outcome:
    asked = _ask(services, organization_id, member_id, deed, actor)
    if not isinstance(asked, _Asked):
        return asked
    crash_point(CrashPoint.AFTER_ASKING)
    until, pause_s = time.monotonic() + wait_s, _LOOK_FIRST_S
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
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LOOK_LAST_S)


def _outcome(answer: Answer) -> Outcome:
    if answer.code:
        return Refuse(code=answer.code, message=answer.line, remedies=answer.remedies)
    return Done(line=answer.line)


def _ask(
    services: Services, organization_id: str, member_id: str, deed: Deed, actor: Actor
) -> Outcome | _Asked:
    """Activate at once where there is room, or leave a request for a seat."""
    unblocks = deed is Deed.UNBLOCK
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        member = case.need(member_id)
        if why_not := case.refuse_unpermitted(deed, member_id):
            return why_not
        if nothing_to_do := case.unfit(member, unblocks=unblocks):
            return nothing_to_do
        room = case.room_of(member)
        decided = decide_activation(room)
        if isinstance(decided, Refuse):
            tell_refused(session, services, member, room, decided)
            return decided
        if isinstance(decided, Raise) and (
            paused := holding.refuse_paused(session, organization_id)
        ):
            return paused
        if isinstance(decided, Allow) or decided.activates_first:
            # The charge follows: the change of the roster is worked off within moments.
            return case.join(member, decided.reason)
        subscription_id = pool_subscription(session, organization_id)
        assert subscription_id, "only a live subscription is raised"
        request_id = waiting.add(
            session,
            organization_id,
            member_id,
            actor=actor,
            unblocks=unblocks,
            due_at=services.clock() + LEASE,
        )
        return _Asked(request_id=request_id, subscription_id=subscription_id)


def _buy_if_nobody_does(services: Services, organization_id: str, asked: _Asked) -> None:
    with exclusive(services.engine, f"sub:{asked.subscription_id}") as mine:
        if not mine:
            return
        with services.sessions() as session:
            if waiting.answer_to(session, asked.request_id):
                return
        _gather(services, organization_id)
        buy_for_waiting(services, organization_id, asked.subscription_id)


def _gather(services: Services, organization_id: str) -> None:
    """Wait until nobody else asks."""
    there = 0
    for _ in range(MOST_GATHERS):
        with services.sessions() as session:
            now = len(waiting.of_organization(session, organization_id))
        if now == there:
            return
        there = now
        time.sleep(GATHER_S)
