"""A shop with included Admin and Sales Rep seats: from its trial to the invoices of two plans.

Growth includes three of each and costs 149.00 AUD a month, Scale seven and fifteen for 399.00. No
quantity of seats is ever written to Stripe.
"""

from sqlalchemy import select

from reconcile.actor import Actor
from reconcile.members import inviting, membership
from reconcile.members.joining import Done, Outcome
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Refuse
from reconcile.tables import findings
from tests.support.shop import Shop
from tests.support.story import DAY_S, ORGANIZATION, START, Story, begun, refusal

HOST, KIM = Actor("token:host"), Actor("member:kim")


def test_a_shop_from_its_trial_to_the_invoice(shop: Shop) -> None:
    kowhai = begun(shop, "commerce_growth")
    kowhai.enter("kim", role="owner", seat_type=None)
    sub = subscribes(kowhai, "commerce_growth")

    a_trial_invites_nobody(kowhai, sub)
    each_pool_fills_by_itself(kowhai)
    only_the_owner_changes_roles(kowhai)
    ownership_is_passed_on(kowhai)
    a_larger_plan_has_room(kowhai, sub)
    beyond_the_largest_one_review_is_open(kowhai)

    assert shop.writes(sub) == 0
    assert shop.adjustments(sub) == ()


def subscribes(kowhai: Story, plan: str) -> str:
    """The plan's own price, with a trial of two weeks."""
    form = {
        "customer": kowhai.customer,
        "metadata[organization_id]": ORGANIZATION,
        "items[0][price]": fee(kowhai, plan),
        "trial_end": START + 14 * DAY_S,
    }
    sub = str(kowhai.shop.sandbox.post("/v1/subscriptions", form)["id"])
    kowhai.shop.settle(sub)
    return sub


def a_trial_invites_nobody(kowhai: Story, sub: str) -> None:
    """It is refused before anything is counted, with an error of its own (C4)."""
    kowhai.change(trial=True)
    for role, said in (("admin", "Admin"), ("sales_rep", "Sales Rep")):
        refused = invites(kowhai, role)
        assert refused.code == "trial_invites_blocked"
        assert refused.message == f"{said} members cannot be added during the trial"

    # Two weeks later the trial ends with the first invoice.
    kowhai.advance(START + 14 * DAY_S + 7200)
    kowhai.shop.settle(sub)
    kowhai.change(trial=False)
    (invoice,) = kowhai.shop.invoices(sub, "subscription_cycle")
    assert (invoice["total"], invoice["currency"], invoice["status"]) == (14900, "aud", "paid")


def each_pool_fills_by_itself(kowhai: Story) -> None:
    """The owner takes no seat, and an invite reserves none (C1, C2, C3, C5)."""
    for name in ("lou", "mia", "ned", "oli"):
        # Four invites for three seats: it is decided when they are accepted.
        kowhai.invite(name, role="admin", seat_type="admin")
    kowhai.joins("lou", "mia", "ned")
    assert is_full(kowhai.join("oli"), "Admin")
    kowhai.invite("pia", role="sales_rep", seat_type="sales_rep")
    kowhai.joins("pia")

    # Revoking the invite frees nothing; the invite was no seat.
    membership.remove(kowhai.shop.services, ORGANIZATION, "oli", actor=KIM)
    assert (kowhai.active("admin"), kowhai.active("sales_rep")) == (3, 1)
    assert kowhai.ask_in_vain(Wanted(quantities={"admin": 4})).code == "included"


def only_the_owner_changes_roles(kowhai: Story) -> None:
    """A change of role moves the member between the pools; a full one refuses it (C6)."""
    refused = refusal(becomes(kowhai, "pia", "admin", by="lou"))
    assert refused.message == "Only the owner changes roles"
    assert is_full(becomes(kowhai, "pia", "admin", by="kim"), "Admin")
    assert isinstance(becomes(kowhai, "ned", "sales_rep", by="kim"), Done)
    assert (kowhai.active("admin"), kowhai.active("sales_rep")) == (2, 2)
    assert isinstance(becomes(kowhai, "pia", "admin", by="kim"), Done)
    assert (kowhai.active("admin"), kowhai.active("sales_rep")) == (3, 1)


