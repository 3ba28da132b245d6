"""Every trigger ends in settle: what each plan and each standing of a subscription comes to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from reconcile.budget import Unbudgeted
from reconcile.database import exclusive
from reconcile.errors import Busy
from reconcile.seeing import snapshot_of
from reconcile.settings import STRIPE_API_VERSION
from reconcile.settling.beside import OrganizationMissing
from reconcile.settling.organizations import settle_customer, settle_organization
from reconcile.store import subscriptions
from reconcile.stripe_api import StripeApi
from reconcile.stripe_shapes import StripeInvoice
from tests.support.roster import add_member, add_organization
from tests.support.shop import Shop, moment


def short_of_seats(shop: Shop) -> tuple[str, str]:
    """A customer and a subscription with two Voice seats fewer than active members."""
    customer = shop.organization(base=2, voice=5)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    return customer, sub


def test_a_declined_card_changes_nothing_and_is_not_tried_again_by_every_event(
    shop: Shop,
) -> None:
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 5)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    settled = shop.settle(sub)
    (refused,) = shop.adjustments(sub)
    assert (refused.state, refused.error_code) == ("refused", "insufficient_funds")
    assert "declined (insufficient_funds); nothing was changed" in settled.line
    assert shop.quantities(sub) == {"member": 3}
    assert shop.invoices(sub, "subscription_update") == []
    assert shop.findings(sub) == {"payment_declined"}
    assert "not tried again yet" in shop.settle(sub).line
    assert shop.writes(sub) == 1
    # A new card: the customer changed, so it is tried at once, as an adjustment of its own.
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    settle_customer(shop.services, customer, trigger="evt_card")
    assert [a.state for a in shop.adjustments(sub)] == ["refused", "applied"]
    assert shop.findings(sub) == set()
    assert len(shop.invoices(sub, "subscription_update")) == 1


def test_a_customer_that_changes_all_day_is_not_a_try_on_the_card_each_time(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 5)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    for _ in range(7):
        settle_customer(shop.services, customer, trigger="evt_crm")
    assert [a.state for a in shop.adjustments(sub)] == ["refused"] * 4
    assert shop.writes(sub) == 4


def test_a_raise_takes_three_calls_of_stripe(shop: Shop) -> None:
    _, sub = short_of_seats(shop)
    shop.sandbox._answer("DELETE", "/_sandbox/calls")
    shop.settle(sub)
    calls = shop.sandbox.observe("/calls")["calls"]
    assert [(call["method"], call["path"].rpartition("/")[2]) for call in calls] == [
        ("GET", sub),
        ("POST", "create_preview"),
        ("POST", sub),
    ]


def test_a_dry_run_says_what_it_would_charge_and_writes_nothing(shop: Shop) -> None:
    _, sub = short_of_seats(shop)
    settled = shop.settle(sub, writes=False)
    assert settled.line.startswith("would: raise Voice back 3 -> 5")
    assert settled.would is not None
    assert settled.would[0] == "usd"
    assert shop.writes(sub) == 0
    assert shop.adjustments(sub) == ()
    assert shop.findings(sub) == {"stripe_below_floor"}


def test_seats_added_in_the_dashboard_are_adopted(shop: Shop) -> None:
    customer = shop.organization(voice=5)
    sub = shop.subscribe(customer, {"base": 1, "voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 8)
    assert shop.settle(sub, writes=False).verdict is not None
    assert shop.seats(sub)["voice"].quantity == 5
    shop.settle(sub)
    assert shop.seats(sub)["voice"].quantity == 8
    assert shop.writes(sub) == 0
    assert shop.findings(sub) == {"stripe_quantity_changed"}
    shop.settle(sub)
    assert shop.findings(sub) == set()


def test_a_trial_is_raised_without_charge_and_keeps_its_end(shop: Shop) -> None:
    customer = shop.organization(voice=5)
    sub = shop.subscribe(customer, {"base": 1, "voice": 5}, trial_period_days=14)
    before = shop.sandbox.get(f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    shop.settle(sub)
    after = shop.sandbox.get(f"/v1/subscriptions/{sub}")
    assert shop.quantities(sub)["voice"] == 5
    assert after["trial_end"] == before["trial_end"]
    (adjustment,) = shop.adjustments(sub)
    assert adjustment.proration_behavior == "none"
    assert shop.invoices(sub, "subscription_update") == []


def test_a_following_plan_is_raised_at_once(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 7)
    shop.settle(sub)
    assert shop.quantities(sub) == {"member": 7}
    assert len(shop.invoices(sub, "subscription_update")) == 1
    assert shop.findings(sub) == set()


def test_a_following_plan_is_lowered_in_the_last_hour_of_its_period(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    assert "at renewal" in shop.settle(sub).line
    assert shop.quantities(sub) == {"member": 5}
    assert shop.writes(sub) == 0
    end = moment(
        shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"][0]["current_period_end"]
    )
    shop.at(end - timedelta(minutes=50)).settle(sub)
    assert shop.quantities(sub) == {"member": 3}
    (adjustment,) = shop.adjustments(sub)
    assert adjustment.proration_behavior == "none"
    assert shop.invoices(sub, "subscription_update") == []


def test_a_contract_is_never_written_by_itself(shop: Shop) -> None:
    customer = shop.organization(plan="workspace_business", pro=6)
    sub = shop.subscribe(customer, {"pro": 5}, plan="workspace_business")
    shop.settle(sub)
    assert shop.findings(sub) == {"contract_overage"}
    shop.edit(sub, "pro", 8)
    shop.settle(sub)
    assert shop.writes(sub) == 0
    assert "contract_drift" in shop.findings(sub)


def test_an_own_seat_without_its_member_and_a_member_without_a_seat(shop: Shop) -> None:
    customer = shop.organization(plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        for member, status in (("ann", "active"), ("bob", "blocked"), ("cy", "active")):
            add_member(session, "org_1", member, seat_type="pro", status=status)
    subs = {
        member: shop.subscribe(
            customer, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": member}
        )
        for member in ("ann", "bob")
    }
    for sub in subs.values():
        shop.settle(sub)
    assert shop.findings(subs["ann"]) == set()
    assert shop.findings(subs["bob"]) == {"seat_without_member"}
    assert shop.findings(None) == {"member_without_seat"}
    assert all(shop.writes(sub) == 0 for sub in subs.values())


def test_an_included_plan_writes_nothing_and_opens_one_review_over_the_cap(shop: Shop) -> None:
    shop.organization(plan="commerce_scale", admin=8, sales_rep=3)
    settled = settle_organization(shop.services, "org_1", trigger="test")
    assert settled.opened == 1
    assert shop.findings(None) == {"over_hard_cap"}
    assert settle_organization(shop.services, "org_1", trigger="test").opened == 0
    shop.activate("org_1", "admin", 7)
    assert settle_organization(shop.services, "org_1", trigger="test").closed == 1


def test_what_a_schedule_drives_is_left_to_the_schedule(shop: Shop) -> None:
    """any.schedule."""
    _, sub = short_of_seats(shop)
    shop.sandbox.post("/v1/subscription_schedules", {"from_subscription": sub})
    shop.settle(sub)
    assert shop.writes(sub) == 0
    assert shop.findings(sub) == {"schedule_blocks_change", "stripe_below_floor"}


def test_a_sudden_zero_writes_nothing(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 0)
    shop.settle(sub)
    assert shop.writes(sub) == 0
    assert shop.findings(sub) == {"counts_suddenly_zero"}


def test_an_unknown_payer_waits_for_the_import(shop: Shop) -> None:
    customer = shop.organization("org_other")
    sub = shop.subscribe(customer, {"voice": 2}, organization_id="org_late")
    with pytest.raises(OrganizationMissing):
        shop.settle(sub)
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_late")
    shop.activate("org_late", "voice", 1)
    shop.settle(sub)
    assert shop.seats(sub)["voice"].quantity == 2
    assert shop.findings(sub, "org_late") == set()


def test_what_is_not_about_seats_is_left_alone(shop: Shop) -> None:
    customer = shop.organization()
    form = {"customer": customer, "items[0][price]": shop.stickers()}
    sub = shop.sandbox.post("/v1/subscriptions", form)["id"]
    assert shop.settle(sub).line == "no seats of ours are on it"


def test_a_canceled_subscription_leaves_a_tombstone(shop: Shop) -> None:
    customer = shop.organization(voice=2)
    sub = shop.subscribe(customer, {"voice": 2, "base": 1})
    shop.settle(sub)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    assert shop.findings(sub) == {"active_without_subscription"}
    with shop.services.sessions() as session:
        held = subscriptions.held(session, sub)
    assert held is not None
    assert held.deleted_at is not None


def event_body(raw: dict[str, Any]) -> bytes:
    """An event's body as the inbox stores it."""
    return orjson.dumps({"id": "evt_1", "data": {"object": raw}})


