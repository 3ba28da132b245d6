"""Chapter: the three organizations buy, twelve days ago, and the service learns of it."""

from backoffice.demo import cast
from backoffice.demo.cast import AGENCY, COMPANIES, SHOP, WORKSPACE
from backoffice.demo.stage import Stage

DAYS_AGO = 12


def play(stage: Stage) -> None:
    """Customers, subscriptions, members; every seat known at the end."""
    stage.chapter("Three organizations buy, twelve days ago")
    buyer = stage.buyer
    buyer.days_ago(DAYS_AGO)
    for company in COMPANIES:
        stage.customers[company.id] = buyer.customer(company.name, f"billing@{company.id}.example")
    stage.subscriptions["agency"] = buyer.subscribe(
        stage.customers[AGENCY.id],
        {"agency_base_month": 3, "agency_voice_month": 5},
        {"organization_id": AGENCY.id},
    )
    for person in WORKSPACE.members[:2]:
        stage.subscriptions[person.id] = buyer.subscribe(
            stage.customers[WORKSPACE.id],
            {"workspace_pro_month": 1},
            {"organization_id": WORKSPACE.id, "member_id": person.id},
        )
    stage.subscriptions["shop"] = buyer.subscribe(
        stage.customers[SHOP.id], {"commerce_growth_month": 1}, {"organization_id": SHOP.id}
    )
    buyer.today()
    # The webhooks are there before the members are: those events wait for their organization.
    cast.enter(stage)
    stage.wait_until(
        "every subscription is known",
        lambda: stage.number("select count(*) from subscriptions") == len(stage.subscriptions),
    )
    stage.wait_for_calm()
    known = {
        seat_type: (quantity, in_stripe)
        for seat_type, quantity, in_stripe in stage.rows(
            "select seat_type, quantity, stripe_quantity from seats where subscription_id = :id",
            id=stage.subscriptions["agency"],
        )
    }
    stage.expect("the agency's quantities are known", known, {"base": (3, 3), "voice": (5, 5)})
