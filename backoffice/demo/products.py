"""Chapters: what is particular to each of the three products, from an invite to a seat."""

from functools import partial

from backoffice.demo.cast import (
    AGENCY,
    SHOP,
    WORKSPACE,
    Person,
    allow_auto_add,
    arrives,
    enters,
    invite,
    is_refused,
    sign_in,
)
from backoffice.demo.stage import Stage


def workspace(stage: Stage) -> None:
    """A seat of one's own: it joins on payment, and its credits pool (A2, A3, A4)."""
    stage.chapter("Lantern: a member pays for a seat of their own")
    arrives(stage, WORKSPACE, Person("jon", "member", "pro"), by="hal")
    is_refused(
        stage,
        "the click alone lets nobody in",
        sign_in(stage, WORKSPACE, "jon"),
        "payment_needed",
    )
    pool = stage.host.get(f"{WORKSPACE.path}/credits")["pool"]
    page = stage.host.ask(
        f"{WORKSPACE.path}/members/jon/checkout",
        by="jon",
        success_url="https://lantern.example/welcome",
        cancel_url="https://lantern.example/later",
    )
    paid = stage.buyer.control(f"checkout/{page['id']}/complete")
    stage.subscriptions["jon"] = str(paid["subscription"])
    stage.say("jon pays on Stripe's page; the webhook lets him in")
    stage.wait_for_calm()
    jon = stage.host.get(f"{WORKSPACE.path}/members/jon")
    stage.expect("jon is active", jon["status"], "active")
    grown = stage.host.get(f"{WORKSPACE.path}/credits")["pool"] - pool
    stage.expect("the pool of credits has grown by his seat's", grown, pool // 2)
    second = stage.host.ask(f"{WORKSPACE.path}/members/jon/role", by="hal", role="admin")
    is_refused(stage, "a second admin is refused", second, "single_admin")


def shop(stage: Stage) -> None:
    """Included seats: two pools, and nothing is ever bought (C1, C2, C5, C6, C7)."""
    stage.chapter("Kowhai: Admin and Sales Rep seats come with the plan")
    ned, oli = Person("ned", "admin", "admin"), Person("oli", "admin", "admin")
    arrives(stage, SHOP, ned, oli, by="kim")
    enters(stage, SHOP, "ned")
    is_refused(stage, "the fourth Admin is refused", sign_in(stage, SHOP, "oli"), "seat_limit")
    mine = stage.host.ask(f"{SHOP.path}/members/pia/role", by="lou", role="admin")
    is_refused(stage, "an admin changes no roles", mine, "not_allowed")
    passed_on = stage.host.ask(
        f"{SHOP.path}/transfers",
        by="kim",
        kind="ownership",
        from_member_id="kim",
        to_member_id="lou",
    )
    stage.expect("the ownership passes on in a full pool", passed_on.ok, True)
    stage.say(passed_on.said)


def agency(stage: Stage) -> None:
    """Seats that are bought: free ones are taken, a burst buys once (B12, B15)."""
    stage.chapter("Harbour: seats are bought, never fewer than are in use")
    subscription = stage.subscriptions["agency"]
    before = stage.raises_of(subscription)
    voices = [Person(name, "member", "voice") for name in ("eve", "flo", "gus", "zoe")]
    arrives(stage, AGENCY, *voices, by="ada")
    enters(stage, AGENCY, *(person.id for person in voices[:3]))
    stage.expect("free seats cost nothing", stage.raises_of(subscription), before)
    is_refused(stage, "nothing is bought unasked", sign_in(stage, AGENCY, "zoe"), "no_free_seat")
    stage.say("ada switches Auto-Add on, up to 8; three people sign in at the same moment")
    allow_auto_add(stage, AGENCY, "voice", 8)
    arrives(stage, AGENCY, *(Person(name, "member", "voice") for name in ("yan", "xia")), by="ada")
    for answer in stage.together(
        [partial(sign_in, stage, AGENCY, w) for w in ("zoe", "yan", "xia")]
    ):
        stage.say(answer.said)
    quantity = stage.buyer.quantities(subscription)["agency_voice_month"]
    stage.expect("Auto-Add bought the three seats", quantity, 8)
    stage.expect("in one update, charged once", stage.raises_of(subscription) - before, 1)
    wes = Person("wes", "member", "voice")
    is_refused(
        stage, "and stops at its ceiling", invite(stage, AGENCY, wes, by="ada"), "auto_add_limit"
    )
