"""Chapters: the buyer changes seats in one save, and has a card that declines."""

from backoffice.demo.cast import AGENCY, is_refused
from backoffice.demo.host import Answer
from backoffice.demo.stage import Stage


def one_save(stage: Stage) -> None:
    """+2 Voice and -1 Base in one save: one update, one signed total (B1, B4, B5)."""
    stage.chapter("Harbour: the buyer adds and removes seats in one save")
    subscription = stage.subscriptions["agency"]
    before = stage.raises_of(subscription)
    is_refused(
        stage,
        "fewer than the active members is refused",
        _preview(stage, voice=7),
        "below_active",
    )
    seen = _preview(stage, voice=10, base=2)
    stage.say(f'"{seen["words"]}"' if seen.ok else seen.said)
    done = _apply(stage, seen)
    stage.expect("the save goes through", done.ok or done.said, True)
    if not done.ok:
        return
    stage.say(done.said)
    stage.expect(
        "both changes are in Stripe",
        stage.buyer.quantities(subscription),
        {"agency_base_month": 2, "agency_voice_month": 10},
    )
    stage.expect("in one update, on one invoice", stage.raises_of(subscription) - before, 1)
    stage.expect(
        "the invoice is the preview, to the cent", done["total_minor"], seen["total_minor"]
    )


def declined_card(stage: Stage) -> None:
    """A raise that is not paid for does not happen, and says why."""
    stage.chapter("Harbour: the card declines")
    subscription = stage.subscriptions["agency"]
    before, held = stage.buyer.quantities(subscription), stage.raises_of(subscription)
    customer = stage.customers[AGENCY.id]
    stage.buyer.control("declines", customer=customer, code="card_declined")
    # Three, not one: the eleventh seat lowers the price of all of them, which is a credit.
    seen = _preview(stage, voice=before["agency_voice_month"] + 3)
    stage.say(f'"{seen["words"]}"' if seen.ok else seen.said)
    refused = _apply(stage, seen)
    stage.buyer.control("declines", customer=customer, code=None)
    is_refused(stage, "refused", refused, "payment_declined")
    stage.expect("nothing changed in Stripe", stage.buyer.quantities(subscription), before)
    stage.expect("nothing was charged", stage.raises_of(subscription), held)


def _preview(stage: Stage, **quantities: int) -> Answer:
    # The webhooks of the last chapter may be worked on this second: a person would click again.
    stage.wait_for_calm()
    return stage.host.ask(f"{AGENCY.path}/seat-changes/preview", by="ada", quantities=quantities)


def _apply(stage: Stage, seen: Answer) -> Answer:
    return stage.host.ask(
        f"{AGENCY.path}/seat-changes", by="ada", preview_id=seen.body.get("id", "")
    )
