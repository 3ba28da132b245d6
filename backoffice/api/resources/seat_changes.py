"""Changes of seats and of the billing interval: previewed in figures and words, then applied."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Response
from pydantic import Field

from backoffice.api.acting import Acting, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import need_scope, services, token
from backoffice.api.fields import Body, Id, OrganizationPath, Seats, View, Word
from backoffice.api.frame import Resource
from backoffice.api.problems import NotFound, Problem, refused
from reconcile.actor import Actor
from reconcile.adjustments import seat_change, suggesting
from reconcile.adjustments.case import moves_of
from reconcile.adjustments.quote import Quote
from reconcile.adjustments.seat_change import Applied, Preview, Stale
from reconcile.policy.seat_change import Requester, Wanted
from reconcile.policy.values import Keep, Refuse
from reconcile.store import adjustments, previews

seat_changes = Resource(
    "seat-changes", "Seats and billing interval: what a change would cost, and the change itself."
)

MOST_MOVES = 200
Interval = Literal["week", "month", "year"]
Quantities = Annotated[dict[Word, Seats], Field(max_length=20)]


class SeatQuoteView(View):
    """One seat type before and after."""

    seat_type: str = Field(description="The catalog's word.")
    label: str = Field(description="What people call it.")
    before: int = Field(description="Seats now.")
    after: int = Field(description="Seats then.")
    change: int = Field(description="Seats more; fewer when negative.")


class QuoteLineView(View):
    """One line that Stripe will make."""

    description: str | None = Field(description="As Stripe words it.")
    quantity: int | None = Field(description="Seats the line is for.")
    amount_minor: int = Field(description="Minor units; a credit is negative.")


class QuoteView(View):
    """What a change does. Amounts in minor units of `currency`, as Stripe previews them."""

    words: str = Field(description="All of it in words, to show before saving.")
    currency: str = Field(description="ISO code, lower case.")
    interval_before: str = Field(description="Billed each `month` or `year` now.")
    interval: str = Field(description="And then.")
    seats: list[SeatQuoteView] = Field(description="Each seat type.")
    plan_total_before_minor: int = Field(
        description="What a period costs now, at list prices before discounts and tax."
    )
    plan_total_minor: int = Field(description="And then.")
    plan_difference_minor: int = Field(description="The difference of the two.")
    subtotal_minor: int = Field(description="The lines, before discounts shown and added tax.")
    discount_minor: int = Field(
        description="Discounts shown. Those of a proration are in its amount already."
    )
    tax_minor: int = Field(description="Tax in the total, added or included.")
    total_minor: int = Field(
        description="The signed total of the change: positive is billed, negative is credited."
    )
    starting_balance_minor: int = Field(
        description="The customer's balance before it; negative is credit."
    )
    due_now_minor: int = Field(description="What the card is charged at once.")
    discounted: bool = Field(description="Whether a discount is in force.")
    taxed: bool = Field(description="Whether tax is reckoned.")
    charged_now: bool = Field(description="Whether Stripe makes an invoice at once.")
    charged_at: datetime | None = Field(description="When the total is billed or credited.")
    at_renewal: datetime | None = Field(
        description="When it takes effect, where that is not at once."
    )
    lines: list[QuoteLineView] = Field(description="The lines the change makes.")


class PreviewView(QuoteView):
    """What a change would do; apply it by its id."""

    id: str = Field(description="`prv_...`, to apply it.")
    expires_at: datetime = Field(description="Until when it may be applied.")


class PreviewState(View):
    """A preview as it was shown, and what became of it."""

    id: str = Field(description="`prv_...`.")
    words: str = Field(description="What was shown, in words.")
    currency: str = Field(description="ISO code, lower case.")
    total_minor: int = Field(description="The signed total that was shown, minor units.")
    due_now_minor: int = Field(description="What was to be charged at once, minor units.")
    asked_by: str = Field(description="Who asked for it: `member:...` or `token:...`.")
    created_at: datetime = Field(description="When it was shown.")
    expires_at: datetime = Field(description="Until when it may be applied.")
    applied_at: datetime | None = Field(description="When it was applied.")
    adjustment_id: str | None = Field(description="The adjustment that it became.")


class SeatChangeView(View):
    """What was done."""

    line: str = Field(description="In a line for a person.")
    adjustment_id: str | None = Field(
        description="The adjustment; null where nothing was written to Stripe."
    )
    invoice_id: str | None = Field(description="The invoice it made at once, in Stripe.")
    currency: str | None = Field(description="ISO code, lower case.")
    total_minor: int | None = Field(description="The invoice's signed total, minor units.")
    amount_due_minor: int | None = Field(description="What was charged of it, minor units.")
    at_renewal: datetime | None = Field(
        description="When it takes effect, where that is not at once."
    )


class SuggestionView(View):
    """Seats that are bought and not used."""

    unused: dict[str, int] = Field(description="Unused seats by seat type; empty: all are used.")
    quantities: dict[str, int] = Field(description="The quantities that would leave none.")
    quote: QuoteView | None = Field(description="What that reduction would do.")


class StaleProblem(Problem):
    """Why it was not applied; with `preview_stale` and `preview_expired`, how things are now."""

    preview: PreviewView | None = Field(
        default=None, description="A fresh preview of the same change, to confirm again."
    )
    now: str | None = Field(default=None, description="Why there is no fresh preview any more.")


class MoveWanted(Body):
    """A member who moves to another seat type in the same save."""

    member_id: Id = Field(description="An active member.")
    to_seat_type: Word = Field(description="Where they move to.")


class SeatChangeWanted(Acting):
    """What is wanted: absolute numbers of some seat types, and who moves with them."""

    quantities: Quantities = Field(
        default={}, description="The new number of seats of each seat type that changes."
    )
    moves: list[MoveWanted] = Field(
        default=[],
        max_length=MOST_MOVES,
        description="Members who change their seat type with it, so that two full pools can be "
        "converted in one operation.",
    )
    interval: Interval | None = Field(
        default=None, description="Another billing interval in the same save."
    )


class IntervalWanted(Acting):
    """The billing interval that is wanted."""

    interval: Interval = Field(description="A period the plan has prices for.")


class Confirmed(Acting):
    """Which preview is confirmed."""

    preview_id: Id = Field(description="`prv_...`, as it was shown.")


class PreviewPath(OrganizationPath):
    """One preview of an organization."""

    preview_id: Id = Field(description="`prv_...`.")


@seat_changes.write(
    "/organizations/<organization_id>/seat-changes/preview",
    PreviewView,
    scope="billing",
    status=201,
)
def preview(path: OrganizationPath, body: SeatChangeWanted) -> Answer:
    """Preview a change of seats.

    Nothing is changed. Adding and removing in one save is one update with one signed total. What
    is added is billed at once, what is only removed is a credit on the next invoice. The preview
    holds for half an hour, for the members, quantities and prices it was made from.
    """
    moves = moves_of(
        services(),
        path.organization_id,
        {move.member_id: move.to_seat_type for move in body.moves},
    )
    if isinstance(moves, Refuse):
        return moves
    if len(moves) < len(body.moves):
        return Refuse(code="invalid", message="moves: a member can move only once in a save")
    wanted = Wanted(quantities=body.quantities, interval=body.interval, moves=moves)
    return previewed(path.organization_id, wanted, actor_of(body))


@seat_changes.write(
    "/organizations/<organization_id>/seat-changes",
    SeatChangeView,
    scope="billing",
    status=201,
    also={409: StaleProblem},
    works_on=True,
)
def apply(path: OrganizationPath, body: Confirmed) -> Answer:
    """Apply a preview.

    Exactly what was shown is done, to the minor unit, or nothing: 409 with `preview_stale` or
    `preview_expired` and a fresh preview. A declined card changes nothing (402). Applied again, it
    answers the same and charges nothing more. 202: Stripe has not answered, a worker finds out;
    the same request tells how it ended.
    """
    return applied(path.organization_id, body.preview_id, actor_of(body))


@seat_changes.write(
    "/organizations/<organization_id>/interval-switches/preview",
    PreviewView,
    scope="billing",
    status=201,
)
def preview_interval(path: OrganizationPath, body: IntervalWanted) -> Answer:
    """Preview another billing interval.

    Every item switches in one update. To a year: charged today, less the unused time of the month.
    Back to a month: an invoice today, mostly a credit that the next invoices use up.
    """
    return previewed(path.organization_id, Wanted(interval=body.interval), actor_of(body))


@seat_changes.write(
    "/organizations/<organization_id>/interval-switches",
    SeatChangeView,
    scope="billing",
    status=201,
    also={409: StaleProblem},
    works_on=True,
)
def switch_interval(path: OrganizationPath, body: Confirmed) -> Answer:
    """Apply a preview of another interval.

    Like any other preview: what was shown is what is done, once.
    """
    return applied(path.organization_id, body.preview_id, actor_of(body))


@seat_changes.read("/organizations/<organization_id>/previews/<preview_id>", PreviewState)
def show_preview(path: PreviewPath) -> Answer:
    """Show a preview and what became of it.

    That of a change of a contract, which may not be agreed yet, needs the scope `contract`.
    """
    with services().sessions() as session:
        found = previews.by_id(session, path.organization_id, path.preview_id)
        if found is None:
            raise NotFound("preview")
        if found.wanted["by"] == Requester.ACCOUNT_MANAGER:
            need_scope("contract", "look at a change of a contract")
        made = adjustments.by_id(session, found.adjustment_id) if found.adjustment_id else None
    # Finished by a worker, nobody was there to note it on the preview.
    applied_at = made.finished_at if made and made.state == "applied" else found.applied_at
    figures = {name: found.shown[name] for name in ("words", "currency")}
    amounts = {name: found.shown[name] for name in ("total_minor", "due_now_minor")}
    return PreviewState(
        id=found.id,
        **figures,
        **amounts,
        asked_by=found.actor,
        created_at=found.created_at,
        expires_at=found.expires_at,
        applied_at=applied_at,
        adjustment_id=found.adjustment_id,
    )


@seat_changes.read("/organizations/<organization_id>/seat-suggestion", SuggestionView)
def suggest(path: OrganizationPath) -> Answer:
    """Suggest a reduction to the seats in use.

    With the credit it would bring. Nothing is changed, and nothing has to be.
    """
    actor = Actor(f"token:{token().id}", token().id)
    found = suggesting.suggest(services(), path.organization_id, actor=actor)
    return found if isinstance(found, Refuse) else SuggestionView.model_validate(found)


def previewed(organization_id: str, wanted: Wanted, actor: Actor) -> Answer:
    """Answer a wish with its preview, or with why there is none."""
    found = seat_change.preview(services(), organization_id, wanted, actor=actor)
    if isinstance(found, Keep):
        return Refuse(code="nothing_to_change", message="It is so already: there is no change")
    return found if isinstance(found, Refuse) else (_preview_view(found), 201)


def applied(
    organization_id: str, preview_id: str, actor: Actor, by: Requester = Requester.CUSTOMER
) -> Answer:
    """Answer a confirmation with what was done, or why not and how things are now."""
    done = seat_change.apply(services(), organization_id, preview_id, by=by, actor=actor)
    if isinstance(done, Stale):
        return _stale(done)
    return done if isinstance(done, Refuse) else (_applied_view(done), 201)


def _stale(stale: Stale) -> Response:
    fresh = stale.fresh
    if isinstance(fresh, Preview):
        return refused(stale.refusal, preview=_preview_view(fresh))
    return refused(stale.refusal, now=fresh.message if isinstance(fresh, Refuse) else fresh.reason)


def _preview_view(found: Preview) -> PreviewView:
    return PreviewView(
        **_quote_view(found.quote).model_dump(), id=found.id, expires_at=found.expires_at
    )


def _quote_view(found: Quote) -> QuoteView:
    return QuoteView.model_validate(found)


def _applied_view(done: Applied) -> SeatChangeView:
    made = done.adjustment
    return SeatChangeView(
        line=done.line,
        adjustment_id=made.id if made else None,
        invoice_id=made.invoice_id if made else None,
        currency=made.currency if made else None,
        total_minor=made.total_minor if made else None,
        amount_due_minor=made.amount_due_minor if made else None,
        at_renewal=done.at_renewal,
    )
