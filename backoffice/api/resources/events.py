"""Events: the inbox, found and repaired. The same functions as `trueup events`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import only, services, visible
from backoffice.api.fields import Body, Id, Line, Path, Time, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound, Refused
from reconcile.operating import repairing, story
from reconcile.operating.repairing import Plan
from reconcile.policy.values import Refuse
from reconcile.store import look
from reconcile.store.look import Event, Filters

events = Resource("events", "What came in and what became of it, for whoever is on call.")

State = Literal["pending", "done", "ignored", "superseded", "dead", "discarded"]
_MOST_NAMED = 1000


class EventView(View):
    """One row of the inbox: an event of Stripe's, or a request of our own."""

    id: str = Field(description="Stripe's `evt_...`, or `tru_...` for our own.")
    type: str = Field(description="Stripe's type, or `trueup....`.")
    source: str = Field(description="`webhook`, `backfill` or `request`.")
    state: State = Field(description="Where it is.")
    line: str = Field(description="What was done, or what it waits for, in a line.")
    work_key: str | None = Field(description="What it is worked off with.")
    object_id: str | None = Field(description="The object it names.")
    subscription_id: str | None = Field(description="The subscription it is about.")
    customer_id: str | None = Field(description="The customer it is about.")
    organization_id: str | None = Field(description="The organization it names.")
    error_class: str | None = Field(description="What became of it after a failure.")
    error_fingerprint: str | None = Field(description="The same for the same mistake.")
    superseded_by: str | None = Field(description="The event it was handled with.")
    attempts: int = Field(description="Tries so far.")
    deliveries: int = Field(description="How often it was delivered.")
    received_at: datetime = Field(description="When it was received first.")
    due_at: datetime | None = Field(description="When it wants a worker next.")
    finished_at: datetime | None = Field(description="When it ended.")


class EventList(Listed[EventView]):
    """Events, the newest received first."""


class StepView(View):
    """One step of a story."""

    at: datetime | None = Field(description="When; null: not dated.")
    what: str = Field(description="`received`, `decided`, `called Stripe`, `outcome`, ...")
    line: str = Field(description="What happened, in a line.")
    facts: dict[str, Any] = Field(description="Its figures, and the facts of a decision.")


class EventStory(View):
    """The story of one event, in the order it happened."""

    id: str = Field(description="The event.")
    about: dict[str, Any] = Field(description="What it is now.")
    steps: list[StepView] = Field(description="What happened, in order.")
    next: list[str] = Field(description="Commands that are worth a look now.")


class EventNames(BaseModel):
    """What events may have in common."""

    state: State | None = Field(default=None, description="In this state.")
    type: Word | None = Field(default=None, description="Of this type.")
    fingerprint: Line | None = Field(default=None, description="With this mistake.")
    object_id: Id | None = Field(default=None, description="That name this id anywhere.")
    organization_id: Id | None = Field(default=None, description="Of this organization.")
    subscription_id: Id | None = Field(default=None, description="About this subscription.")
    customer_id: Id | None = Field(default=None, description="About this customer.")


class EventQuery(PageQuery, EventNames):
    """Which events."""

    not_state: Annotated[list[State], Field(max_length=6)] = Field(
        default=[], description="In none of these states; repeated for several."
    )
    since: Time | None = Field(default=None, description="Received at or after this time.")
    until: Time | None = Field(default=None, description="Received before this time.")


class EventPath(Path):
    """One event."""

    event_id: Id = Field(description="Its id.")


class EventFilter(Body, EventNames):
    """Which events, by what they have in common; at least one of these."""


class Repair(Reasoned):
    """Which events to repair: by id or by filter, not both."""

    because: Line = Field(description="Why, in a person's words, for the audit trail.")
    event_ids: Annotated[list[Id], Field(max_length=_MOST_NAMED)] = Field(
        default=[], description="These, in the order they came."
    )
    filters: EventFilter | None = Field(default=None, description="All that match.")
    dry_run: bool = Field(default=False, description="Only say what would be done.")


class RequeueBody(Repair):
    """Events to work off again."""

    force: bool = Field(default=False, description="Run finished ones again, too; harmless.")
    per_second: Annotated[float, Field(ge=0.1, le=1000)] = Field(
        default=repairing.PER_SECOND, description="Most that come due in a second."
    )
    wait_s: Annotated[float, Field(ge=0, le=20)] = Field(
        default=0, description="How long to wait for how each ends."
    )


