"""Who acts in a chaos run besides machines: people at Stripe, the host application, forgers.

Stripe's side goes through Stripe's API as in life. The host application believes what it was
answered and writes that down here: at the end it has to be so. What it was not answered may be
either way.
"""

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import requests
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from backoffice.demo.buyer import Buyer
from reconcile.actor import Actor
from reconcile.errors import RateLimited, RetryLater
from reconcile.members.roster_import import import_files
from reconcile.nights import audit as gap_audit
from reconcile.nights import nightly
from reconcile.operating import repairing
from reconcile.services import Services
from reconcile.store import roster
from reconcile.store.look import Filters
from reconcile.store.roster import AutoAdd
from tests.support.chaos_plan import Company
from tests.support.inbox import an_event
from tests.support.webhooks import post_event

# Members there are beyond the active ones, to join.
SPARE = 10
# The host application asks again, under the same key, and then lets it be: what was killed
# needs ten seconds to be back on a busy machine.
ASKS_FOR_S = 15.0
ANSWER_S = 8.0
NOT_YET = {"in_progress", "idempotency_in_progress"}
REFUSALS = {402, 403, 409, 422}
ON_CALL = Actor("cli:kim")
_NIGHTS = date(2026, 1, 1)


@dataclass
class Customer:
    """A company in Stripe: its ids, and the items by seat type."""

    company: Company
    customer_id: str
    subscription_id: str
    items: dict[str, str]