def test_a_newer_snapshot_is_believed_but_never_written_from(shop: Shop) -> None:
    customer = shop.organization(voice=5)
    sub = shop.subscribe(customer, {"base": 1, "voice": 5})
    shop.settle(sub)
    raw = shop.sandbox.get(f"/v1/subscriptions/{sub}")
    created = shop.services.clock() + timedelta(minutes=1)
    shop.sandbox._answer("DELETE", "/_sandbox/calls")
    agreeing = snapshot_of(event_body(raw), STRIPE_API_VERSION, created)
    shop.settle(sub, snapshot=agreeing)
    assert shop.sandbox.observe("/calls")["total"] == 0
    # It tells of three seats, Stripe still has five: asked before the write, nothing is written.
    next(i for i in raw["items"]["data"] if "voice" in i["price"]["lookup_key"])["quantity"] = 3
    later = snapshot_of(event_body(raw), STRIPE_API_VERSION, created + timedelta(minutes=1))
    assert later is not None
    shop.settle(sub, snapshot=later)
    assert shop.writes(sub) == 0
    assert shop.findings(sub) == set()


def test_a_snapshot_on_its_way_during_our_write_is_waited_out(shop: Shop) -> None:
    _, sub = short_of_seats(shop)
    raw = shop.sandbox.get(f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    created = shop.services.clock() + timedelta(minutes=1)
    before = snapshot_of(event_body(raw), STRIPE_API_VERSION, created)
    settled = shop.settle(sub, snapshot=before)
    assert settled.again_at is not None
    assert settled.line == "our last write is settling"
    assert shop.findings(sub) == set()
    assert shop.writes(sub) == 1
    # What is still told after it is looked into.
    window = timedelta(seconds=shop.services.settings.settling_window_s)
    later = shop.at(shop.services.clock() + window)
    told = snapshot_of(event_body(raw), STRIPE_API_VERSION, created + timedelta(minutes=1))
    assert later.settle(sub, snapshot=told).again_at is None
    assert shop.writes(sub) == 1


@pytest.mark.parametrize("version", ["2020-08-27", "2024-06-20", None])
def test_a_snapshot_of_another_version_is_only_a_hint(shop: Shop, version: str | None) -> None:
    customer = shop.organization(voice=5)
    sub = shop.subscribe(customer, {"base": 1, "voice": 5})
    shop.settle(sub)
    raw = shop.sandbox.get(f"/v1/subscriptions/{sub}")
    created = shop.services.clock() + timedelta(minutes=1)
    shop.sandbox._answer("DELETE", "/_sandbox/calls")
    shop.settle(sub, snapshot=snapshot_of(event_body(raw), version, created))
    assert shop.sandbox.observe("/calls")["total"] == 1


def test_an_organization_settles_each_of_its_subscriptions_under_its_own_lock(
    shop: Shop,
) -> None:
    _, sub = short_of_seats(shop)
    with exclusive(shop.services.engine, f"sub:{sub}"), pytest.raises(Busy):
        settle_organization(shop.services, "org_1", trigger="test")
    assert shop.writes(sub) == 0
    settled = settle_organization(shop.services, "org_1", trigger="test")
    assert settled.adjustment_id
    assert "no quantity is written" not in settled.line
    assert shop.quantities(sub)["voice"] == 5


def test_stripes_limits_are_left_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconcile.adjustments.spacing.CHARGES_A_DAY", 1)
    _, sub = short_of_seats(shop)
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    settled = shop.settle(sub)
    assert settled.again_at is not None
    assert settled.again_at > shop.services.clock() + timedelta(hours=23)
    assert shop.writes(sub) == 1


def test_two_live_subscriptions_are_written_by_nobody(shop: Shop) -> None:
    customer, sub = short_of_seats(shop)
    second = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(second)
    shop.settle(sub)
    assert shop.writes(sub) == shop.writes(second) == 0
    assert "several_subscriptions" in shop.findings(sub)
    assert "several_subscriptions" in shop.findings(second)


def test_someone_activated_between_the_decision_and_its_record(shop: Shop) -> None:
    """A reduction is checked under the lock that activations take; then it is decided again."""
    shop = shop.with_plan("team", follow_lowers="now")
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)

    class Meanwhile(StripeApi):
        def preview(self, *args: Any) -> StripeInvoice:
            shop.activate("org_1", "member", 4)
            return super().preview(*args)

    api = Meanwhile(shop.services.settings, Unbudgeted())
    slow = replace(shop, services=replace(shop.services, stripe=api))
    slow.settle(sub)
    assert shop.quantities(sub) == {"member": 4}
    assert [a.state for a in shop.adjustments(sub)] == ["applied"]
    assert shop.findings(sub) == set()


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"cancel_at_period_end": "true"}, {"canceling_below_active", "stripe_below_floor"}),
        ({"pause_collection[behavior]": "void"}, {"collection_paused", "stripe_below_floor"}),
    ],
)
def test_what_is_ending_or_paused_is_told_and_not_written(
    shop: Shop, edit: dict[str, str], expected: set[str]
) -> None:
    _, sub = short_of_seats(shop)
    shop.sandbox.post(f"/v1/subscriptions/{sub}", edit)
    shop.settle(sub)
    assert shop.writes(sub) == 0
    assert "stripe_below_floor" in shop.findings(sub)
    assert shop.findings(sub) <= expected


def test_an_item_that_is_taken_out_while_we_write(shop: Shop) -> None:
    _, sub = short_of_seats(shop)
    item = shop.seats(sub)["voice"].item_id

    class Meanwhile(StripeApi):
        def preview(self, *args: Any) -> StripeInvoice:
            found = super().preview(*args)
            shop.sandbox._answer("DELETE", f"/v1/subscription_items/{item}")
            return found

    api = Meanwhile(shop.services.settings, Unbudgeted())
    replace(shop, services=replace(shop.services, stripe=api)).settle(sub)
    assert [a.state for a in shop.adjustments(sub)] == ["failed"]
    assert shop.findings(sub) == {"item_missing"}
    assert shop.quantities(sub) == {"base": 2}