class RepairEnded(View):
    """How one event ended."""

    id: str = Field(description="The event.")
    state: str = Field(description="`pending`: it has not ended yet.")
    line: str = Field(description="In a line.")


class RepairReport(View):
    """What was repaired, or would be."""

    dry_run: bool = Field(description="Whether nothing was done.")
    count: int = Field(description="How many.")
    event_ids: list[str] = Field(description="Which, in order, the first 1000.")
    refused: dict[str, str] = Field(description="Left as they are, with the reason; 100 at most.")
    capped: bool = Field(description="Whether more match than one request repairs.")
    ended: list[RepairEnded] = Field(description="How they ended, if it was waited for.")


@events.read("/events", EventList, scope="operate")
def list_events(query: EventQuery) -> Answer:
    """List events, the newest received first."""
    filters = Filters(
        state=query.state,
        not_states=tuple(query.not_state),
        type=query.type,
        fingerprint=query.fingerprint,
        object_id=query.object_id,
        organization_id=only(query.organization_id),
        subscription_id=query.subscription_id,
        customer_id=query.customer_id,
        since=query.since,
        until=query.until,
    )
    place = query.place(datetime, str)
    with services().sessions() as session:
        rows = look.events_page(session, filters, limit=query.limit + 1, before=place)
    data, cursor = page_of(
        rows, query.limit, EventView.model_validate, lambda row: (row.received_at, row.id)
    )
    return EventList(data=data, next_cursor=cursor)


@events.read("/events/<event_id>", EventStory, scope="operate")
def show(path: EventPath) -> Answer:
    """Tell the story of one event.

    Received, tried, decided (with the facts the policy was given), called Stripe, charged, told.
    """
    here = services()
    with here.sessions() as session:
        found = look.event(session, path.event_id)
    if found is None:
        raise NotFound("event")
    _visible(found)
    told = story.of_event(here, path.event_id)
    if told is None:
        raise NotFound("event")
    return EventStory.model_validate(told)


@events.write("/events/requeue", RepairReport, scope="operate")
def requeue(body: RequeueBody) -> Answer:
    """Work events off again.

    They are due in the order they came; attempts start anew. With `dry_run` it says how many would
    be. Ignored events are read again by today's settings.
    """
    here, wanted = services(), _wanted(body)
    plan = repairing.plan_requeue(here, wanted, force=body.force)
    if body.dry_run:
        return _report(plan, plan, dry_run=True)
    done = repairing.requeue(
        here, plan.ids, actor_of(body), force=body.force, per_second=body.per_second
    )
    ended = repairing.follow(here, done.ids, timeout_s=body.wait_s) if body.wait_s else []
    report = _report(plan, done, dry_run=False)
    report.ended = [RepairEnded.model_validate(each) for each in ended[:_MOST_NAMED]]
    return report


@events.write("/events/discard", RepairReport, scope="operate")
def discard(body: Repair) -> Answer:
    """Put dead or pending events aside. They are kept; a requeue brings them back."""
    here = services()
    plan = repairing.plan_discard(here, _wanted(body))
    if body.dry_run:
        return _report(plan, plan, dry_run=True)
    return _report(plan, repairing.discard(here, plan.ids, actor_of(body)), dry_run=False)


def _wanted(body: Repair) -> list[str] | Filters:
    given = body.filters.model_dump(exclude_none=True) if body.filters else {}
    if bool(body.event_ids) == bool(given):
        raise Refused(Refuse(code="invalid", message="Name events or give filters: one of the two"))
    bound = only(given.get("organization_id"))
    if given:
        return Filters(**given | ({"organization_id": bound} if bound else {}))
    with services().sessions() as session:
        for found in look.events_by_ids(session, body.event_ids).values():
            _visible(found)
    return list(body.event_ids)


def _visible(event: Event) -> None:
    """Raise NotFound for what is not of the token's organization."""
    bound = only(None)
    if bound is None or event.organization_id == bound:
        return
    of_it = Filters(organization_id=bound, object_id=event.id)
    with services().sessions() as session:
        if not look.events_page(session, of_it, limit=1):
            visible(event.organization_id or "", "event")


def _report(plan: Plan, done: Plan, *, dry_run: bool) -> RepairReport:
    refused = {**plan.refused, **done.refused}
    return RepairReport(
        dry_run=dry_run,
        count=len(done.ids),
        event_ids=list(done.ids[:_MOST_NAMED]),
        refused=dict(list(refused.items())[:100]),
        capped=plan.capped,
        ended=[],
    )
