"""The calls themselves, on the sandbox: errors translated, pages read whole, the floor held."""

import pytest

from reconcile import errors
from reconcile.budget import Unbudgeted
from reconcile.stripe_api import FloorBroken, ItemUpdate, StripeApi, SubscriptionUpdate
from reconcile.stripe_errors import StoredFailure
from tests.support.shop import Shop

UPDATE = {"method": "POST", "path": "/v1/subscriptions/*"}


@pytest.fixture
def sub(shop: Shop) -> str:
    """A subscription of five Voice seats."""
    return shop.subscribe(shop.organization(), {"base": 1, "voice": 5})


@pytest.fixture
def api(shop: Shop) -> StripeApi:
    """The calls."""
    return shop.services.stripe


def raised_to(api: StripeApi, sub: str, quantity: int, *, floor: int = 0) -> SubscriptionUpdate:
    """An update of the Voice item."""
    items = {item.quantity: item.id for item in api.subscription(sub).items}
    return SubscriptionUpdate(
        items=(ItemUpdate(item_id=items[5], quantity=quantity, floor=floor),),
        proration_behavior="always_invoice",
        payment_behavior="error_if_incomplete",
    )


def test_the_floor_is_asserted_right_before_the_write(shop: Shop, api: StripeApi, sub: str) -> None:
    update = raised_to(api, sub, 4, floor=5)
    with pytest.raises(FloorBroken, match="4 seats for 5 active"):
        api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
    calls = shop.sandbox.observe("/calls")["calls"]
    assert not [
        c for c in calls if (c["method"], c["path"]) == ("POST", f"/v1/subscriptions/{sub}")
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit", errors.StripeRateLimited),
        ("lock_timeout", errors.StripeRateLimited),
        ("server_error", errors.OutcomeUnknown),
        ("timeout_before", errors.OutcomeUnknown),
        ("timeout_after", errors.OutcomeUnknown),
        ("permission", errors.StripeKeyRefused),
    ],
)
def test_the_errors_of_a_write(
    shop: Shop, api: StripeApi, sub: str, kind: str, expected: type[Exception]
) -> None:
    update = raised_to(api, sub, 6)
    shop.sandbox.control("/faults", {"kind": kind, **UPDATE})
    with pytest.raises(expected) as caught:
        api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
    assert type(caught.value) is expected
    assert "let us know" not in str(caught.value), "the SDK's makers are of no help at night"


def test_a_replayed_server_error_is_told_from_a_fresh_one(
    shop: Shop, api: StripeApi, sub: str
) -> None:
    update = raised_to(api, sub, 6)
    shop.sandbox.control("/faults", {"kind": "server_error", **UPDATE})
    for expected in (errors.OutcomeUnknown, StoredFailure):
        with pytest.raises(expected) as caught:
            api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
        assert type(caught.value) is expected


@pytest.mark.parametrize("kind", ["server_error", "timeout_before"])
def test_the_errors_of_a_read(shop: Shop, api: StripeApi, sub: str, kind: str) -> None:
    shop.sandbox.control("/faults", {"kind": kind, "method": "GET", "path": "/v1/subscriptions/*"})
    with pytest.raises(errors.StripeUnavailable):
        api.subscription(sub)
    assert api.subscription(sub).id == sub


def test_what_stripe_does_not_know_is_gone(api: StripeApi) -> None:
    with pytest.raises(errors.StripeGone) as caught:
        api.subscription("sub_nope")
    assert (caught.value.code, caught.value.http_status) == ("resource_missing", 404)
    assert caught.value.request_id


def test_a_refused_parameter_is_permanent(api: StripeApi) -> None:
    with pytest.raises(errors.StripeRejected) as caught:
        api.read("/v1/subscriptions", status="bogus")
    assert (caught.value.param, caught.value.http_status) == ("status", 400)


@pytest.mark.parametrize("card", ["declined", "missing"])
def test_a_declined_card_or_none_at_all_changes_nothing(
    shop: Shop, api: StripeApi, sub: str, card: str
) -> None:
    update = raised_to(api, sub, 6)
    customer = api.subscription(sub).customer_id
    if card == "declined":
        shop.sandbox.control("/declines", {"customer": customer, "code": "expired_card"})
    else:
        method = shop.sandbox.get(f"/v1/customers/{customer}")["invoice_settings"]
        shop.sandbox.post(f"/v1/payment_methods/{method['default_payment_method']}/detach")
    with pytest.raises(errors.CardDeclined) as caught:
        api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
    assert caught.value.code == ("expired_card" if card == "declined" else "no_payment_method")
    assert shop.quantities(sub)["voice"] == 5


def test_a_key_of_other_parameters_is_used_up(api: StripeApi, sub: str) -> None:
    for quantity, expected in ((6, None), (7, StoredFailure)):
        update = SubscriptionUpdate(
            items=(ItemUpdate(item_id=_voice(api, sub), quantity=quantity, floor=0),),
            proration_behavior="none",
        )
        if expected is None:
            api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
            continue
        with pytest.raises(expected):
            api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")


def _voice(api: StripeApi, sub: str) -> str:
    return max(api.subscription(sub).items, key=lambda item: item.quantity or 0).id


def test_an_invoice_of_many_lines_is_read_whole(shop: Shop, api: StripeApi, sub: str) -> None:
    customer = api.subscription(sub).customer_id
    for number in range(130):
        shop.sandbox.post(
            "/v1/invoiceitems",
            {"customer": customer, "subscription": sub, "amount": number, "currency": "usd"},
        )
    update = raised_to(api, sub, 6)
    assert api.preview(sub, update).total_minor == sum(range(130)) + 5000
    answer = api.update_subscription(sub, update, adjustment_id="adj_1", idempotency_key="k")
    assert answer.invoice is not None
    assert len(answer.invoice.lines) == 132
    assert sum(line.total_minor for line in answer.invoice.lines) == answer.invoice.total_minor
    assert answer.invoice.adjustment_id == "adj_1"


def test_every_call_takes_a_slot_of_the_budget(shop: Shop, sub: str) -> None:
    class Counting(Unbudgeted):
        def __init__(self) -> None:
            self.taken: list[str] = []

        def acquire(self, endpoint: str) -> None:
            self.taken.append(endpoint)

    budget = Counting()
    api = StripeApi(shop.services.settings, budget)
    api.subscription(sub)
    list(api.listed("/v1/prices", limit=5))
    prices = len(list(shop.services.catalog.prices()))
    assert budget.taken[0] == f"GET /v1/subscriptions/{sub}"
    assert len(budget.taken) == 1 + -(-prices // 5)


def test_pages_of_subscriptions_and_prices_by_lookup_key(shop: Shop, api: StripeApi) -> None:
    customer = shop.organization()
    made = [shop.subscribe(customer, {"base": 1}) for _ in range(5)]
    first = api.subscriptions_page(limit=3)
    second = api.subscriptions_page(first.last_id, limit=3)
    assert (first.has_more, second.has_more) == (True, False)
    assert [s.id for page in (first, second) for s in page.subscriptions()] == made[::-1]
    keys = [price.lookup_key or "" for price in shop.services.catalog.prices()]
    assert set(api.price_ids([*keys, "nobody_has_this"])) == set(keys)


def test_a_portal_session_has_a_url(shop: Shop, api: StripeApi) -> None:
    """B11."""
    customer = shop.organization()
    url = api.create_portal_session(customer, return_url="https://app.example/billing")
    assert url.startswith("http")
