"""Chapters: the buyer changes seats in one save, and has a card that declines."""

from backoffice.demo.cast import AGENCY
from backoffice.demo.stage import Stage
from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.money import written
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Keep, Refuse

ACTOR = Actor("host:billing")


def one_save(stage: Stage) -> None:
    """+2 Voice and -1 Base in one save: one update, one signed total (B1, B4)."""
    stage.chapter("The buyer adds and removes seats in one save")
    subscription = stage.subscriptions["agency"]
    before = stage.raises_of(subscription)
    too_few = seat_change.preview(
        stage.services, AGENCY.id, Wanted(quantities={"voice": 7}), actor=ACTOR
    )
    stage.expect("fewer than the active members is refused", isinstance(too_few, Refuse), True)
    if isinstance(too_few, Refuse):
        stage.say(f'"{too_few.message}": {"; ".join(too_few.remedies)}')
    wanted = Wanted(quantities={"voice": 10, "base": 2})
    preview = _preview(stage, wanted)
    if preview is None:
        return
    applied = _apply(stage, preview)
    if not isinstance(applied, Applied):
        stage.expect("the save goes through", applied, "applied")
        return
    stage.say(applied.line)
    stage.expect(
        "both changes are in Stripe",
        stage.buyer.quantities(subscription),
        {"agency_base_month": 2, "agency_voice_month": 10},
    )
    stage.expect("in one update, on one invoice", stage.raises_of(subscription) - before, 1)
    total = applied.adjustment.total_minor if applied.adjustment else None
    stage.expect("the invoice is the preview, to the cent", total, preview.quote.total_minor)


def declined_card(stage: Stage) -> None:
    """A raise that is not paid for does not happen, and says why."""
    stage.chapter("The card declines")
    subscription = stage.subscriptions["agency"]
    before, held = stage.buyer.quantities(subscription), stage.raises_of(subscription)
    customer = stage.customers[AGENCY.id]
    stage.buyer.control("declines", customer=customer, code="card_declined")
    # Three, not one: the eleventh seat lowers the price of all of them, which is a credit.
    wanted = Wanted(quantities={"voice": before["agency_voice_month"] + 3})
    preview = _preview(stage, wanted)
    if preview is None:
        return
    refused = _apply(stage, preview)
    stage.buyer.control("declines", customer=customer, code=None)
    stage.expect("refused", isinstance(refused, Refuse), True)
    if isinstance(refused, Refuse):
        stage.say(f'"{refused.message}"')
    stage.expect("nothing changed in Stripe", stage.buyer.quantities(subscription), before)
    stage.expect("nothing was charged", stage.raises_of(subscription), held)


def _preview(stage: Stage, wanted: Wanted) -> Preview | None:
    found = seat_change.preview(stage.services, AGENCY.id, wanted, actor=ACTOR)
    if isinstance(found, Refuse | Keep):
        stage.expect("there is a preview", found, "a preview")
        return None
    stage.say(f'"{found.quote.words}"')
    billed = written(found.quote.total_minor, found.quote.currency, signed=True)
    stage.say(f"previewed: {billed}")
    return found


def _apply(stage: Stage, preview: Preview) -> Applied | seat_change.Stale | Refuse:
    # The webhooks of the last chapter may be worked on this second: a person would click again.
    stage.wait_for_calm()
    return seat_change.apply(stage.services, AGENCY.id, preview.id, actor=ACTOR)
