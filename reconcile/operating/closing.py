"""Findings closed by hand: those that no run closes.

An invoice that differs stays so, and at a subscription that is over nobody looks again by himself.
All others are refused: a run closes them when it sees that they are gone, and would open them again
while they last. Closing one writes nothing to Stripe and forgets nothing.
"""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.policy.values import CLOSED_BY_HAND, FindingKind, Refuse
from reconcile.services import Services
from reconcile.store import audit, findings, look, subscriptions
from reconcile.store.audit import AuditEntry
from reconcile.store.findings import Finding

_CLOSED = "finding.closed"


def close(services: Services, finding_id: int, actor: Actor) -> Finding | Refuse:
    """Close a finding that a person has seen to, and return it as it is then.

    The same seen once more is a finding of its own. Refused for what a run closes.
    """
    with services.sessions.begin() as session:
        found = look.finding(session, finding_id)
        if found is None:
            return Refuse(
                code="not_found",
                message=f"There is no finding {finding_id}",
                remedies=("trueup findings list",),
            )
        if found.closed_at is None and not _is_for_hands(session, found):
            return _closes_by_itself(found, what_next(session, found))
        at = services.clock()
        closed = findings.close_one(session, finding_id, at=at)
        if closed is None:
            return _closed_before(session, finding_id)
        audit.record(
            session,
            actor,
            _CLOSED,
            _subject(finding_id),
            organization_id=found.organization_id,
            before={"closed_at": None},
            after={"kind": found.kind, "about": found.subject, "closed_at": at.isoformat()},
        )
        return closed


def closed_by_hand(session: Session, finding_id: int) -> AuditEntry | None:
    """Return who closed the finding, when and why; None of one that is open, or that was gone."""
    entries = audit.page(session, subject=_subject(finding_id), action=_CLOSED, limit=1)
    return next(iter(entries), None)


def what_next(session: Session, finding: Finding) -> tuple[str, ...]:
    """Return the commands that are worth a look now; none for a finding that is closed."""
    return () if finding.closed_at is not None else tuple(_commands(session, finding))


def _commands(session: Session, finding: Finding) -> Iterator[str]:
    whose = finding.subscription_id or finding.organization_id
    if finding.kind not in CLOSED_BY_HAND:
        yield f"trueup reconcile {whose} --explain" if whose else "trueup doctor"
    elif "adjustment" in finding.detail:
        yield f"trueup adjustments show {finding.detail['adjustment']}"
    of_zero = finding.kind == FindingKind.COUNTS_SUDDENLY_ZERO
    if of_zero and finding.subscription_id and finding.seat_type:
        named = f"{finding.subscription_id} {finding.seat_type}"
        yield f'trueup findings confirm-zero {named} --because "..."'
    if _is_for_hands(session, finding):
        yield f'trueup findings close {finding.id} --because "..."'


def _is_for_hands(session: Session, finding: Finding) -> bool:
    """Return whether no run will ever close it."""
    of = finding.subscription_id
    if finding.kind in CLOSED_BY_HAND or of is None:
        return finding.kind in CLOSED_BY_HAND
    held = subscriptions.held(session, of)
    # Who is active without one is compared every night, whichever subscription it was told of.
    return (
        held is not None
        and held.deleted_at is not None
        and finding.kind != FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION
    )


def _closes_by_itself(finding: Finding, next_: tuple[str, ...]) -> Refuse:
    whose = finding.subscription_id or finding.organization_id
    again = (f'trueup reconcile {whose} --apply --because "..."',) if whose else ()
    return Refuse(
        code="closes_by_itself",
        message=f"Finding {finding.id} is closed by the look that sees it gone, not by hand: "
        f"{finding.kind}",
        remedies=(
            f"remove its cause: docs/runbook.md#{finding.kind}",
            *next_,
            *again,
        ),
    )


def _closed_before(session: Session, finding_id: int) -> Refuse:
    by_hand = closed_by_hand(session, finding_id)
    who = f" by {by_hand.actor}: {by_hand.because}" if by_hand else ": it was gone"
    return Refuse(
        code="finding_closed",
        message=f"Finding {finding_id} was closed{who}",
        remedies=("trueup findings list --state open",),
    )


def _subject(finding_id: int) -> str:
    return f"finding:{finding_id}"
