"""Buys seats for members who wait for one: everybody of an organization in one update of Stripe.

Intent, call and outcome are `adjusting`'s. The members join in a transaction of their own after it,
each checked again under the organization's lock: until it commits nobody is active who is not paid
for, and a crash leaves a seat bought and a request that a worker completes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from reconcile import facts, seeing
from reconcile.actor import TRUEUP
from reconcile.adjustments import adjusting
from reconcile.adjustments.preparing import prepare
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive
from reconcile.errors import Busy, RetryLater
from reconcile.members.joining import REMOVED, Case, Done, Outcome, opened
from reconcile.members.room import ITEM_PROBLEMS, pool_subscription, room_for, seat_taken
from reconcile.members.telling import tell_refused
from reconcile.policy.activation import ActivationFacts, Allow, Raise, decide_activation
from reconcile.policy.reconciliation import reconcile
from reconcile.policy.values import (
    Change,
    FindingKind,
    ItemProblem,
    Proration,
    Refuse,
    SeatPolicy,
)
from reconcile.services import Services
from reconcile.store import adjustments, findings, subscriptions, waiting
from reconcile.store.adjustments import Adjustment
from reconcile.store.findings import Scope
from reconcile.store.waiting import Answer, Waiting

# More who were left behind than one update takes (`waiting.MOST_AT_ONCE`) are so many updates.
MOST_GOES = 4


class StillBuying(RetryLater):
    """The seat is still being bought; the member joins when it is."""


def finish_waiting(services: Services, organization_id: str) -> int:
    """Complete the requests that a process left behind; returns how many there were.

    Raises Busy when another process is at it, StillBuying when more are left, and the errors of
    `adjusting`.
    """
    finished = 0
    for _ in range(MOST_GOES):
        with services.sessions() as session:
            open_requests = waiting.of_organization(session, organization_id)
            subscription_id = pool_subscription(session, organization_id) if open_requests else None
        if not any(each.left for each in open_requests):
            return finished
        finished += len(open_requests)
        if subscription_id is None:
            answer = Answer("The subscription is over", "no_subscription", ("subscribe first",))
            _answer_all(services, [each.id for each in open_requests], answer)
            continue
        with exclusive(services.engine, f"sub:{subscription_id}") as mine:
            if not mine:
                raise Busy(subscription_id)
            buy_for_waiting(services, organization_id, subscription_id)
    # Whoever returns from here says that nobody waits any more.
    raise StillBuying(organization_id)


def buy_for_waiting(services: Services, organization_id: str, subscription_id: str) -> None:
    """Buy the seats that waiting members need, in one update, and let them in.

    The caller holds the subscription's lock. Raises what keeps the outcome from being known: the
    requests stay open then.
    """
    with services.sessions() as session:
        pending = adjustments.pending(session, subscription_id)
    if pending:
        adjusting.resume(services, pending)
    seen = seeing.fetched(services, subscription_id)
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, TRUEUP)
        recorded = facts.record(session, services, seen, case.organization)
        _take_over(case, subscription_id, recorded.problems)
        raises, chosen = _raises(case)
        active = services.roster.counts(session, organization_id).by_seat_type
    if not raises:
        return
    assert active is not None, "nothing is raised on unreadable counts"
    intent = prepare(
        services,
        seen.subscription,
        _netted(raises, bought=case.rules.policy == SeatPolicy.PURCHASED),
        trigger=f"activation:{chosen[0].id}",
        active={seat_type: active[seat_type] for seat_type in raises},
    )
    with services.sessions.begin() as session:
        adjustment = adjusting.intend(session, services, intent)
    adjustment = adjusting.carry_out(services, adjustment).adjustment
    crash_point(CrashPoint.AFTER_RAISE)
    _let_in(services, organization_id, chosen, adjustment)


def _take_over(case: Case, subscription_id: str, problems: Mapping[str, ItemProblem]) -> None:
    """Adopt what somebody added in Stripe, as settling would: it is not to be bought once more.

    And tell of what is wrong with its items: on those nothing is bought.
    """
    session, services = case.session, case.services
    found, _ = facts.of_subscription(session, services, subscription_id, problems, fetched=True)
    verdict = reconcile(found)
    adopt = getattr(verdict.decision, "adopt", {})
    kinds = ITEM_PROBLEMS | ({FindingKind.STRIPE_QUANTITY_CHANGED} if adopt else set())
    told = [observation for observation in verdict.observations if observation.kind in kinds]
    scope = Scope(organization_id=case.organization.id, subscription_id=subscription_id)
    findings.sync(
        session,
        scope,
        told,
        frozenset(),
        at=services.clock(),
        opened_by=f"activation:{case.organization.id}",
    )
    subscriptions.write_quantities(session, subscription_id, adopt)


def _netted(raises: Mapping[str, Raise], *, bought: bool) -> Change:
    """Return the one update of several pools' raises; with a charge in it, charged now.

    Where seats are `bought`, it is Auto-Add that raises them.
    """
    return Change(
        quantities={seat_type: each.quantity for seat_type, each in raises.items()},
        proration=min((each.proration for each in raises.values()), key=list(Proration).index),
        reason="; ".join(each.reason for each in raises.values()),
        automatic=frozenset(raises) if bought else frozenset(),
    )


def _raises(case: Case) -> tuple[dict[str, Raise], list[Waiting]]:
    """Decide on all who wait, pool by pool; who needs no purchase is let in or refused here."""
    session = case.session
    raises: dict[str, Raise] = {}
    chosen: list[Waiting] = []
    for takes, pool in _by_pool(case).items():
        known = room_for(session, case.services, case.organization, takes=takes)
        wanting = list(pool.items())
        count, decided, refused = _most(known, len(wanting))
        for member_id, asked in wanting[:count]:
            if isinstance(decided, Allow):
                by = replace(case, actor=asked[0].actor)
                _answer(session, by.join(case.need(member_id), decided.reason), *asked)
            else:
                chosen.extend(asked)
        for member_id, asked in wanting[count:]:
            assert refused
            tell_refused(session, case.services, case.need(member_id), known, refused)
            _answer(session, refused, *asked)
        if isinstance(decided, Raise):
            raises[decided.seat_type] = decided
    return raises, chosen


def _by_pool(case: Case) -> dict[str | None, dict[str, list[Waiting]]]:
    """Return who waits, by pool and member; who asks twice takes one seat."""
    pools: dict[str | None, dict[str, list[Waiting]]] = {}
    for each in waiting.of_organization(case.session, case.organization.id):
        member = case.find(each.member_id)
        why_not = case.unfit(member, unblocks=each.unblocks) if member else REMOVED
        if why_not:
            _answer(case.session, why_not, each)
        elif member:
            pool = pools.setdefault(seat_taken(case.rules, member), {})
            pool.setdefault(member.id, []).append(each)
    return pools


def _most(known: ActivationFacts, wanting: int) -> tuple[int, Allow | Raise | None, Refuse | None]:
    """Return how many of those who wait may join together, how, and why not one more."""
    refused: Refuse | None = None
    for count in range(wanting, 0, -1):
        decided = decide_activation(replace(known, joining=count))
        if not isinstance(decided, Refuse):
            return count, decided, refused
        refused = decided
    return 0, None, refused


def _answer(session: Session, outcome: Outcome, *asked: Waiting) -> None:
    answer = (
        Answer(outcome.line)
        if isinstance(outcome, Done)
        else Answer(outcome.message, outcome.code, outcome.remedies)
    )
    for each in asked:
        waiting.finish(session, each.id, answer)


def _answer_all(services: Services, request_ids: Sequence[str], answer: Answer) -> None:
    with services.sessions.begin() as session:
        for request_id in request_ids:
            waiting.finish(session, request_id, answer)


def _let_in(
    services: Services, organization_id: str, chosen: Sequence[Waiting], adjustment: Adjustment
) -> None:
    """Let the members in whose seats were bought, each checked again under the lock."""
    line = adjustment.outcome or adjustment.state
    if adjustment.state != "applied":
        _answer_all(services, [each.id for each in chosen], _not_bought(adjustment, line))
        return
    with services.sessions.begin() as session:
        for each in chosen:
            case = opened(session, services, organization_id, each.actor)
            _answer(session, _checked_again(case, each, line), each)


def _not_bought(adjustment: Adjustment, line: str) -> Answer:
    if adjustment.state == "refused":
        pay = "update the card in the billing portal, then try again"
        return Answer(line, "payment_declined", (pay,))
    return Answer(line, "not_bought", ("try again",))


def _checked_again(case: Case, each: Waiting, bought: str) -> Outcome:
    member = case.find(each.member_id)
    if member is None:
        return REMOVED
    if why_not := case.unfit(member, unblocks=each.unblocks):
        return why_not
    decided = decide_activation(replace(case.room_of(member), may_raise=False))
    if isinstance(decided, Allow):
        return case.join(member, f"{decided.reason}; {bought}")
    assert isinstance(decided, Refuse), "nothing is bought here"
    return decided
