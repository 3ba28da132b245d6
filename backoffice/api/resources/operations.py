"""Operations: how everything stands, what is paused, and one reconciliation by hand.

The same functions as `trueup status`, `jobs`, `pause`, `resume`, `reconcile`, `findings
confirm-zero`. A token that is bound to one organization sees and touches that one only.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field

from backoffice.api.acting import Reasoned, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import only, services, token, visible
from backoffice.api.fields import Body, Id, Line, Query, View, Word
from backoffice.api.frame import Resource
from backoffice.api.problems import NotFound, Refused
from backoffice.api.resources.events import EventView
from backoffice.screen import hinted, screen
from reconcile.operating import explaining, jobs, pausing
from reconcile.policy.values import Refuse
from reconcile.store import roster, subscriptions
from reconcile.store.look import Filters
from reconcile.store.pauses import ORGANIZATION, Pause

operations = Resource("operations", "For whoever is on call: status, pauses, repairs by hand.")

Scope = Literal["writes", "type", "organization"]


class PartView(View):
    """One thing that was looked at."""

    name: str = Field(description="`queue`, `dead letters`, `gap audit`, ...")
    well: bool = Field(description="Whether nothing is to be done about it.")
    line: str = Field(description="How it stands.")
    do: list[str] = Field(description="What to do next, if anything: commands.")
    facts: dict[str, Any] = Field(description="Its figures.")


class StatusView(View):
    """How everything stands."""

    at: datetime = Field(description="When it was looked at.")
    well: bool = Field(description="Whether all of it is well.")
    parts: list[PartView] = Field(description="Each thing, pauses first.")


class JobView(View):
    """One work key with something to do."""

    work_key: str = Field(
        description="`sub:...`, `org:...`, `cus:...`, `notice:...`, `review:...`, `checkout:...`."
    )
    state: Literal["running", "queued", "due", "retrying", "held", "later"] = Field(
        description="Where it is; `due` waits for the relay."
    )
    events: int = Field(description="Inbox rows behind it.")
    attempts: int = Field(description="Tries of the one that was tried most.")
    oldest_at: datetime = Field(description="When the oldest of them was received.")
    due_at: datetime | None = Field(description="When the first of them is due.")
    line: str | None = Field(description="What it waits for.")


class JobPage(View):
    """Jobs, the first due first."""

    data: list[JobView] = Field(description="The jobs.")


class JobQuery(Query):
    """Which jobs."""

    limit: Annotated[int, Field(ge=1, le=100)] = Field(default=50, description="Most of them.")
    organization_id: Id | None = Field(default=None, description="Of this organization.")
    subscription_id: Id | None = Field(default=None, description="About this subscription.")


class PauseView(View):
    """What is held back."""

    scope: Scope = Field(description="All writes to Stripe, an event type, or an organization.")
    value: str = Field(description="The type or the organization; empty for writes.")
    paused_by: str = Field(description="Who did it.")
    because: str = Field(description="Why.")
    paused_at: datetime = Field(description="Since when.")
    held: int = Field(description="Inbox rows it holds.")


class PauseList(View):
    """The pauses in force."""

    data: list[PauseView] = Field(description="Oldest first.")


class PauseBody(Reasoned):
    """What to hold back, or to let go again."""

    because: Line = Field(description="Why, in a person's words.")
    scope: Scope = Field(description="All writes to Stripe, an event type, or an organization.")
    value: Line | None = Field(default=None, description="The type or organization.")


class ResumedView(View):
    """A pause that ended."""

    scope: Scope = Field(description="What was held back.")
    value: str = Field(description="The type or the organization; empty for writes.")
    released: int = Field(description="Inbox rows that are due now.")
    left: int = Field(description="Those of very many that are due within a quarter of an hour.")


class ReconcileTarget(Body):
    """An organization or one subscription."""

    id: Id = Field(description="The organization's id, or Stripe's of a subscription.")


class ExplainedView(View):
    """One decision with its inputs; nothing was written."""

    subject: str = Field(description="The subscription or organization.")
    inputs: dict[str, Any] = Field(description="The facts, the row of the table, the decision.")
    findings: list[dict[str, Any]] = Field(description="What would be open.")
    would: dict[str, Any] = Field(description="What would be written, and what it would cost.")
    trouble: str | None = Field(description="Why it could not be decided.")


class ExplainedList(View):
    """A decision for each subscription, and one beside them."""

    data: list[ExplainedView] = Field(description="The decisions.")


class ReconcileBody(Reasoned):
    """What to reconcile now."""

    because: Line = Field(description="Why, in a person's words.")
    id: Id = Field(description="The organization's id, or Stripe's of a subscription.")


class ConfirmZero(Reasoned):
    """A count that fell to zero and is right."""

    because: Line = Field(description="Why, in a person's words.")
    subscription_id: Id = Field(description="The subscription.")
    seat_type: Word = Field(description="Its seat type.")


class ZeroConfirmed(View):
    """The count that is believed from now on."""

    subscription_id: str = Field(description="The subscription.")
    organization_id: str = Field(description="Whose it is.")
    seat_type: str = Field(description="Its seat type.")
    was: int = Field(description="What was remembered before.")
    follows: str = Field(description="What the plan's policy makes of it, in a sentence.")


# Longer than the settling of one subscription takes, shorter than a client waits.
WAIT_S = 20.0


@operations.read("/status", StatusView, scope="operate")
def status() -> Answer:
    """Show how everything stands, and what to do next for each thing that is not well."""
    _everything()
    return StatusView.model_validate(screen(services()))


@operations.read("/jobs", JobPage, scope="operate")
def list_jobs(query: JobQuery) -> Answer:
    """List what is queued, running, retrying or held, the first due first."""
    here = services()
    filters = Filters(
        organization_id=only(query.organization_id), subscription_id=query.subscription_id
    )
    found = jobs.jobs(here, hinted(here.settings), filters, limit=query.limit)
    return JobPage(data=[JobView.model_validate(each) for each in found])


@operations.read("/pauses", PauseList, scope="operate")
def list_pauses() -> Answer:
    """List the pauses in force, with how much each holds."""
    bound = only(None)
    found = pausing.in_force(services())
    return PauseList(
        data=[
            _pause(each, held)
            for each, held in found
            if bound is None or (each.scope, each.value) == (ORGANIZATION, bound)
        ]
    )


@operations.write("/pauses", PauseView, scope="operate", status=201)
def pause(body: PauseBody) -> Answer:
    """Hold work back; nothing is lost.

    Events are still taken in. With `writes` nothing is written to Stripe, and what people ask for
    that would buy or change seats is refused with the code `paused`.
    """
    _touches(body)
    begun = pausing.pause(services(), body.scope, body.value or "", actor_of(body))
    return begun if isinstance(begun, Refuse) else (_pause(begun, 0), 201)


@operations.write("/pauses/resume", ResumedView, scope="operate")
def resume(body: PauseBody) -> Answer:
    """End a pause; everything it held is due at once.

    Of very much, what was not made due within seconds is so by itself within a quarter of an hour.
    """
    _touches(body)
    ended = pausing.resume(services(), body.scope, body.value or "", actor_of(body))
    if isinstance(ended, Refuse):
        return ended
    return ResumedView(
        scope=body.scope, value=ended.pause.value, released=ended.released, left=ended.left
    )


@operations.write("/reconcile/explain", ExplainedList, scope="operate")
def explain(body: ReconcileTarget) -> Answer:
    """Explain the decision on an organization or a subscription, and write nothing.

    Stripe is asked for the subscription, and for what a change would cost.
    """
    _reachable(body.id)
    found = explaining.explain(services(), body.id)
    if isinstance(found, Refuse):
        return found
    return ExplainedList(data=[ExplainedView.model_validate(each) for each in found])


@operations.write("/reconcile", EventView, scope="operate", also={202: EventView})
def reconcile(body: ReconcileBody) -> Answer:
    """Reconcile an organization or a subscription now, on record, and say how it ended.

    The answer is the request in the inbox. 202: it is `pending` and goes on by itself; the event
    of its id tells how it ends.
    """
    _reachable(body.id)
    ended = explaining.apply(services(), body.id, actor_of(body), wait_s=WAIT_S)
    if isinstance(ended, Refuse):
        return ended
    status = HTTPStatus.ACCEPTED if ended.state == "pending" else HTTPStatus.OK
    return EventView.model_validate(ended), status


@operations.write("/findings/confirm-zero", ZeroConfirmed, scope="operate")
def confirm_zero(body: ConfirmZero) -> Answer:
    """Say that a count that fell to zero is right; the subscription is looked at again at once."""
    _reachable(body.subscription_id)
    done = explaining.confirm_zero(services(), body.subscription_id, body.seat_type, actor_of(body))
    if isinstance(done, Refuse):
        return done
    return ZeroConfirmed(
        subscription_id=body.subscription_id,
        organization_id=done.organization_id,
        seat_type=body.seat_type,
        was=done.was,
        follows=done.follows,
    )


def _pause(found: Pause, held: int) -> PauseView:
    return PauseView(
        scope=found.scope,  # type: ignore[arg-type] # the table's check allows these words only
        value=found.value,
        paused_by=found.paused_by,
        because=found.because,
        paused_at=found.paused_at,
        held=held,
    )


def _everything() -> None:
    """Refuse a token that is bound to one organization."""
    if token().organization_id is not None:
        refuse = Refuse(code="not_allowed", message="The token is bound to one organization")
        raise Refused(refuse)


def _touches(body: PauseBody) -> None:
    if body.scope == ORGANIZATION and body.value is not None:
        visible(body.value)
    else:
        _everything()


def _reachable(named: str) -> None:
    """Raise NotFound for what is not of the token's organization."""
    if only(None) is None:
        return
    with services().sessions() as session:
        organization = roster.organization(session, named)
        held = subscriptions.held(session, named)
    whose = organization.id if organization else held.organization_id if held else None
    if whose is None:
        raise NotFound("organization")
    visible(whose)