def ownership_is_passed_on(kowhai: Story) -> None:
    """To an admin also when the pool is full; to a sales rep it needs a free Admin seat (C7)."""
    services = kowhai.shop.services
    to_rep = membership.transfer_ownership(services, ORGANIZATION, "kim", "ned", actor=KIM)
    assert is_full(to_rep, "Admin")
    assert kowhai.standing_of("kim") == ("owner", None, "active")

    to_admin = membership.transfer_ownership(services, ORGANIZATION, "kim", "lou", actor=KIM)
    assert isinstance(to_admin, Done)
    assert kowhai.standing_of("lou") == ("owner", None, "active")
    assert kowhai.standing_of("kim") == ("admin", "admin", "active")
    assert kowhai.active("admin") == 3


def a_larger_plan_has_room(kowhai: Story, sub: str) -> None:
    """The shop upgrades to Scale in Stripe, and the host application says so (C1)."""
    (item,) = kowhai.shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    kowhai.shop.sandbox.post(
        f"/v1/subscriptions/{sub}",
        {"items[0][id]": item["id"], "items[0][price]": fee(kowhai, "commerce_scale")},
    )
    kowhai.change(plan="commerce_scale")
    kowhai.shop.settle(sub)
    assert kowhai.shop.findings(sub) == set()
    for name in ("quin", "rae", "sam", "tui"):
        kowhai.invite(name, role="admin", seat_type="admin")
    kowhai.joins("quin", "rae", "sam", "tui")
    assert kowhai.active("admin") == 7
    # Seven is the cap of every plan: the way out is no longer an upgrade.
    refused = invites(kowhai, "admin")
    assert refused.message == "Admin seats are limited to 7 on every plan"
    assert refused.remedies == ("ask for an Enterprise plan",)
    # The next invoice is of the new plan, and of the rest of the month that it was used.
    renewal = kowhai.renew(sub)
    assert renewal["status"] == "paid"
    assert renewal["total"] > 39900


def beyond_the_largest_one_review_is_open(kowhai: Story) -> None:
    """An eighth admin comes with a merger: one review, told to the owner, until it is over (C8)."""
    kowhai.enter("uma", role="admin", seat_type="admin")
    for opened in (1, 0):  # looked at twice, opened once
        assert kowhai.look().opened == opened
    assert kowhai.shop.findings(None) == {"over_hard_cap"}
    (review,) = reviews(kowhai)
    assert review["notify"] == "owner"
    assert (review["active"], review["hard_cap"]) == (8, 7)

    assert isinstance(
        membership.remove(kowhai.shop.services, ORGANIZATION, "uma", actor=Actor("member:lou")),
        Done,
    )
    assert kowhai.look().closed == 1
    assert kowhai.shop.findings(None) == set()
    assert len(reviews(kowhai)) == 1


def fee(kowhai: Story, plan: str) -> str:
    """Stripe's id of the plan's own monthly price."""
    prices = kowhai.shop.services.catalog.plan(plan).prices
    (found,) = (p for p in prices if (p.seat_type, p.interval) == (None, "month"))
    return str(found.id)


def invites(kowhai: Story, role: str) -> Refuse:
    """Why an invite for the role is not sent."""
    services = kowhai.shop.services
    return refusal(inviting.invite(services, ORGANIZATION, "vic", role=role, actor=HOST))


def becomes(kowhai: Story, member_id: str, role: str, *, by: str) -> Outcome:
    """A member's role is changed by another member."""
    services, actor = kowhai.shop.services, Actor(f"member:{by}")
    return membership.change_role(services, ORGANIZATION, member_id, role=role, actor=actor)


def is_full(outcome: Outcome, label: str) -> bool:
    """The refusal names the pool and the ways out (C5)."""
    refused = refusal(outcome)
    assert refused.message == f"{label} seat limit reached"
    return refused.remedies == (f"remove a {label} member", "upgrade the plan")


def reviews(kowhai: Story) -> list[dict[str, object]]:
    """What every review of the organization says, open or closed."""
    with kowhai.shop.services.sessions() as session:
        rows = select(findings.c.detail).where(findings.c.kind == "over_hard_cap")
        return list(session.scalars(rows))
