"""The official Stripe CLI drives the sandbox as it drives Stripe.

Optional: needs the CLI (`npm install @stripe/cli`), on the PATH as `stripe` or named by
TRUEUP_STRIPE_CLI. It runs as a process of its own and is told where the sandbox is.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.client import KEY, Api, Box
from tests.sandbox.receiver import running_receiver

# Read at import: the harness hides TRUEUP_ variables from the tests themselves.
CLI = os.environ.get("TRUEUP_STRIPE_CLI") or shutil.which("stripe")
pytestmark = pytest.mark.skipif(
    CLI is None, reason="the Stripe CLI is optional: npm install @stripe/cli, TRUEUP_STRIPE_CLI"
)

TIMEOUT_S = 60
TRIGGERS = [
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "invoice.created",
    "invoice.deleted",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.sent",
    "invoice.updated",
    "invoice.voided",
    "invoiceitem.created",
    "invoiceitem.deleted",
    "payment_method.attached",
    "payment_method.detached",
    "price.created",
    "price.updated",
    "product.created",
    "product.deleted",
    "product.updated",
    "coupon.created",
    "coupon.deleted",
    "coupon.updated",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
    "subscription_schedule.created",
    "subscription_schedule.released",
    "subscription_schedule.updated",
    "test_helpers.test_clock.advancing",
    "test_helpers.test_clock.created",
    "test_helpers.test_clock.deleted",
    "test_helpers.test_clock.ready",
    "billing_portal.configuration.created",
    "billing_portal.configuration.updated",
    "billing_portal.session.created",
]
# What the CLI calls by a name that is no event type, or whose steps lead to another one: `aborted`
# cancels a schedule, and `expiring` stops nine days before the end, which Stripe tells of seven
# days before it.
ALIASES = {
    "subscription.payment_succeeded": "invoice.payment_succeeded",
    "subscription.payment_failed": "invoice.payment_failed",
    "subscription_schedule.aborted": "subscription_schedule.canceled",
    "subscription_schedule.expiring": "subscription_schedule.created",
}

Stripe = Callable[..., str]


@pytest.fixture
def stripe_cli(box: Box, tmp_path: Path) -> Stripe:
    """Runs the CLI against the sandbox; returns what it printed, AssertionError if it failed."""

    def run(*arguments: str) -> str:
        assert CLI is not None
        done = subprocess.run(
            [CLI, *arguments, "--api-base", box.url],
            env={
                "HOME": str(tmp_path),
                "XDG_CONFIG_HOME": str(tmp_path),
                "STRIPE_API_KEY": KEY,
                "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        assert '"error"' not in printed, printed
        return printed

    return run


def test_get_and_post(stripe_cli: Stripe) -> None:
    made = json.loads(stripe_cli("post", "/v1/customers", "-d", "email=a@example.com"))
    assert made["email"] == "a@example.com"
    listed: dict[str, Any] = json.loads(stripe_cli("get", "/v1/customers"))
    assert listed["data"] == [made]
    assert json.loads(stripe_cli("get", f"/v1/customers/{made['id']}")) == made


@pytest.mark.parametrize("event", [*TRIGGERS, *ALIASES])
def test_trigger(stripe_cli: Stripe, api: Api, event: str) -> None:
    printed = stripe_cli("trigger", event)
    assert "Trigger succeeded" in printed, printed
    made = api.get("/v1/events", {"limit": 100})["data"]
    assert ALIASES.get(event, event) in [one["type"] for one in made]


def test_events_resend(stripe_cli: Stripe, api: Api) -> None:
    with running_receiver() as receiver:
        endpoint = api.post("/v1/webhook_endpoints", {"url": receiver.url, "enabled_events": ["*"]})
        stripe_cli("trigger", "customer.created")
        event = receiver.wait_for(1)[0].event
        again = ("events", "resend", event["id"])
        assert json.loads(stripe_cli(*again))["id"] == event["id"]
        stripe_cli(*again, "--webhook-endpoint", endpoint["id"])
        assert {one.event["id"] for one in receiver.wait_for(3)} == {event["id"]}
