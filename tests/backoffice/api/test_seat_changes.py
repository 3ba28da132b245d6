"""Changes of seats over the API: what is shown is what is done, once, and by whom the plan lets."""

from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest
from sqlalchemy import func, update

from reconcile.settling.work import work_off
from reconcile.store import audit
from reconcile.store.audit import AuditEntry
from reconcile.stripe_api import StripeApi
from reconcile.stripe_shapes import StripeSubscription
from reconcile.tables import events
from tests.support.api import Client, Reply, a_token, api_of
from tests.support.roster import add_member
from tests.support.shop import Shop

ORG = "/organizations/org_1"


@pytest.fixture
def sub(shop: Shop) -> str:
    """Ten Base and five Voice seats; eight and five members are active."""
    customer = shop.organization(base=8, voice=5)
    sub = shop.subscribe(customer, {"base": 10, "voice": 5})
    shop.settle(sub)
    return sub


def previewed(api: Client, **quantities: int) -> Reply:
    """A preview that is one."""
    return api.post(f"{ORG}/seat-changes/preview", quantities=quantities).ok(201)


def applied(api: Client, preview: Reply, **more: Any) -> Reply:
    """What becomes of it."""
    return api.post(f"{ORG}/seat-changes", preview_id=preview["id"], **more)


def audited(shop: Shop, subject: str) -> list[AuditEntry]:
    """Who did what to it, oldest first."""
    with shop.services.sessions() as session:
        return list(reversed(audit.page(session, subject=subject)))


def test_a_preview_says_it_in_figures_and_in_words(api: Client, shop: Shop, sub: str) -> None:
    """B1, B4: per seat type, the plan's new total and its difference, what is due now."""
    seen = previewed(api, voice=7, base=9)
    assert seen["words"].startswith(
        "Change: +2 Voice seats, -1 Base seat. New plan total: USD 620.00/month (+USD 70.00/month)."
    )
    seats = {seat["seat_type"]: seat for seat in seen["seats"]}
    assert (seats["voice"]["before"], seats["voice"]["after"], seats["voice"]["change"]) == (
        5,
        7,
        2,
    )
    assert (seats["base"]["before"], seats["base"]["after"], seats["base"]["change"]) == (10, 9, -1)
    assert seen["plan_total_before_minor"] == 10 * 3000 + 5 * 5000
    assert seen["plan_difference_minor"] == 7000
    assert seen["total_minor"] == sum(line["amount_minor"] for line in seen["lines"])
    assert len(seen["lines"]) == 4
    assert shop.writes(sub) == 0


def test_what_was_shown_is_what_is_billed(api: Client, shop: Shop, sub: str) -> None:
    """B2: billed at once, and full rate from then on."""
    seen = previewed(api, voice=7, base=9)
    done = applied(api, seen).ok(201)
    (invoice,) = shop.invoices(sub, "subscription_update")
    assert done["total_minor"] == invoice["total"] == seen["total_minor"]
    assert done["amount_due_minor"] == invoice["amount_due"] == seen["due_now_minor"]
    assert done["invoice_id"] == invoice["id"]
    assert shop.quantities(sub) == {"base": 9, "voice": 7}
    state = api.get(f"{ORG}/previews/{seen['id']}").ok(200)
    assert state["adjustment_id"] == done["adjustment_id"]
    assert state["applied_at"] is not None


def test_what_a_worker_finished_is_shown_as_applied(api: Client, shop: Shop, sub: str) -> None:
    """Stripe's answer is lost: 202, a worker finds out, and the preview says when it was."""
    seen = previewed(api, voice=7)
    lost = {"kind": "timeout_after", "method": "POST", "path": "/v1/subscriptions/*"}
    shop.sandbox.control("/faults", lost)
    applied(api, seen).ok(202)
    state = api.get(f"{ORG}/previews/{seen['id']}").ok(200)
    assert state["applied_at"] is None
    with shop.services.sessions.begin() as session:
        session.execute(update(events).values(due_at=func.now()))
    work_off(shop.services, f"sub:{sub}")
    state = api.get(f"{ORG}/previews/{seen['id']}").ok(200)
    (made,) = shop.adjustments(sub)
    assert made.finished_at is not None
    assert datetime.fromisoformat(state["applied_at"]) == made.finished_at