@dataclass
class People:
    """Everybody of one run. `act` does a step's bidding; what may not happen is in `wrong`."""

    services: Services
    buyer: Buyer
    receiver_url: str
    secret: str
    api_url: str
    token: str
    home: Path
    customers: dict[str, Customer] = field(default_factory=dict)
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    pools: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    buried: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    # Each a subscription, and from when to when a person edited it.
    edits: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    # By adjustment: what was shown, where something else was charged.
    misquoted: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, name: str, args: tuple[Any, ...]) -> None:
        """Do one step; what a failing world answers is noted, what nobody foresaw is wrong."""
        try:
            getattr(self, name)(*args)
        except (requests.RequestException, RetryLater, RateLimited) as error:
            self.done[f"{name}: {type(error).__name__}"] += 1
        except SQLAlchemyError as error:
            if not isinstance(error, DBAPIError):
                self.wrong.append(f"{name} {args}: {error!r}")
            self.done[f"{name}: {type(error).__name__}"] += 1
        except Exception as error:  # noqa: BLE001 - the checks at the end show it
            self.wrong.append(f"{name} {args}: {error!r}")
        else:
            self.done[name] += 1

    # --- the start

    def enter(self, companies: Sequence[Company]) -> None:
        """Customers subscribe, and the host application exports who is there."""
        prices = self.buyer.price_ids(list(self.services.catalog.lookup_keys)[:100])
        for company in companies:
            customer_id = self.buyer.customer(company.id, f"{company.id}@example.com")
            subscribed = self.buyer.post(
                "/v1/subscriptions",
                customer=customer_id,
                items=[
                    {"price": prices[f"{company.plan}_{pool}_month"], "quantity": bought}
                    for pool, bought, _ in company.pools
                ],
                metadata={"organization_id": company.id},
            )
            ids = [item["id"] for item in subscribed["items"]["data"]]
            self.customers[company.id] = Customer(
                company,
                customer_id,
                str(subscribed["id"]),
                {pool: ids[at] for at, (pool, _, _) in enumerate(company.pools)},
            )
        self.export([company for company in companies if not company.stranger])

    def export(self, companies: Sequence[Company]) -> None:
        """The host application's files are imported, as `trueup roster import` does it."""
        organizations, members = [], []
        for company in companies:
            organizations.append(
                {
                    "id": company.id,
                    "name": company.id,
                    "plan": company.plan,
                    "stripe_customer_id": self.customers[company.id].customer_id,
                }
            )
            for pool, _, active in company.pools:
                ids = [f"{pool}_{number}" for number in range(active + SPARE)]
                self.pools[company.id, pool] = ids
                for number, member_id in enumerate(ids):
                    status = "active" if number < active else "pending"
                    self.known[company.id, member_id] = status
                    members.append(
                        {
                            "organization_id": company.id,
                            "id": member_id,
                            "role": "member" if number else "admin",
                            "seat_type": pool,
                            "status": status,
                        }
                    )
        files = [self._file("organizations", organizations), self._file("members", members)]
        now = self.services.clock()
        import_files(self.services.sessions, self.services.catalog, files, now=now)
        with self.services.sessions.begin() as session:
            for company in companies:
                wanted = [
                    AutoAdd(seat_type=p, enabled=True, ceiling_quantity=None, ceiling_minor=None)
                    for p, _, _ in company.pools
                ]
                if company.auto_add:
                    roster.write_auto_add(session, company.id, wanted)

    def _file(self, name: str, rows: list[dict[str, Any]]) -> Path:
        path = self.home / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    # --- people at Stripe

    def touch(self, organization_id: str) -> None:
        """Somebody writes a note on the subscription: an event that changes no seats."""
        # Through an item: the faults of the run wait for calls about subscriptions, which are ours.
        item_id = next(iter(self.customers[organization_id].items.values()))
        note = str(self.done["touch"])
        self.buyer.post(f"/v1/subscription_items/{item_id}", metadata={"note": note})

    def edit(self, organization_id: str, pool: str, step: int, behavior: str) -> None:
        """Somebody changes a quantity in the dashboard, past the service."""
        item = f"/v1/subscription_items/{self.customers[organization_id].items[pool]}"
        has, began_at = int(self.buyer.get(item)["quantity"]), self.services.clock()
        try:
            self.buyer.post(item, quantity=max(1, has + step), proration_behavior=behavior)
        finally:
            edited = (self.customers[organization_id].subscription_id, began_at)
            self.edits.append((*edited, self.services.clock()))

    def card(self, organization_id: str, code: str) -> None:
        """The card is declined from now on, or there is a new one."""
        customer_id = self.customers[organization_id].customer_id
        self.buyer.control("declines", customer=customer_id, code=code or None)
        if not code:
            self.buyer.post(f"/v1/customers/{customer_id}", metadata={"card": "new"})

    def pay(self) -> None:
        """Whoever has an open invoice pays it."""
        for invoice in self.buyer.objects("invoice"):
            if invoice["status"] == "open":
                self.buyer.post(f"/v1/invoices/{invoice['id']}/pay")

    # --- the host application

    def join(self, organization_id: str, pool: str, count: int) -> None:
        """Some members sign in at the same moment."""
        chosen = self._chosen(organization_id, pool, "pending", count)
        with ThreadPoolExecutor(max(1, len(chosen))) as together:
            list(together.map(lambda member_id: self._join(organization_id, member_id), chosen))

    def _join(self, organization_id: str, member_id: str) -> None:
        answer = self._asked(f"{organization_id}/members/{member_id}/activate")
        status = {"done": "active", "refused": "pending"}.get(answer, "unknown")
        self._believe(organization_id, member_id, status)

    def leave(self, organization_id: str, pool: str, how: str) -> None:
        """A member is blocked or removed."""
        if len(self._with_status(organization_id, pool, "active")) < 3:
            return  # a pool that is suddenly empty is for a person to look at
        for member_id in self._chosen(organization_id, pool, "active", 1):
            answer = self._asked(f"{organization_id}/members/{member_id}/{how}")
            status = {"done": "gone", "refused": "active"}.get(answer, "unknown")
            self._believe(organization_id, member_id, status)

    def _asked(self, path: str) -> str:
        """Ask under one key until it is said how it ended: done, refused or unknown."""
        answer = self._answer(path, {})
        if answer is None:
            return "unknown"
        return "done" if answer.ok else "refused"

    def _answer(self, path: str, body: dict[str, Any]) -> requests.Response | None:
        """Ask the API under one key until it did it or refused; None when it said neither."""
        key, until = secrets.token_hex(8), time.monotonic() + ASKS_FOR_S
        while time.monotonic() < until:
            try:
                answer = requests.post(
                    f"{self.api_url}/v1/organizations/{path}",
                    json=body,
                    headers={"Authorization": f"Bearer {self.token}", "Idempotency-Key": key},
                    timeout=ANSWER_S,
                )
            except requests.RequestException as error:
                self.done[f"api: {type(error).__name__}"] += 1
            else:
                done = answer.status_code in {200, 201}
                code = "" if done else answer.json().get("code", "")
                self.done[f"api: {answer.status_code} {code}".rstrip()] += 1
                if done or (answer.status_code in REFUSALS and code not in NOT_YET):
                    return answer
                if answer.status_code not in {202, 409, 503}:
                    self.wrong.append(f"{path} was answered {answer.status_code} {answer.text}")
            time.sleep(0.5)
        return None

    def save(self, organization_id: str, changes: Sequence[tuple[str, int]]) -> None:
        """An admin previews a change of seats and confirms it."""
        customer = self.customers[organization_id]
        quantities = {}
        for pool, step in changes:
            has = int(self.buyer.get(f"/v1/subscription_items/{customer.items[pool]}")["quantity"])
            quantities[pool] = max(1, has + step)
        path = f"{organization_id}/seat-changes"
        preview = self._answer(f"{path}/preview", {"quantities": quantities})
        if preview is None or not preview.ok:
            self.done["save: no preview"] += 1
            return
        shown = preview.json()
        saved = self._answer(path, {"preview_id": shown["id"]})
        if saved is None or not saved.ok:
            self.done[f"save: {saved.json()['code'] if saved is not None else 'unknown'}"] += 1
        elif shown["charged_now"] and saved.json()["total_minor"] not in {
            shown["total_minor"],
            None,
        }:
            self.misquoted[saved.json()["adjustment_id"]] = f"{path}: {shown['total_minor']} shown"

    def _chosen(self, organization_id: str, pool: str, status: str, count: int) -> list[str]:
        with self._lock:
            chosen = self._with_status(organization_id, pool, status)[-count:]
            for member_id in chosen:
                self.known[organization_id, member_id] = "unknown"
        return chosen

    def _with_status(self, organization_id: str, pool: str, status: str) -> list[str]:
        return [
            m for m in self.pools[organization_id, pool] if self.known[organization_id, m] == status
        ]

    def _believe(self, organization_id: str, member_id: str, status: str) -> None:
        with self._lock:
            self.known[organization_id, member_id] = status

    # --- what the service does by the hour, in another process than usual

    def night(self, number: int) -> None:
        """A nightly run that writes, whatever else is going on."""
        nightly.run(self.services, _NIGHTS + timedelta(days=number), writes=True)

    def audit(self, number: int) -> None:
        """A gap audit; what it could not do is the next one's."""
        gap_audit.run(self.services, _NIGHTS + timedelta(days=number))

    # --- whoever is on call

    def bury(self, organization_id: str) -> None:
        """A look at a subscription died of a defect: a dead letter is in the inbox."""
        key = f"sub:{self.customers[organization_id].subscription_id}"
        with self.services.sessions.begin() as session:
            event_id = an_event(
                session,
                id=f"tru_{secrets.token_hex(8)}",
                source="request",
                kind="request",
                type=repairing.LOOK_AGAIN,
                work_key=key,
                state="dead",
                reason="a defect of the run",
                error_class="permanent",
                error_fingerprint="Chaos",
            )
            # Before the commit, which may go through though its answer is lost.
            self.buried.add(event_id)

    def requeue(self) -> None:
        """The defect is mended, and what died is run again; nothing else may have died."""
        dead = repairing.plan_requeue(self.services, Filters(state="dead"))
        unexplained = set(dead.ids) - self.buried
        if unexplained:
            self.wrong.append(f"dead, and nobody buried it: {sorted(unexplained)}")
        ours = [event_id for event_id in dead.ids if event_id in self.buried]
        done = repairing.requeue(self.services, ours, ON_CALL)
        self.done["requeued"] += len(done.ids)

    # --- whoever sends what Stripe did not

    def replay(self, count: int) -> None:
        """Old deliveries come once more, newest first, rightly signed."""
        for event in self.buyer.get("/v1/events", limit=count)["data"]:
            post_event(self.receiver_url, event, secret=self.secret, timeout_s=12)

    def forge(self, number: int) -> None:
        """Somebody tries the door: never a 200, unless it is signed, and then it is put away."""
        random = Random(number)
        body = random.choice(
            (
                random.randbytes(random.randint(0, 300)),
                json.dumps({"id": f"evt_{number}", "object": "event", "data": [[[]]]}).encode(),
                b'{"id": "evt_\\u0000", "type": "customer.subscription.updated"}',
                b"[" * 2000,
            )
        )
        url = f"{self.receiver_url}/webhooks/stripe"
        header = {"Stripe-Signature": f"t={number},v1={number:064x}"}
        answer = requests.post(url, data=body, headers=header, timeout=12)
        if answer.status_code != 400:
            self.wrong.append(f"a forged webhook was answered {answer.status_code}")
        try:
            body.decode()
        except UnicodeDecodeError:
            return
        signed = post_event(self.receiver_url, body, secret=self.secret, timeout_s=12)
        if signed.status_code not in {200, 503}:
            self.wrong.append(f"signed nonsense was answered {signed.status_code}")

    # --- Stripe's moods

    def fault(self, kind: str, method: str, path: str, times: int, delay_s: float) -> None:
        """Some calls of ours fail in one way."""
        rule = {"kind": kind, "method": method, "path": path, "times": times, "delay_s": delay_s}
        self.buyer._answer("POST", "/_sandbox/faults", json=rule)

    def webhook_fault(self, kind: str, times: int, delay_s: float) -> None:
        """Some webhooks go astray."""
        self.buyer.control("webhook_faults", kind=kind, times=times, delay_s=delay_s)

    def statuses(self, rows: Mapping[tuple[str, str], str]) -> list[str]:
        """Return what the host application was told and is not so."""
        alike = {"gone": {"blocked", "removed"}, "active": {"active"}}
        return [
            f"{organization_id}/{member_id} is {rows.get((organization_id, member_id))}, "
            f"the host was told {told}"
            for (organization_id, member_id), told in self.known.items()
            if told in alike and rows.get((organization_id, member_id)) not in alike[told]
        ]
