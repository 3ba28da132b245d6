"""A shop with included Admin and Sales Rep seats: from its trial to the invoices of two plans.

Growth includes three of each and costs 149.00 AUD a month, Scale seven and fifteen for 399.00. No
quantity of seats is ever written to Stripe. All of it over HTTP.
"""

import pytest

from tests.support.api import Reply
from tests.support.installation import DAY_S, START, Installation
from tests.support.story import Story, begun, refused

# Real processes on a machine that may be busy.
pytestmark = pytest.mark.timeout(400)


def test_a_shop_from_its_trial_to_the_invoice(here: Installation) -> None:
    kowhai = begun(here, "kowhai", "commerce_growth", trial=True)
    kowhai.invite("kim", role="owner").ok()
    kowhai.joins("kim")
    sub = subscribes(kowhai, "commerce_growth")

    a_trial_invites_nobody(kowhai, sub)
    each_pool_fills_by_itself(kowhai)
    only_the_owner_changes_roles(kowhai)
    ownership_is_passed_on(kowhai)
    a_larger_plan_has_room(kowhai, sub)
    beyond_the_largest_one_review_is_open(kowhai)
    large_usage_is_flagged_and_blocks_nothing(kowhai)

    assert kowhai.shop.writes(sub) == 0
    assert kowhai.listed("adjustments") == []


def subscribes(kowhai: Story, plan: str) -> str:
    """The plan's own price, with a trial of two weeks."""
    form = {
        "customer": kowhai.customer,
        "metadata[organization_id]": kowhai.id,
        "items[0][price]": fee(kowhai, plan),
        "trial_end": START + 14 * DAY_S,
    }
    sub = str(kowhai.here.sandbox.post("/v1/subscriptions", form)["id"])
    kowhai.here.settle_down()
    return sub


def a_trial_invites_nobody(kowhai: Story, sub: str) -> None:
    """It is refused before anything is counted, with an error of its own (C4)."""
    for role, said in (("admin", "Admin"), ("sales_rep", "Sales Rep")):
        trial = refused(kowhai.invite("lou", role=role, by="kim"), "trial_invites_blocked")
        assert trial["detail"] == f"{said} members cannot be added during the trial"

    # Two weeks later the trial ends with the first invoice, and the host application says so.
    kowhai.here.advance(START + 14 * DAY_S + 7200)
    kowhai.change(trial=False)
    (invoice,) = kowhai.shop.invoices(sub, "subscription_cycle")
    assert (invoice["total"], invoice["currency"], invoice["status"]) == (14900, "aud", "paid")


def each_pool_fills_by_itself(kowhai: Story) -> None:
    """The owner takes no seat, and an invite reserves none (C1, C2, C3, C5)."""
    for name in ("lou", "mia", "ned", "oli"):
        # Four invites for three seats: it is decided when they are accepted.
        kowhai.invite(name, role="admin", by="kim").ok()
    kowhai.joins("lou", "mia", "ned")
    is_full(kowhai.accept("oli"), "Admin")
    kowhai.invite("pia", role="sales_rep", by="kim").ok()
    kowhai.joins("pia")

    # Revoking the invite frees nothing; the invite was no seat.
    kowhai.do("revoke", "oli", by="kim").ok()
    assert active(kowhai) == (3, 1)
    refused(kowhai.preview(by="kim", quantities={"admin": 4}), "included")


def only_the_owner_changes_roles(kowhai: Story) -> None:
    """A change of role moves the member between the pools; a full one refuses it (C6)."""
    not_theirs = refused(becomes(kowhai, "pia", "admin", by="lou"), "not_allowed")
    assert not_theirs["detail"] == "Only the owner changes roles"
    is_full(becomes(kowhai, "pia", "admin", by="kim"), "Admin")
    becomes(kowhai, "ned", "sales_rep", by="kim").ok()
    assert active(kowhai) == (2, 2)
    becomes(kowhai, "pia", "admin", by="kim").ok()
    assert active(kowhai) == (3, 1)