def test_applied_twice_it_answers_the_same_and_charges_once(
    api: Client, shop: Shop, sub: str
) -> None:
    seen = previewed(api, voice=7)
    first = applied(api, seen).ok(201)
    again = applied(api, seen).ok(201)
    assert again.json == first.json
    assert shop.writes(sub) == 1
    assert len(shop.invoices(sub, "subscription_update")) == 1


def test_a_stale_preview_comes_back_with_a_fresh_one(api: Client, shop: Shop, sub: str) -> None:
    """The fresh one is of the same wish, from how things are now, and may be applied."""
    seen = previewed(api, voice=7)
    shop.edit(sub, "voice", 6)
    stale = applied(api, seen).problem(409, "preview_stale")
    fresh = stale["preview"]
    assert "+1 Voice seat." in fresh["words"]
    done = api.post(f"{ORG}/seat-changes", preview_id=fresh["id"]).ok(201)
    assert done["total_minor"] == fresh["total_minor"]
    assert shop.quantities(sub)["voice"] == 7


def test_a_look_from_before_a_change_is_not_written_over_it(
    api: Client, shop: Shop, sub: str
) -> None:
    """Seats that were just paid for would not be there for whoever activates next."""
    seen = previewed(api, voice=7)
    stripe = shop.services.stripe

    class Slow:
        """Stripe's answer to the first look is overtaken by a change."""

        looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(stripe, name)

        def subscription(self, subscription_id: str) -> StripeSubscription:
            found = stripe.subscription(subscription_id)
            self.looks += 1
            if self.looks == 1:
                applied(api, seen).ok(201)
            return found

    slow = cast("StripeApi", Slow())
    found = previewed(api_of(replace(shop.services, stripe=slow)), voice=8)
    voice = next(one for one in found["seats"] if one["seat_type"] == "voice")
    assert (voice["before"], voice["after"]) == (7, 8)
    assert shop.seats(sub)["voice"].stripe_quantity == 7


def test_a_stale_preview_of_what_is_so_by_now_says_that(api: Client, shop: Shop, sub: str) -> None:
    first, second = previewed(api, voice=7), previewed(api, voice=7)
    applied(api, first).ok(201)
    stale = applied(api, second).problem(409, "preview_stale")
    assert stale["now"] == "nothing to change in Stripe"
    assert shop.writes(sub) == 1


def test_nothing_to_change(api: Client, sub: str) -> None:
    api.post(f"{ORG}/seat-changes/preview", quantities={"voice": 5}).problem(
        409, "nothing_to_change"
    )


def test_never_below_the_active_members(api: Client, sub: str) -> None:
    """B5: it names the seat type, the active count and the way out."""
    refused = api.post(f"{ORG}/seat-changes/preview", quantities={"voice": 4})
    refused.problem(409, "below_active")
    assert refused["detail"] == "5 active Voice members: remove members first, then reduce"


def test_a_declined_card_changes_nothing(api: Client, shop: Shop, sub: str) -> None:
    seen = previewed(api, voice=7)
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    applied(api, seen).problem(402, "payment_declined")
    assert shop.quantities(sub)["voice"] == 5
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    assert applied(api, seen).ok(201)["total_minor"] == seen["total_minor"]


def test_seats_and_members_convert_in_one_operation(api: Client, shop: Shop) -> None:
    """B7: both pools are full, so neither step works alone."""
    customer = shop.organization(base=2, voice=1)
    sub = shop.subscribe(customer, {"base": 2, "voice": 1})
    shop.settle(sub)
    mover = "member_base_active_0"
    api.post(f"{ORG}/seat-changes/preview", quantities={"base": 1}).problem(409, "below_active")
    seen = api.post(
        f"{ORG}/seat-changes/preview",
        quantities={"base": 1, "voice": 2},
        moves=[{"member_id": mover, "to_seat_type": "voice"}],
    ).ok(201)
    assert "1 member moved" in seen["words"]
    applied(api, seen).ok(201)
    assert shop.quantities(sub) == {"base": 1, "voice": 2}
    assert [(one.action, one.after) for one in audited(shop, mover)] == [
        ("member.seat_type_changed", {"seat_type": "voice"})
    ]


