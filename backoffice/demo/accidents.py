"""Chapters: what goes wrong, and that it costs nobody anything twice."""

from backoffice.demo.cast import AGENCY, Person, allow_auto_add, join_by_import
from backoffice.demo.stage import Stage

VOICE = "agency_voice_month"


def dashboard_edit(stage: Stage) -> None:
    """Somebody lowers a quantity below the active members; it is raised back and charged once."""
    stage.chapter("Harbour: a dashboard edit below the active members")
    subscription = stage.subscriptions["agency"]
    active, before = active_voices(stage), stage.raises_of(subscription)
    stage.buyer.edit_in_dashboard(subscription, VOICE, active - 3)
    stage.say(f"somebody sets Voice to {active - 3} in Stripe's dashboard; {active} are active")
    stage.wait_for_quantity(subscription, VOICE, active)
    stage.wait_for_calm()
    stage.expect(f"raised back to {active}", stage.buyer.quantities(subscription)[VOICE], active)
    stage.expect("with one invoice", stage.raises_of(subscription) - before, 1)


def untidy_webhooks(stage: Stage) -> None:
    """Deliveries are doubled and reordered; some never come at first and are retried by Stripe."""
    stage.chapter("Webhooks doubled, out of order, dropped")
    subscription = stage.subscriptions["agency"]
    active = active_voices(stage)
    doubled = "select count(*) from events where deliveries > 1"
    before = stage.number(doubled)
    stage.buyer.control("webhook_faults", kind="reorder", mentions=subscription, times=2)
    stage.buyer.control(
        "webhook_faults", kind="double", type="customer.subscription.updated", times=2
    )
    stage.buyer.control(
        "webhook_faults", kind="drop", type="customer.subscription.updated", times=1
    )
    for quantity in (active + 4, active + 2, active + 1, active + 3, active):
        stage.buyer.edit_in_dashboard(subscription, VOICE, quantity, prorated=False)
    stage.wait_for_calm()
    stage.expect("some events came twice", stage.number(doubled) > before, True)
    stage.expect(
        "the last word of Stripe is what we hold",
        _held(stage, subscription),
        stage.buyer.quantities(subscription)[VOICE],
    )


def killed_worker(stage: Stage) -> None:
    """A worker dies after Stripe took the change and before the answer is written down."""
    stage.chapter("A worker is killed in the middle of an adjustment")
    subscription = stage.subscriptions["agency"]
    before = stage.raises_of(subscription)
    allow_auto_add(stage, AGENCY, "voice", 12)
    with stage.armed():
        joined = (Person("wes", "member", "voice"), Person("val", "member", "voice"))
        join_by_import(stage, AGENCY, joined)
        stage.wait_until("a worker is dead", stage.died)
        stage.say("SIGKILL: Stripe has raised and charged it, our record still says pending")
    stage.wait_until(
        "another worker finished it",
        lambda: not stage.rows("select 1 from adjustments where state = 'pending'"),
    )
    stage.wait_for_calm()
    active = active_voices(stage)
    stage.expect("raised to the active count", stage.buyer.quantities(subscription)[VOICE], active)
    stage.expect("charged exactly once", stage.raises_of(subscription) - before, 1)
    stage.say(stage.rows("select outcome from adjustments order by created_at desc limit 1")[0][0])


def emptied_queue(stage: Stage) -> None:
    """Valkey loses its memory while there is work."""
    stage.chapter("Valkey is killed and comes back empty")
    subscription = stage.subscriptions["agency"]
    active, before = active_voices(stage), stage.raises_of(subscription)
    stage.buyer.edit_in_dashboard(subscription, VOICE, active - 1)
    stage.empty_the_queue()
    stage.say("the queue has forgotten everything; the inbox has not")
    stage.wait_for_quantity(subscription, VOICE, active)
    stage.wait_for_calm()
    stage.expect("nothing was lost, nothing done twice", stage.raises_of(subscription) - before, 1)


def active_voices(stage: Stage) -> int:
    """The floor of Harbour's Voice seats."""
    return stage.number(
        "select count(*) from members where organization_id = 'harbour' "
        "and seat_type = 'voice' and status = 'active'"
    )


def _held(stage: Stage, subscription_id: str) -> int:
    return stage.number(
        "select stripe_quantity from seats where subscription_id = :id and seat_type = 'voice'",
        id=subscription_id,
    )