def ownership_is_passed_on(kowhai: Story) -> None:
    """To an admin also when the pool is full; to a sales rep it needs a free Admin seat (C7)."""
    is_full(passes_ownership(kowhai, "kim", "ned"), "Admin")
    assert kowhai.member("kim") == ("owner", None, "active")

    passes_ownership(kowhai, "kim", "lou").ok()
    assert kowhai.member("lou") == ("owner", None, "active")
    assert kowhai.member("kim") == ("admin", "admin", "active")
    assert active(kowhai) == (3, 1)


def a_larger_plan_has_room(kowhai: Story, sub: str) -> None:
    """The shop upgrades to Scale in Stripe, and the host application says so (C1)."""
    (item,) = kowhai.here.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    kowhai.change(plan="commerce_scale")
    kowhai.here.sandbox.post(
        f"/v1/subscriptions/{sub}",
        {"items[0][id]": item["id"], "items[0][price]": fee(kowhai, "commerce_scale")},
    )
    kowhai.here.settle_down()
    assert kowhai.findings() == set()
    for name in ("quin", "rae", "sam", "tui"):
        kowhai.invite(name, role="admin", by="lou").ok()
    kowhai.joins("quin", "rae", "sam", "tui")
    assert active(kowhai)[0] == 7
    # Seven is the cap of every plan: the way out is no longer an upgrade.
    capped = refused(kowhai.invite("uma", role="admin", by="lou"), "hard_cap")
    assert capped["detail"] == "Admin seats are limited to 7 on every plan"
    assert capped["remedies"] == ["ask for an Enterprise plan"]
    # The next invoice is of the new plan, and of the rest of the month that it was used.
    renewal = kowhai.here.renew(sub)
    assert renewal["status"] == "paid"
    assert renewal["total"] > 39900


def beyond_the_largest_one_review_is_open(kowhai: Story) -> None:
    """An eighth admin comes with a merger: one review, told to the owner, until it is over (C8)."""
    kowhai.here.arrives_by_itself(kowhai.id, "uma", role="admin", seat_type="admin")
    assert kowhai.findings() == {"over_hard_cap"}
    (review,) = kowhai.listed("reviews", state="open")
    assert review["kind"] == "enterprise"
    assert kowhai.notices().count("review.opened") == 1

    kowhai.do("remove", "uma", by="lou").ok()
    kowhai.here.settle_down()
    assert kowhai.findings() == set()
    assert kowhai.listed("reviews", state="open") == []
    assert kowhai.notices().count("review.closed") == 1


def large_usage_is_flagged_and_blocks_nothing(kowhai: Story) -> None:
    """Two months of more than 2,500 orders are for a person to look at (C9)."""
    kowhai.uses("2026-05", orders=2501)
    assert kowhai.listed("reviews", state="open") == []
    kowhai.uses("2026-06", orders=2600)
    (flagged,) = kowhai.listed("reviews", state="open")
    assert flagged["kind"] == "usage"
    kowhai.invite("wim", role="sales_rep", by="lou").ok()
    kowhai.joins("wim")


def fee(kowhai: Story, plan: str) -> str:
    """Stripe's id of the plan's own monthly price."""
    prices = kowhai.shop.services.catalog.plan(plan).prices
    (found,) = (p for p in prices if (p.seat_type, p.interval) == (None, "month"))
    return str(found.id)


def becomes(kowhai: Story, member_id: str, role: str, *, by: str) -> Reply:
    """A member's role is changed by another member."""
    return kowhai.do("role", member_id, by=by, role=role)


def passes_ownership(kowhai: Story, owner: str, to: str) -> Reply:
    """The owner passes on the ownership."""
    return kowhai.ask(
        "/transfers", by=owner, kind="ownership", from_member_id=owner, to_member_id=to
    )


def is_full(reply: Reply, label: str) -> None:
    """The refusal names the pool and the ways out (C5)."""
    full = refused(reply, "seat_limit")
    assert full["detail"] == f"{label} seat limit reached"
    one = f"an {label}" if label == "Admin" else f"a {label}"
    assert full["remedies"] == [f"remove {one} member", "upgrade the plan"]


def active(kowhai: Story) -> tuple[int, int]:
    """Active admins and sales reps."""
    return kowhai.seats("admin")["active"], kowhai.seats("sales_rep")["active"]
