"""The official SDK end to end: the flows a seat-billing service lives on, through StripeClient."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe

from tests.sandbox.client import KEY, Api, Box
from tests.sandbox.conformance import assert_conforms
from tests.sandbox.receiver import running_receiver

SEATS = 5
PRICE_MINOR = 2000


@pytest.fixture
def sdk(box: Box) -> Iterator[stripe.StripeClient]:
    """The SDK on its own transport, with every answer judged on its way in."""
    with requests.Session() as session:
        session.hooks["response"].append(lambda answer, **_: assert_conforms(answer.json()))
        yield stripe.StripeClient(
            KEY,
            base_addresses={"api": box.url},
            http_client=stripe.RequestsClient(session=session),
        )


def buy(
    sdk: stripe.StripeClient, quantity: int = SEATS, token: str = "pm_card_visa"
) -> stripe.Subscription:
    """A customer with a card and a monthly subscription."""
    customer = sdk.v1.customers.create(
        {
            "email": "buyer@example.com",
            "payment_method": token,
            "invoice_settings": {"default_payment_method": token},
        }
    )
    product = sdk.v1.products.create({"name": "Base seat"})
    price = sdk.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": PRICE_MINOR,
            "recurring": {"interval": "month"},
        }
    )
    return sdk.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id, "quantity": quantity}]}
    )


def quantity_of(subscription: stripe.Subscription) -> int | None:
    quantity: int | None = subscription["items"].data[0].quantity
    return quantity


def raise_to(
    sdk: stripe.StripeClient, subscription: stripe.Subscription, quantity: int, **more: Any
) -> stripe.Subscription:
    item = subscription["items"].data[0].id
    params: Any = {"items": [{"id": item, "quantity": quantity}], **more}
    return sdk.v1.subscriptions.update(subscription.id, params)


def test_a_purchase_is_charged_at_once(sdk: stripe.StripeClient) -> None:
    bought = buy(sdk)
    assert (bought.status, quantity_of(bought)) == ("active", SEATS)
    assert bought.billing_mode.type == "flexible"
    invoice = sdk.v1.invoices.retrieve(str(bought.latest_invoice))
    assert (invoice.status, invoice.amount_paid) == ("paid", SEATS * PRICE_MINOR)
    assert invoice.billing_reason == "subscription_create"


def test_the_invoice_of_a_raise_equals_its_preview(sdk: stripe.StripeClient, box: Box) -> None:
    bought = buy(sdk)
    item = bought["items"].data[0]
    at = item.current_period_start + (item.current_period_end - item.current_period_start) // 3
    preview = sdk.v1.invoices.create_preview(
        {
            "subscription": bought.id,
            "subscription_details": {
                "items": [{"id": item.id, "quantity": SEATS + 2}],
                "proration_behavior": "always_invoice",
                "proration_date": at,
            },
        }
    )
    raised = raise_to(
        sdk, bought, SEATS + 2, proration_behavior="always_invoice", proration_date=at
    )
    invoice = sdk.v1.invoices.retrieve(str(raised.latest_invoice))
    assert quantity_of(raised) == SEATS + 2
    assert (invoice.total, invoice.billing_reason) == (preview.total, "subscription_update")
    assert sorted(line.amount for line in invoice.lines) == sorted(
        line.amount for line in preview.lines
    )
    # Two thirds of the whole item at 5 and at 7 seats, each rounded for itself.
    assert sorted(line.amount for line in invoice.lines) == [-6667, 9333]
    for line in invoice.lines:
        assert line.parent is not None
        assert line.parent.subscription_item_details is not None
        assert line.parent.subscription_item_details.proration is True


def test_a_long_preview_can_be_read_to_its_end(sdk: stripe.StripeClient) -> None:
    bought = buy(sdk)
    for quantity in range(SEATS + 1, SEATS + 9):
        raise_to(sdk, bought, quantity, proration_behavior="create_prorations")
    preview = sdk.v1.invoices.create_preview({"subscription": bought.id})
    assert (len(preview.lines.data), preview.lines.has_more) == (10, True)
    lines = list(preview.lines.auto_paging_iter())
    assert len(lines) == 17  # eight credits, eight debits, and the renewal itself
    assert sum(line.amount for line in lines) == preview.subtotal
    with pytest.raises(stripe.InvalidRequestError):
        sdk.v1.invoices.retrieve(preview.id)


def test_a_declined_raise_changes_nothing(sdk: stripe.StripeClient, api: Api) -> None:
    bought = buy(sdk)
    body = {"customer": bought.customer, "code": "insufficient_funds"}
    api.control("POST", "declines", body)
    with pytest.raises(stripe.CardError) as raised:
        raise_to(
            sdk,
            bought,
            SEATS + 1,
            proration_behavior="always_invoice",
            payment_behavior="error_if_incomplete",
        )
    assert raised.value.http_status == 402
    assert raised.value.code == "card_declined"
    again = sdk.v1.subscriptions.retrieve(bought.id)
    assert (quantity_of(again), again.latest_invoice) == (SEATS, bought.latest_invoice)
    pending = raise_to(
        sdk,
        bought,
        SEATS + 1,
        proration_behavior="always_invoice",
        payment_behavior="pending_if_incomplete",
    )
    assert quantity_of(pending) == SEATS
    assert pending.pending_update is not None


def test_expansion_gives_objects_instead_of_ids(sdk: stripe.StripeClient) -> None:
    bought = buy(sdk)
    found = sdk.v1.subscriptions.retrieve(
        bought.id, {"expand": ["customer", "latest_invoice", "items.data.price.product"]}
    )
    assert isinstance(found.customer, stripe.Customer)
    assert isinstance(found.latest_invoice, stripe.Invoice)
    product = found["items"].data[0].price.product
    assert isinstance(product, stripe.Product)
    assert product.name == "Base seat"


def test_auto_pagination_sees_every_subscription_once(sdk: stripe.StripeClient) -> None:
    first = buy(sdk)
    price = first["items"].data[0].price.id
    made = {first.id}
    for _ in range(24):
        made.add(
            sdk.v1.subscriptions.create(
                {"customer": str(first.customer), "items": [{"price": price}]}
            ).id
        )
    seen = [one.id for one in sdk.v1.subscriptions.list({"limit": 10}).auto_paging_iter()]
    assert len(seen) == 25
    assert set(seen) == made
    events = sdk.v1.events.list({"type": "customer.subscription.created", "limit": 7})
    assert len(list(events.auto_paging_iter())) == 25


def test_a_quantity_change_arrives_as_a_signed_event(sdk: stripe.StripeClient, box: Box) -> None:
    bought = buy(sdk)
    with running_receiver() as receiver:
        endpoint = sdk.v1.webhook_endpoints.create(
            {"url": receiver.url, "enabled_events": ["customer.subscription.updated"]}
        )
        raise_to(sdk, bought, SEATS + 3)
        (came,) = receiver.wait_for(1)
        event = sdk.construct_event(came.body, came.signature, str(endpoint.secret))
        sdk.v1.webhook_endpoints.delete(endpoint.id)
    assert event.type == "customer.subscription.updated"
    data: Any = came.event["data"]
    assert data["object"]["items"]["data"][0]["quantity"] == SEATS + 3
    assert data["previous_attributes"]["items"]["data"][0]["quantity"] == SEATS
    assert data["previous_attributes"]["quantity"] == SEATS
    thin = sdk.v2.core.events.list({"object_id": bought.id})
    assert "v1.customer.subscription.item_quantity_changed" in [one.type for one in thin.data]


def test_a_year_of_renewals_on_a_test_clock(sdk: stripe.StripeClient) -> None:
    start = 1767225600  # 2026-01-01
    clock = sdk.v1.test_helpers.test_clocks.create({"frozen_time": start})
    customer = sdk.v1.customers.create({"test_clock": clock.id})
    card = sdk.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    sdk.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card.id}})
    product = sdk.v1.products.create({"name": "Base seat"})
    price = sdk.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": PRICE_MINOR,
            "recurring": {"interval": "month"},
        }
    )
    bought = sdk.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id, "quantity": SEATS}]}
    )
    for month in (1, 2):
        sdk.v1.test_helpers.test_clocks.advance(
            clock.id, {"frozen_time": start + month * 31 * 86400}
        )
    invoices = sdk.v1.invoices.list({"subscription": bought.id})
    assert [invoice.billing_reason for invoice in invoices.data] == [
        "subscription_cycle",
        "subscription_cycle",
        "subscription_create",
    ]
    renewed = sdk.v1.subscriptions.retrieve(bought.id)
    assert renewed["items"].data[0].current_period_start == 1772323200  # 2026-03-01


def test_cancellation_at_the_end_of_the_period_and_at_once(sdk: stripe.StripeClient) -> None:
    bought = buy(sdk)
    leaving = sdk.v1.subscriptions.update(bought.id, {"cancel_at_period_end": True})
    assert leaving.cancel_at == leaving["items"].data[0].current_period_end
    gone = sdk.v1.subscriptions.cancel(bought.id)
    assert gone.status == "canceled"
    assert sdk.v1.subscriptions.list().data == []
    assert [one.id for one in sdk.v1.subscriptions.list({"status": "canceled"}).data] == [gone.id]


def test_a_portal_session_and_its_configuration(sdk: stripe.StripeClient) -> None:
    bought = buy(sdk)
    configuration = sdk.v1.billing_portal.configurations.create(
        {"features": {"invoice_history": {"enabled": True}}}
    )
    session = sdk.v1.billing_portal.sessions.create(
        {"customer": str(bought.customer), "configuration": configuration.id}
    )
    assert session.url.startswith("http")
    assert configuration.features.subscription_update.enabled is False
