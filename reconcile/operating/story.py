"""The story of one thing, in the order it happened: what came in, what was tried, decided, called,
charged and told, as rows remember it.

Reads only our own tables; Stripe is not asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from reconcile.adjustments.money import written
from reconcile.operating import closing
from reconcile.services import Services
from reconcile.store import adjustments as adjustments_store
from reconcile.store import audit, look, notices, reviews
from reconcile.store.adjustments import Adjustment
from reconcile.store.audit import AuditEntry
from reconcile.store.findings import Finding
from reconcile.store.look import MOST_TOLD, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: when (None: not dated), what kind of step, one line, and its figures."""

    what: str
    line: str
    at: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One thing: what it is now, and how it came to be so. `next` says what to do, if anything."""

    id: str
    about: Mapping[str, Any]
    steps: tuple[Step, ...]
    next: tuple[str, ...] = ()


def of_event(services: Services, event_id: str) -> Story | None:
    """Return the story of an inbox row, or None when there is none of this id."""
    with services.sessions() as session:
        event = look.event(session, event_id)
        if event is None:
            return None
        # What was handled with a newer event is told there.
        leader = look.event(session, event.superseded_by) if event.superseded_by else None
        acted = leader or event
        steps = [*_received(event), *_tried(acted), *_decided(acted)]
        done = look.adjustments_from(session, acted.id)
        for adjustment in done:
            steps += _adjusted(session, adjustment)
        steps += _found(session, [acted.id, *(each.id for each in done)], acted, done)
        steps += _told(session, event, done)
        steps += [*_audited(session, event.id), *_changes_audited(session, done)]
        together = look.superseded_with(session, event, limit=MOST_TOLD)
    if event.finished_at is not None:
        steps.append(Step(what="ended", line=f"{event.state}: {event.line}", at=event.finished_at))
    return Story(
        id=event.id,
        about=_about(event, together),
        steps=_in_order(steps),
        next=tuple(_what_next(event)),
    )


def of_adjustment(services: Services, adjustment_id: str) -> Story | None:
    """Return the story of an adjustment, or None when there is none of this id."""
    with services.sessions() as session:
        found = adjustments_store.by_id(session, adjustment_id)
        if found is None:
            return None
        trigger = look.event(session, found.trigger.removeprefix("activation:"))
        steps = [*_adjusted(session, found), *_changes_audited(session, [found])]
        if trigger is not None:
            steps += [*_received(trigger), *_tried(trigger), *_decided(trigger)]
        opened = look.findings_from(
            session, [found.id, found.trigger], subscription_ids=[found.subscription_id]
        )
        steps += [_opened(each) for each in opened]
    about = {
        "state": found.state,
        "organization": found.organization_id,
        "subscription": found.subscription_id,
        "trigger": found.trigger,
        "actor": str(found.actor),
        "because": found.actor.because,
        "idempotency_key": found.idempotency_key,
        "stripe_request": found.stripe_request_id,
        "invoice": found.invoice_id,
        "line": found.outcome or found.reason,
    }
    doing: tuple[str, ...] = ()
    if found.state == "pending":
        doing = (f'trueup adjustments resume {found.id} --because "..."',)
    elif found.state == "failed":
        doing = (f"trueup reconcile {found.subscription_id} --explain",)
    return Story(id=found.id, about=about, steps=_in_order(steps), next=doing)


def of_finding(services: Services, finding_id: int) -> Story | None:
    """Return the story of a finding, or None when there is none of this id."""
    with services.sessions() as session:
        found = look.finding(session, finding_id)
        if found is None:
            return None
        trigger = look.event(session, found.opened_by or "")
        by_hand = closing.closed_by_hand(session, finding_id)
        steps = [_opened(found), *_audited(session, found.subject)]
        if trigger is not None:
            steps += [*_received(trigger), *_decided(trigger)]
        doing = closing.what_next(session, found)
    about = {
        "kind": found.kind,
        "state": "open" if found.closed_at is None else "closed",
        "urgent": found.urgent,
        "subject": found.subject,
        "organization": found.organization_id,
        "subscription": found.subscription_id,
        "closed by": by_hand.actor if by_hand else None,
        **found.detail,
    }
    if found.closed_at is None:
        about["runbook"] = f"docs/runbook.md#{found.kind}"
    else:
        line = f"by {by_hand.actor}: {by_hand.because}" if by_hand else _GONE
        steps.append(Step(what="closed", line=line, at=found.closed_at))
    return Story(id=str(found.id), about=about, steps=_in_order(steps), next=doing)


_GONE = "nothing calls for it any more"


def of_notice(services: Services, notice_id: str) -> Story | None:
    """Return the story of a notice, or None when there is none of this id."""
    with services.sessions() as session:
        found = notices.by_id(session, notice_id)
        if found is None:
            return None
        delivering = look.event(session, found.request_id or "")
        tried = _tried(delivering) if delivering else []
    about = {
        "type": found.type,
        "state": "delivered" if found.delivered_at else "not delivered",
        "organization": found.organization_id,
        "audience": found.audience,
        "answered": found.answer_status,
        "trouble": found.trouble,
        "request": found.request_id,
        **found.data,
    }
    steps = [Step(what="told", line=found.summary, at=found.created_at), *tried]
    if found.delivered_at is not None:
        steps.append(Step(what="delivered", line="the host has it", at=found.delivered_at))
    again = f'trueup events requeue {found.request_id} --because "..." --yes'
    lost = delivering is not None and delivering.state in {"dead", "discarded", "ignored"}
    return Story(
        id=found.id,
        about=about,
        steps=_in_order(steps),
        next=(again,) if lost and found.delivered_at is None else (),
    )


def of_review(services: Services, review_id: int) -> Story | None:
    """Return the story of a review, or None when there is none of this id."""
    with services.sessions() as session:
        found = reviews.by_id(session, review_id)
        if found is None:
            return None
        steps = list(_audited(session, f"review:{review_id}"))
    about = {
        "kind": found.kind,
        "state": "open" if found.closed_at is None else "closed",
        "organization": found.organization_id,
        "reason": found.reason,
        "reminders": found.reminders,
        "grace ends": found.grace_ends_at,
        "restricted": found.restricted_at,
        "closed by": found.closed_by,
        **found.detail,
    }
    named = f'{found.id} --because "..."'
    ways = [f"trueup reviews close {named}"]
    if found.grace_ends_at is not None:
        ways.append(f"trueup reviews extend {named} --until TIME")
    return Story(
        id=str(found.id),
        about=about,
        steps=_in_order(steps),
        next=tuple(ways) if found.closed_at is None else (),
    )


def _in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda step: (step.at is None, _seconds(step.at))))


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0


def _about(event: Event, together: tuple[str, ...]) -> dict[str, Any]:
    about: dict[str, Any] = {
        "state": event.state,
        "type": event.type,
        "source": event.source,
        "object": event.object_id,
        "subscription": event.subscription_id,
        "customer": event.customer_id,
        "organization": event.organization_id,
        "attempts": event.attempts,
        "due": event.due_at if event.state == "pending" else None,
        "error": event.error_fingerprint,
        "handled_with": event.superseded_by,
        "others_with_it": list(together),
        "line": event.line,
    }
    return {name: value for name, value in about.items() if value not in (None, [])}


def _received(event: Event) -> Iterator[Step]:
    facts = {
        "by": event.source,
        "secret": event.secret_name,
        "stripe_created": event.stripe_created_at,
        "api_version": event.api_version,
        "deliveries": event.deliveries,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    yield Step(what="received", line=f"{event.type} {event.id}", at=event.received_at, facts=known)
    last = event.last_delivered_at
    if event.deliveries > 1 and last is not None and last > event.received_at:
        line = f"delivered {event.deliveries} times, the last time now"
        yield Step(what="delivered", line=line, at=last)
    if event.started_at is not None:
        line = f"taken by a worker, attempt {event.attempts}"
        yield Step(what="started", line=line, at=event.started_at)


def _tried(event: Event) -> Iterator[Step]:
    for one in event.tries:
        line = str(one.get("line"))
        facts = {name: one[name] for name in ("attempt", "fingerprint") if one.get(name)}
        at = datetime.fromisoformat(str(one["at"]))
        yield Step(what=str(one["ended"]), line=line, at=at, facts=facts)


def _decided(event: Event) -> Iterator[Step]:
    """What the policy said; dated with the end, which it was a moment before."""
    decided = list(event.decided or ())
    for place, one in enumerate(decided):
        if one in decided[:place]:  # looked at again before it was written
            continue
        line = f"{one['decision']} ({one['row']}): {one['reason']}"
        yield Step(what="decided", line=line, at=event.started_at, facts=one)


def _adjusted(session: Session, adjustment: Adjustment) -> Iterator[Step]:
    facts = {
        "adjustment": adjustment.id,
        "seats": {
            each.seat_type: f"{each.from_quantity} -> {each.to_quantity}, {each.active} active"
            for each in adjustment.changes
        },
        "proration": adjustment.proration_behavior,
        "prorated_from": adjustment.proration_date,
        "previewed": _previewed(adjustment),
    }
    yield Step(what="intended", line=adjustment.reason, at=adjustment.created_at, facts=facts)
    if adjustment.called_at is not None:
        yield Step(
            what="called Stripe",
            line=f"attempt {adjustment.attempt}, {_answered(adjustment)}",
            at=adjustment.called_at,
            facts={"idempotency_key": adjustment.idempotency_key},
        )
    yield from _outcome(session, adjustment)


def _answered(adjustment: Adjustment) -> str:
    if adjustment.stripe_request_id:
        return f"request {adjustment.stripe_request_id}"
    if adjustment.state == "applied":
        return "no answer came; Stripe had the change all the same, which was found"
    return "request not known"


def _outcome(session: Session, adjustment: Adjustment) -> Iterator[Step]:
    if adjustment.finished_at is not None:
        money = {
            "invoice": adjustment.invoice_id,
            "total": _money(adjustment.total_minor, adjustment.currency),
            "starting_balance": _money(adjustment.starting_balance_minor, adjustment.currency),
            "due_now": _money(adjustment.amount_due_minor, adjustment.currency),
            "error": adjustment.error_code,
        }
        known = {name: value for name, value in money.items() if value is not None}
        line = f"{adjustment.state}: {adjustment.outcome}"
        yield Step(what="outcome", line=line, at=adjustment.finished_at, facts=known)
    for line_ in adjustments_store.ledger_of(session, adjustment.id):
        amount = _money(line_.amount_minor, line_.currency)
        where = line_.invoice_id or "the next invoice"
        yield Step(
            what="invoice line",
            line=f"{amount} on {where}: {line_.description}",
            at=adjustment.checked_at,
            facts={"line": line_.id, "amount_minor": line_.amount_minor},
        )


def _previewed(adjustment: Adjustment) -> str | None:
    preview = adjustment.preview
    return _money(preview["total_minor"], preview["currency"]) if preview else None


def _money(amount_minor: int | None, currency: str | None) -> str | None:
    return None if amount_minor is None or currency is None else written(amount_minor, currency)


def _found(
    session: Session, opened_by: list[str], event: Event, done: tuple[Adjustment, ...]
) -> Iterator[Step]:
    ids = {event.subscription_id, *(each.subscription_id for each in done)} - {None}
    about = [str(each) for each in ids]
    for finding in look.findings_from(session, opened_by, subscription_ids=about):
        yield _opened(finding)


def _opened(finding: Finding) -> Step:
    return Step(
        what="finding",
        line=f"{finding.kind}: {finding.summary}",
        at=finding.opened_at,
        facts={"finding": finding.id, "subject": finding.subject},
    )


def _told(session: Session, event: Event, done: tuple[Adjustment, ...]) -> Iterator[Step]:
    """The notices that name the event or what it brought about, and the one it delivers."""
    named = {event.id, *(each.id for each in done)}
    organizations = {each.organization_id for each in done} | {event.organization_id}
    for organization_id in sorted(each for each in organizations if each):
        for notice in notices.page(session, organization_id=organization_id, limit=MOST_TOLD):
            if notice.request_id == event.id or named & {notice.subject, *_values(notice.data)}:
                how = "delivered" if notice.delivered_at else notice.trouble or "on its way"
                line = f"{notice.type}: {notice.summary} ({how})"
                facts = {"notice": notice.id}
                yield Step(what="told the host", line=line, at=notice.created_at, facts=facts)


def _values(data: Mapping[str, Any]) -> set[str]:
    return {value for value in data.values() if isinstance(value, str)}


def _audited(session: Session, subject: str) -> Iterator[Step]:
    for entry in audit.page(session, subject=subject, limit=MOST_TOLD):
        yield _entry(entry)


def _changes_audited(session: Session, done: Iterable[Adjustment]) -> Iterator[Step]:
    """The entries of the subscriptions that name one of the adjustments."""
    ids = {each.id: each.subscription_id for each in done}
    for subject in sorted(set(ids.values())):
        for entry in audit.page(session, subject=subject, limit=MOST_TOLD):
            if ids.keys() & _values(entry.after or {}):
                yield _entry(entry)


def _entry(entry: AuditEntry) -> Step:
    why = f": {entry.because}" if entry.because else ""
    line = f"{entry.action} by {entry.actor}{why}"
    return Step(what="audit", line=line, at=entry.at, facts={"entry": entry.id})


def _what_next(event: Event) -> Iterator[str]:
    if event.state in {"dead", "discarded"}:
        yield f'trueup events requeue {event.id} --because "..."'
    if event.state == "dead":
        yield f'trueup events discard {event.id} --because "..."'
    if event.state == "pending" and event.held_by is not None:
        yield "trueup pause list"
    elif event.state == "pending" and event.error_class:
        yield f'trueup events requeue {event.id} --because "..."'
