"""A whole installation for the stories: the API, the public door, the relay and a worker as
processes, the sandbox in Stripe's place, and time that is told to pass.

What a story does, it does as the host application (through the API), as a customer (through
Stripe), or by waiting.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from backoffice.local import parts
from backoffice.local.network import free_port
from backoffice.local.processes import Process
from reconcile.nights import checks
from tests.support.api import Client, a_token
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop

PATIENCE_S = 60.0
HOUR_S = 3600
DAY_S = 24 * HOUR_S
# Noon of the first of April 2026: a period of thirty days, half of it is fifteen.
START = 1_775_044_800
# The defaults, a little less patient.
QUICK = {
    "TRUEUP_HINT_LEASE_S": "3",
    "TRUEUP_RELAY_POLL_S": "0.05",
    "TRUEUP_RETRY_BASE_S": "0.5",
    "TRUEUP_SETTLING_WINDOW_S": "0.5",
    "TRUEUP_STRIPE_REQUESTS_PER_S": "200",
}


@dataclass(frozen=True)
class Installation:
    """Everything that runs, and the clock of Stripe's customers."""

    shop: Shop
    api: Client
    clock: str
    home: Path
    env: Mapping[str, str]
    processes: tuple[Process, ...]

    @property
    def sandbox(self) -> Sandbox:
        """Stripe."""
        return self.shop.sandbox

    def at(self, start: int) -> "Installation":
        """The same, with another clock for its customers that starts at this second."""
        made = self.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": start})
        return replace(self, clock=str(made["id"]))

    def settle_down(self) -> None:
        """Wait until every webhook came and everything that is due has been worked off."""
        until = time.monotonic() + PATIENCE_S
        while not self._calm():
            assert time.monotonic() < until, f"{self._at_work()}\n{self._last_words()}"
            time.sleep(0.05)

    def advance(self, to: int) -> None:
        """Let time pass in Stripe, and let what follows from it happen here."""
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.sandbox.post(path, {"frozen_time": to})
        self.settle_down()

    def wait(self, seconds: int) -> None:
        """Let so much time pass."""
        clock = self.sandbox.get(f"/v1/test_helpers/test_clocks/{self.clock}")
        self.advance(int(clock["frozen_time"]) + seconds)

    def renew(self, subscription_id: str) -> dict[str, Any]:
        """Let the period end and its invoice be charged, an hour later; returns the invoice."""
        self.advance(self.period_end(subscription_id) + 2 * HOUR_S)
        return self.shop.invoices(subscription_id, "subscription_cycle")[-1]

    def period_end(self, subscription_id: str) -> int:
        """When the current period of the subscription ends."""
        found = self.sandbox.get(f"/v1/subscriptions/{subscription_id}")
        return int(found["items"]["data"][0]["current_period_end"])

    def look(self, subscription_id: str) -> None:
        """An operator has a worker look at the subscription now."""
        self.api.post("/reconcile", id=subscription_id, because="it is the last hour").ok()
        self.settle_down()

    def arrives_by_itself(self, organization_id: str, member_id: str, **values: str) -> None:
        """The host application's export has an active member that nobody asked here about."""
        arrived = {"organization_id": organization_id, "id": member_id, "status": "active"}
        export = self.home / "members.jsonl"
        export.write_text(json.dumps(arrived | values) + "\n", encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "backoffice", "import", export],
            env=self.env,
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        self.settle_down()

    def the_books_agree(self) -> None:
        """Every intent has its outcome, every charge its invoice, every event its end."""
        self.settle_down()
        told = checks.run(self.shop.services)
        assert [check.detail for check in told if not check.ok] == []

    def _calm(self) -> bool:
        return not self._at_work()

    def _at_work(self) -> str:
        """What is not done yet; empty when all is calm."""
        deliveries = self.sandbox.observe("/deliveries")
        if deliveries["waiting"]:
            return f"webhooks are on their way: {deliveries}"
        pending = text(
            "select work_key, type, due_at, reason from events where state = 'pending' "
            "and (due_at is null or due_at < now() + interval '1 minute') limit 5"
        )
        with self.shop.services.engine.connect() as connection:
            return "\n".join(str(row) for row in connection.execute(pending))

    def _last_words(self) -> str:
        return "\n".join(f"--- {p.command.name}\n{p.tail()[-1500:]}" for p in self.processes)


@contextmanager
def running_installation(home: Path, shop: Shop) -> Iterator[Installation]:
    """The installation on the shop's servers and sandbox; ended at the end."""
    settings = shop.services.settings
    door, api = free_port(), free_port()
    endpoint = shop.sandbox.post(
        "/v1/webhook_endpoints",
        {"url": f"{parts.url(door)}/webhooks/stripe", "enabled_events[0]": "*"},
    )
    secret = {"TRUEUP_WEBHOOK_SECRETS": f"stripe={endpoint['secret']}"}
    env = dict(os.environ) | environment(settings) | QUICK | secret
    commands = (
        parts.receiver(env, door),
        parts.relay(env),
        parts.worker(env),
        parts.api(env, api),
    )
    processes = tuple(Process(command, home) for command in commands)
    with ExitStack() as stack:
        for process in processes:
            process.start()
            stack.callback(process.kill)
        for process in processes:
            process.wait_ready()
        # Once the door is open: a webhook that finds it closed is tried again in an hour.
        yield Installation(
            shop=shop,
            api=Client(token=a_token(shop.services), url=parts.url(api)),
            clock="",
            home=home,
            env=env,
            processes=processes,
        ).at(START)
