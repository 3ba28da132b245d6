"""Chapter: three organizations of three products buy, twelve days ago."""

from backoffice.demo import cast
from backoffice.demo.cast import AGENCY, COMPANIES, SHOP, WORKSPACE
from backoffice.demo.stage import Stage

DAYS_AGO = 12


def play(stage: Stage) -> None:
    """Customers, organizations, subscriptions, first members; every seat known at the end."""
    stage.chapter("Three products in one installation: everybody buys, twelve days ago")
    for company in COMPANIES:
        stage.say(f"{company.name}: {company.about}")
    stage.buyer.days_ago(DAYS_AGO)
    for company in COMPANIES:
        _signs_up(stage, company.id, company.name, company.plan)
    _buy(stage)
    stage.buyer.today()
    stage.wait_for_calm()
    for company in COMPANIES:
        cast.arrives(stage, company, *company.people)
        cast.enters(stage, company, *(person.id for person in company.people))
    stage.wait_for_calm()
    seats = stage.host.get(AGENCY.path)["seats"]
    known = {seat["seat_type"]: (seat["bought"], seat["active"], seat["free"]) for seat in seats}
    stage.expect("Harbour's seats are known", known, {"base": (3, 2, 1), "voice": (5, 2, 3)})


def _signs_up(stage: Stage, company_id: str, name: str, plan: str) -> None:
    customer = stage.buyer.customer(name, f"billing@{company_id}.example")
    stage.customers[company_id] = customer
    made = stage.host.ask(
        "/organizations", id=company_id, name=name, plan=plan, stripe_customer_id=customer
    )
    if not made.ok:
        stage.expect(f"{name} is made", made.said, "")


def _buy(stage: Stage) -> None:
    """On Stripe's pages: the webhooks tell of it."""
    buyer = stage.buyer
    stage.subscriptions["agency"] = buyer.subscribe(
        stage.customers[AGENCY.id],
        {"agency_base_month": 3, "agency_voice_month": 5},
        {"organization_id": AGENCY.id},
    )
    for person in WORKSPACE.people:
        stage.subscriptions[person.id] = buyer.subscribe(
            stage.customers[WORKSPACE.id],
            {"workspace_pro_month": 1},
            {"organization_id": WORKSPACE.id, "member_id": person.id},
        )
    stage.subscriptions["shop"] = buyer.subscribe(
        stage.customers[SHOP.id], {"commerce_growth_month": 1}, {"organization_id": SHOP.id}
    )
