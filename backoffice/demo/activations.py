"""Chapter: members come in, as far as there is room for them."""

from functools import partial

from backoffice.demo.cast import AGENCY, SHOP, WORKSPACE, Company, allow_auto_add
from backoffice.demo.stage import Stage
from reconcile.actor import Actor
from reconcile.members.activation import Outcome, activate
from reconcile.policy.values import Refuse

ACTOR = Actor("cli:demo")


def play(stage: Stage) -> None:
    """Free seats, full pools, a seat of one's own, and a burst that buys once."""
    stage.chapter("Members accept their invites")
    _into_free_seats(stage)
    _into_included_seats(stage)
    _with_a_seat_of_their_own(stage)
    _a_burst_that_buys_once(stage)


def _into_free_seats(stage: Stage) -> None:
    """Harbour has 5 Voice seats and 2 active members in them."""
    before = stage.raises_of(stage.subscriptions["agency"])
    for person in ("eve", "flo", "gus"):
        _enters(stage, AGENCY, person)
    stage.say("Harbour's Voice seats are full: 5 of 5")
    stage.expect(
        "a free seat costs nothing", stage.raises_of(stage.subscriptions["agency"]), before
    )
    _is_refused(stage, AGENCY, "zoe", "no free Voice seat: refused, nothing is bought unasked")


def _into_included_seats(stage: Stage) -> None:
    """Kowhai's plan includes 3 Admin seats; the owner takes none (C2)."""
    _enters(stage, SHOP, "ned")
    said = _is_refused(stage, SHOP, "oli", "the fourth Admin is refused")
    stage.expect("and told why (C5)", "Admin seat limit reached" in said, True)


def _with_a_seat_of_their_own(stage: Stage) -> None:
    """A Pro member joins on payment, not on the click (A2)."""
    _is_refused(stage, WORKSPACE, "jon", "no paid seat yet: the click alone lets nobody in")
    stage.subscriptions["jon"] = stage.buyer.subscribe(
        stage.customers[WORKSPACE.id],
        {"workspace_pro_month": 1},
        {"organization_id": WORKSPACE.id, "member_id": "jon"},
    )
    stage.wait_until(
        "jon's seat is known",
        lambda: bool(
            stage.rows(
                "select 1 from subscriptions where id = :id and status = 'active'",
                id=stage.subscriptions["jon"],
            )
        ),
    )
    _enters(stage, WORKSPACE, "jon")


def _a_burst_that_buys_once(stage: Stage) -> None:
    """Harbour switches Auto-Add on, and three people sign in at the same moment (B15)."""
    subscription = stage.subscriptions["agency"]
    allow_auto_add(stage, AGENCY, "voice", 8)
    before = stage.raises_of(subscription)
    answers = stage.together(
        [partial(_activate, stage, AGENCY, who) for who in ("zoe", "yan", "xia")]
    )
    for answer in answers:
        stage.say(answer.line if not isinstance(answer, Refuse) else answer.message)
    quantity = stage.buyer.quantities(subscription)["agency_voice_month"]
    stage.expect("Auto-Add bought the three seats", quantity, 8)
    stage.expect("in one update, charged once", stage.raises_of(subscription) - before, 1)
    _is_refused(stage, AGENCY, "wes", "and stops at the ceiling of 8")


def _activate(stage: Stage, company: Company, person: str) -> Outcome:
    return activate(stage.services, company.id, person, actor=ACTOR)


def _enters(stage: Stage, company: Company, person: str) -> None:
    outcome = _activate(stage, company, person)
    let_in = not isinstance(outcome, Refuse)
    stage.expect(f"{person} of {company.name} is let in", let_in, True)


def _is_refused(stage: Stage, company: Company, person: str, what: str) -> str:
    outcome = _activate(stage, company, person)
    stage.expect(what, isinstance(outcome, Refuse), True)
    said = outcome.message if isinstance(outcome, Refuse) else ""
    stage.say(f'"{said}"')
    return said