def test_a_year_is_switched_to_and_back(api: Client, shop: Shop, sub: str) -> None:
    """B10: charged today, and a credit on the way back."""
    seen = api.post(f"{ORG}/interval-switches/preview", interval="year").ok(201)
    assert seen["plan_total_minor"] == 10 * 32400 + 5 * 54000
    done = api.post(f"{ORG}/interval-switches", preview_id=seen["id"]).ok(201)
    assert done["amount_due_minor"] == seen["due_now_minor"] > 0
    back = api.post(f"{ORG}/interval-switches/preview", interval="month").ok(201)
    assert back["total_minor"] < 0
    assert back["due_now_minor"] == 0
    done = api.post(f"{ORG}/interval-switches", preview_id=back["id"]).ok(201)
    assert done["total_minor"] == back["total_minor"]
    assert [one.action for one in audited(shop, sub)] == ["interval.switched", "interval.switched"]


def test_an_item_without_seats_switches_with_the_others(api: Client, shop: Shop) -> None:
    """B10: left behind, its next seat would be billed by the month beside a year."""
    sub = shop.subscribe(shop.organization(base=2), {"base": 2, "voice": 1})
    shop.settle(sub)
    for path, wanted in (
        ("seat-changes", {"quantities": {"voice": 0}}),
        ("interval-switches", {"interval": "year"}),
    ):
        seen = api.post(f"{ORG}/{path}/preview", wanted).ok(201)
        api.post(f"{ORG}/{path}", preview_id=seen["id"]).ok(201)
    items = shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    assert {item["price"]["recurring"]["interval"] for item in items} == {"year"}
    assert shop.quantities(sub)["voice"] == 0


def test_unused_seats_are_suggested_with_their_credit(api: Client, shop: Shop, sub: str) -> None:
    """B13: ten bought and eight active is fine; the reduction is only suggested."""
    seen = api.get(f"{ORG}/seat-suggestion").ok(200)
    assert (seen["unused"], seen["quantities"]) == ({"base": 2}, {"base": 8})
    credit = seen["quote"]["total_minor"]
    assert credit < 0
    assert shop.writes(sub) == 0
    preview = previewed(api, base=8)
    assert preview["total_minor"] - credit <= 1
    shop.activate("org_1", "base", 10)
    assert api.get(f"{ORG}/seat-suggestion").ok(200).json == {
        "unused": {},
        "quantities": {},
        "quote": None,
    }


def test_who_may_is_the_plans_to_say_and_who_did_is_written_down(
    api: Client, shop: Shop, sub: str
) -> None:
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="base")
        add_member(session, "org_1", "bo", role="member", seat_type="base")
    path = f"{ORG}/seat-changes/preview"
    api.post(path, quantities={"voice": 6}, acting_member_id="bo").problem(403, "not_allowed")
    api.post(path, quantities={"voice": 6}, acting_member_id="eve").problem(403, "not_allowed")
    seen = api.post(path, quantities={"voice": 6}, acting_member_id="ada").ok(201)
    applied(api, seen, acting_member_id="bo").problem(403, "not_allowed")
    done = applied(api, seen, acting_member_id="ada", because="a new colleague").ok(201)
    (entry,) = audited(shop, sub)
    assert (entry.actor, entry.because) == ("member:ada", "a new colleague")
    assert entry.token_id is not None
    assert entry.before == {"seats": {"voice": 5}}
    assert entry.after is not None
    assert entry.after["seats"] == {"voice": 6}
    assert entry.after["total_minor"] == done["total_minor"]


def test_another_organizations_preview_is_no_preview_here(
    api: Client, shop: Shop, sub: str
) -> None:
    seen = previewed(api, voice=7)
    shop.organization("org_2", base=1)
    other = "/organizations/org_2"
    api.post(f"{other}/seat-changes", preview_id=seen["id"]).problem(404, "not_found")
    api.get(f"{other}/previews/{seen['id']}").problem(404, "not_found")
    bound = api.with_token(a_token(shop.services, "billing", organization_id="org_2"))
    bound.post(f"{ORG}/seat-changes", preview_id=seen["id"]).problem(404, "not_found")
    assert shop.writes(sub) == 0


def test_a_save_needs_the_scope(api: Client, shop: Shop, sub: str) -> None:
    reader = api.with_token(a_token(shop.services, "read", "members"))
    reader.post(f"{ORG}/seat-changes/preview", quantities={"voice": 6}).problem(
        403, "scope_missing"
    )
