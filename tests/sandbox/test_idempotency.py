"""One key, one effect: replays, conflicts, and what is not kept."""

import threading
from typing import Any

from tests.sandbox.client import Answer, Api, Box

FORM = {"email": "buyer@example.com", "metadata": {"team": "seats"}}


def customers(api: Api) -> int:
    return len(api.get("/v1/customers", {"limit": 100})["data"])


def test_the_first_result_is_replayed_and_says_so(api: Api) -> None:
    first = api.call("POST", "/v1/customers", FORM, key="k1")
    again = api.call("POST", "/v1/customers", FORM, key="k1")
    assert again.body == first.body
    assert customers(api) == 1
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]


def test_parameters_in_another_order_are_the_same_parameters(api: Api) -> None:
    first = api.call("POST", "/v1/customers", FORM, key="k1")
    turned = dict(reversed(list(FORM.items())))
    assert api.call("POST", "/v1/customers", turned, key="k1").body == first.body


def test_another_use_of_the_key_is_refused_and_changes_nothing(api: Api) -> None:
    api.post("/v1/customers", FORM, key="k1")
    params = api.call("POST", "/v1/customers", {"email": "other@example.com"}, key="k1")
    endpoint = api.call("POST", "/v1/products", FORM, key="k1")
    for refused in (params, endpoint):
        assert refused.status == 400
        assert refused.error["type"] == "idempotency_error"
    assert customers(api) == 1


def test_a_request_still_running_makes_the_second_one_a_conflict(api: Api, box: Box) -> None:
    api.control("POST", "faults", {"kind": "slow", "path": "/v1/customers", "delay_s": 0.5})
    answers: list[Answer] = []

    def send() -> None:
        client = Api(box.url)
        answers.append(client.call("POST", "/v1/customers", FORM, key="k1"))
        client.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused, done = sorted(answers, key=lambda answer: -answer.status)
    assert (done.status, refused.status) == (200, 409)
    assert refused.error["code"] == "idempotency_key_in_use"
    assert customers(api) == 1
    assert api.call("POST", "/v1/customers", FORM, key="k1").body == done.body


def test_a_validation_error_is_not_kept(api: Api) -> None:
    bad: dict[str, Any] = {"nonsense": "1"}
    assert api.call("POST", "/v1/customers", bad, key="k1").status == 400
    assert api.call("POST", "/v1/customers", FORM, key="k1").status == 200


def test_a_rate_limit_is_not_kept(api: Api) -> None:
    api.control("POST", "faults", {"kind": "rate_limit"})
    assert api.call("POST", "/v1/customers", FORM, key="k1").status == 429
    assert api.call("POST", "/v1/customers", FORM, key="k1").status == 200


def test_a_server_error_is_kept_although_the_fault_is_over(api: Api) -> None:
    api.control("POST", "faults", {"kind": "server_error"})
    assert api.call("POST", "/v1/customers", FORM, key="k1").status == 500
    again = api.call("POST", "/v1/customers", FORM, key="k1")
    assert again.status == 500
    assert again.headers["Idempotent-Replayed"] == "true"
    assert customers(api) == 0


def test_keys_are_forgotten_after_a_day_of_the_sandbox_clock(api: Api, box: Box) -> None:
    first = api.post("/v1/customers", FORM, key="k1")
    now = box.world.clock.now()
    box.world.clock.set(now + 24 * 3600 - 5, frozen=True)
    assert api.post("/v1/customers", FORM, key="k1") == first
    box.world.clock.set(now + 24 * 3600 + 5, frozen=True)
    assert api.post("/v1/customers", FORM, key="k1")["id"] != first["id"]
    assert customers(api) == 2


def test_keys_can_be_forgotten_on_demand(api: Api) -> None:
    api.post("/v1/customers", FORM, key="k1")
    assert api.control("POST", "idempotency/forget") == {"forgotten": 1}
    api.post("/v1/customers", FORM, key="k1")
    assert customers(api) == 2


def test_a_key_has_at_most_255_characters(api: Api) -> None:
    assert api.call("POST", "/v1/customers", FORM, key="k" * 255).status == 200
    assert api.call("POST", "/v1/customers", FORM, key="k" * 256).status == 400


def test_reads_and_deletes_do_not_use_up_keys(api: Api) -> None:
    customer = api.post("/v1/customers", FORM, key="k1")
    assert api.call("DELETE", f"/v1/customers/{customer['id']}", key="k1").body["deleted"] is True
