"""The portal's configuration: what it lets customers do is what was asked for, and no more."""

from typing import Any

from tests.sandbox.client import Api

CONFIGURATIONS = "/v1/billing_portal/configurations"
SESSIONS = "/v1/billing_portal/sessions"


def quantity_editable(api: Api, **more: Any) -> dict[str, Any]:
    update = {"enabled": True, "default_allowed_updates": ["quantity"]}
    return api.post(CONFIGURATIONS, {"features": {"subscription_update": update}, **more})


def test_what_is_not_asked_for_is_off(api: Api) -> None:
    made = api.post(CONFIGURATIONS, {"features": {"invoice_history": {"enabled": True}}})
    features = made["features"]
    assert features.pop("invoice_history") == {"enabled": True}
    assert not any(feature["enabled"] for feature in features.values())
    assert (made["is_default"], made["active"]) == (False, True)


def test_a_quantity_that_customers_may_edit_shows(api: Api) -> None:
    made = quantity_editable(api)
    update = api.get(f"{CONFIGURATIONS}/{made['id']}")["features"]["subscription_update"]
    assert (update["enabled"], update["default_allowed_updates"]) == (True, ["quantity"])
    off = {"features": {"subscription_update": {"enabled": False, "default_allowed_updates": ""}}}
    changed = api.post(f"{CONFIGURATIONS}/{made['id']}", off)["features"]["subscription_update"]
    assert (changed["enabled"], changed["default_allowed_updates"]) == (False, [])


def test_an_update_feature_must_say_what_may_be_updated(api: Api) -> None:
    form = {"features": {"subscription_update": {"enabled": True}}}
    assert api.call("POST", CONFIGURATIONS, form).status == 400


def test_a_session_names_its_configuration_or_the_default(api: Api) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})["id"]
    own = quantity_editable(api, default_return_url="https://example.com/back")
    named = api.post(SESSIONS, {"customer": customer, "configuration": own["id"]})
    assert (named["configuration"], named["return_url"]) == (own["id"], "https://example.com/back")
    plain = api.post(SESSIONS, {"customer": customer})
    again = api.post(SESSIONS, {"customer": customer})
    (default,) = api.get(CONFIGURATIONS, {"is_default": True})["data"]
    assert plain["configuration"] == again["configuration"] == default["id"]
    assert len(api.get(CONFIGURATIONS)["data"]) == 2


def test_an_inactive_or_unknown_configuration_is_refused(api: Api) -> None:
    customer = api.post("/v1/customers", {"email": "a@example.com"})["id"]
    own = quantity_editable(api)["id"]
    api.post(f"{CONFIGURATIONS}/{own}", {"active": False})
    for configuration in (own, "bpc_none"):
        form = {"customer": customer, "configuration": configuration}
        assert api.call("POST", SESSIONS, form).status == 400
    assert api.call("POST", SESSIONS, {"customer": "cus_none"}).status == 400
    assert api.call("POST", SESSIONS, {}).error["param"] == "customer"
