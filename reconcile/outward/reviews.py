"""Reviews: opened and closed as the facts say, and the clock of the Enterprise review (C8).

What a step is, `policy.reviews` says. Each step is one transaction with its notice and its word in
the audit trail; the clock is an inbox request that is put off from step to step, so that it goes on
after any crash, and needs no nightly run. The restriction refuses growth; it takes nothing away
from anybody, and never touches the Owner.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile import facts
from reconcile.actor import TRUEUP, Actor
from reconcile.errors import Permanent
from reconcile.outward.told import Told
from reconcile.policy import reviews as policy
from reconcile.policy.reconciliation import reconcile_organization
from reconcile.policy.reviews import Close, LookAgain, Remind, ReviewFacts
from reconcile.policy.values import FindingKind, Refuse, Verdict
from reconcile.services import Services
from reconcile.store import audit, findings, notices, reviews, roster
from reconcile.store.reviews import ENTERPRISE, Review

# The longest that a person may put a restriction off at once.
LONGEST_EXTENSION = timedelta(days=366)

COUNT_IS_BACK = Actor(TRUEUP.who, because="the count is back")
GRACE_IS_OVER = Actor(TRUEUP.who, because="the grace is over")


class NoSuchReview(Permanent):
    """There is no such review."""


def follow_cap(
    session: Session, services: Services, organization_id: str, verdict: Verdict, *, by: str
) -> None:
    """Open or close the organization's Enterprise review as the verdict on its counts says (C8).

    In the transaction that wrote the verdict's findings. A review that a person closed does not
    come back while the same finding lasts: they have seen it.
    """
    over = [o for o in verdict.observations if o.kind is FindingKind.OVER_HARD_CAP]
    listed = [{"seat_type": o.seat_type, **o.detail} for o in over]
    standing = reviews.open_of(session, organization_id)
    if standing is None:
        if over and not _seen_by_a_person(session, organization_id):
            reason = " ".join(o.summary for o in over)
            open_review(session, services, organization_id, ENTERPRISE, reason, listed, by=by)
    elif over:
        reviews.write(session, standing.id, detail={**standing.detail, "over": listed})
    elif FindingKind.OVER_HARD_CAP in verdict.judged:
        close(session, services, standing, COUNT_IS_BACK)


def _seen_by_a_person(session: Session, organization_id: str) -> bool:
    last = reviews.last_closed(session, organization_id, ENTERPRISE)
    if last is None or last.closed_at is None or last.closed_by == TRUEUP.who:
        return False
    since = findings.newest_open(session, organization_id, FindingKind.OVER_HARD_CAP)
    return since is not None and since <= last.closed_at


def open_review(  # noqa: PLR0913, PLR0917 - one review, its facts
    session: Session,
    services: Services,
    organization_id: str,
    kind: str,
    reason: str,
    over: list[dict[str, object]],
    *,
    by: str,
) -> Review | None:
    """Open a review, tell of it and start its clock; None when one of the kind is open."""
    now = services.clock()
    grace = timedelta(days=services.settings.review_grace_days)
    opened = reviews.add(
        session,
        organization_id,
        kind,
        reason,
        detail={"over": over, "opened_by": by},
        at=now,
        grace_ends_at=now + grace if kind == ENTERPRISE else None,
    )
    if opened is None:
        return None
    _tell(session, services, opened, "review.opened", reason, over=over)
    _audit(session, Actor(TRUEUP.who, because=by), "review.opened", opened)
    return opened


def tick(services: Services, review_id: int) -> Told:
    """Do what the review's clock says, step by step, and return when to look again.

    Raises NoSuchReview. Done once more, or after a long while, it ends the same.
    """
    # Each step but the last moves the review on; there are as many as reminders, and two more.
    for _ in range(len(services.settings.review_reminder_days) + 2):
        with services.sessions.begin() as session:
            told = _step(session, services, review_id)
        if told is not None:
            return told
    raise AssertionError("a review that does not come to rest")


def _step(session: Session, services: Services, review_id: int) -> Told | None:
    review = reviews.by_id(session, review_id, lock=True)
    if review is None:
        raise NoSuchReview(str(review_id))
    if review.closed_at is not None or review.grace_ends_at is None:
        return Told(line=f"closed by {review.closed_by}: {review.closed_because}")
    step = policy.next_step(
        ReviewFacts(
            grace_ends_at=review.grace_ends_at,
            reminder_days=services.settings.review_reminder_days,
            reminders=review.reminders,
            restricted=review.restricted_at is not None,
            over=_is_over(session, services, review.organization_id),
        ),
        services.clock(),
    )
    match step:
        case LookAgain():
            state = "restricted" if review.restricted_at else "in grace"
            return Told(line=f"{state}, the count is not back", again_at=step.at)
        case Close():
            close(session, services, review, COUNT_IS_BACK)
        case Remind():
            _remind(session, services, review, step)
        case _:
            _restrict(session, services, review)
    return None


def _is_over(session: Session, services: Services, organization_id: str) -> bool | None:
    """Return whether a hard cap is passed; None when the counts cannot be believed."""
    organization = roster.organization(session, organization_id)
    assert organization is not None  # a review names one, by a foreign key
    verdict = reconcile_organization(facts.of_organization(session, services, organization))
    if FindingKind.OVER_HARD_CAP not in verdict.judged:
        return None
    return any(o.kind is FindingKind.OVER_HARD_CAP for o in verdict.observations)


def _remind(session: Session, services: Services, review: Review, step: Remind) -> None:
    reviews.write(session, review.id, reminders=step.reminders)
    days = "1 day" if step.days_left == 1 else f"{step.days_left} days"
    _tell(
        session,
        services,
        review,
        "grace.ending" if step.last else "review.reminder",
        f"{days} left until growth is restricted. {review.reason}",
        days_left=step.days_left,
    )


def _restrict(session: Session, services: Services, review: Review) -> None:
    assert review.grace_ends_at is not None, "what has no grace restricts nothing"
    restricted = reviews.write(session, review.id, restricted_at=services.clock())
    summary = f"Growth is restricted: the grace ended {review.grace_ends_at.date().isoformat()}."
    _tell(session, services, restricted, "organization.restricted", summary)
    _audit(session, GRACE_IS_OVER, "organization.restricted", restricted, before=review)


def close(session: Session, services: Services, review: Review, actor: Actor) -> Review:
    """Close an open review, lift its restriction, and tell of both."""
    now = services.clock()
    closed = reviews.write(
        session, review.id, closed_at=now, closed_by=actor.who, closed_because=actor.because
    )
    reviews.wake(session, review.id, at=now)
    summary = f"The review is closed: {actor.because}."
    _tell(session, services, closed, "review.closed", summary, closed_by=actor.who)
    _audit(session, actor, "review.closed", closed, before=review)
    if review.restricted_at is not None:
        _lift(session, services, closed, actor, before=review)
    return closed


def close_by_hand(services: Services, review_id: int, actor: Actor) -> Review | Refuse:
    """Close a review as a person asks; what it was about may last. Raises NoSuchReview."""
    with services.sessions.begin() as session:
        review = _open_one(session, review_id)
        if isinstance(review, Refuse):
            return review
        return close(session, services, review, actor)


def extend(services: Services, review_id: int, actor: Actor, until: datetime) -> Review | Refuse:
    """Let the grace end at `until`, lifting a restriction; reminders come anew before it.

    Raises NoSuchReview.
    """
    now = services.clock()
    with services.sessions.begin() as session:
        review = _open_one(session, review_id)
        if isinstance(review, Refuse):
            return review
        if review.grace_ends_at is None:
            return Refuse(
                code="no_grace",
                message="A review of this kind has no grace: it restricts nothing",
                remedies=("close it when it was looked at",),
            )
        if not now < until <= now + LONGEST_EXTENSION or until <= review.grace_ends_at:
            return Refuse(
                code="grace_not_longer",
                message="The grace can only be made longer, by a year at most: it ends "
                f"{review.grace_ends_at.isoformat()}",
                remedies=("name a later time",),
            )
        longer = reviews.write(
            session,
            review.id,
            grace_ends_at=until,
            reminders=policy.passed(until, services.settings.review_reminder_days, now),
            restricted_at=None,
        )
        reviews.wake(session, review.id, at=now)
        summary = f"The grace of the review ends {until.date().isoformat()} now."
        _tell(session, services, longer, "review.extended", summary)
        _audit(session, actor, "review.extended", longer, before=review)
        if review.restricted_at is not None:
            _lift(session, services, longer, actor, before=review)
        return longer


def _open_one(session: Session, review_id: int) -> Review | Refuse:
    review = reviews.by_id(session, review_id, lock=True)
    if review is None:
        raise NoSuchReview(str(review_id))
    if review.closed_at is not None:
        return Refuse(
            code="review_closed",
            message=f"The review was closed by {review.closed_by}",
            remedies=("look for an open one",),
        )
    return review


def _lift(
    session: Session, services: Services, review: Review, actor: Actor, *, before: Review
) -> None:
    summary = f"Growth is not restricted any more: {actor.because}."
    _tell(session, services, review, "organization.unrestricted", summary)
    _audit(session, actor, "organization.unrestricted", review, before=before)


def _tell(
    session: Session,
    services: Services,
    review: Review,
    type_: str,
    summary: str,
    **data: object,
) -> None:
    ends = review.grace_ends_at.isoformat() if review.grace_ends_at else None
    notices.add(
        session,
        type_,
        # Each step is made once, by its own transaction; the same step may come again months later.
        f"review_{review.id}/{services.clock().isoformat()}",
        summary,
        organization_id=review.organization_id,
        due_at=services.clock(),
        audience=None if review.kind == ENTERPRISE else "account_manager",
        data={"review_id": review.id, "kind": review.kind, "grace_ends_at": ends, **data},
    )


def _audit(
    session: Session, actor: Actor, action: str, review: Review, *, before: Review | None = None
) -> None:
    audit.record(
        session,
        actor,
        action,
        f"review:{review.id}",
        organization_id=review.organization_id,
        before=_shown(before) if before else None,
        after=_shown(review),
    )


def _shown(review: Review) -> dict[str, object]:
    times = {
        name: getattr(review, name) for name in ("grace_ends_at", "restricted_at", "closed_at")
    }
    shown: dict[str, object] = {
        name: moment.isoformat() if moment else None for name, moment in times.items()
    }
    return shown | {"kind": review.kind, "reminders": review.reminders}
