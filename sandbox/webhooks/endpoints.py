"""Who is told of an event, and what became of it.

Listens to the world's commits, makes the events, and hands a body to the deliverer for every
endpoint that asked for the type. Endpoints are made through Stripe's own paths. What goes wrong on
purpose (lost, doubled, late, reordered) is asked of `faults`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from sandbox.control.faults import WebhookFaults
from sandbox.http.errors import bad_request
from sandbox.http.fields import set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Entry, Obj
from sandbox.webhooks.delivery import Deliverer, Delivery, DeliverySettings, Outcome, Target
from sandbox.webhooks.events import Snapshot, Thin, matches, record
from sandbox.webhooks.previous import companions
from sandbox.world import API_VERSION, Commit, Origin, World

ENDPOINT = "webhook_endpoint"
DESTINATION = "v2.core.event_destination"
ROLL_OVERLAP_S = 24 * 3600
KEPT_ATTEMPTS = 20_000


@dataclass(frozen=True)
class Attempt:
    """One line of the delivery log; `status` 0 means that there was no answer."""

    event: str
    type: str
    endpoint: str
    attempt: int
    status: int


@dataclass
class Books:
    """What became of deliveries: counts, and the last attempts."""

    queued: int = 0
    delivered: int = 0
    failed: int = 0
    refused: int = 0  # the queue was full
    lost: int = 0  # by a fault
    attempts: OrderedDict[int, Attempt] = field(default_factory=OrderedDict)
    number: int = 0

    def note(self, attempt: Attempt) -> None:
        """Keeps an attempt; old ones make room."""
        self.number += 1
        self.attempts[self.number] = attempt
        while len(self.attempts) > KEPT_ATTEMPTS:
            self.attempts.popitem(last=False)


class Webhooks:
    """The fan-out of one world."""

    def __init__(
        self, world: World, faults: WebhookFaults, settings: DeliverySettings | None = None
    ) -> None:
        self._world = world
        self._faults = faults
        self.books = Books()
        self.deliverer = Deliverer(settings or DeliverySettings(), self._target, self._report)
        world.listeners.append(self._on_commit)

    def resend(self, snapshot: Snapshot, endpoint_id: str | None) -> int:
        """Sends an event again, to one endpoint or to all that listen; returns to how many."""
        with self._world.lock:
            chosen = [
                endpoint
                for endpoint in self._endpoints(thin=False)
                if endpoint["id"] == endpoint_id
                or (endpoint_id is None and matches(snapshot.type, endpoint["enabled_events"]))
            ]
            for endpoint in chosen:
                snapshot.waiting.add(endpoint["id"])
                self._submit(snapshot, endpoint, _body(snapshot, endpoint))
        return len(chosen)

    def roll(self, endpoint_id: str, overlap_s: int) -> str | None:
        """A new secret; the old one signs along for `overlap_s`. None if there is no endpoint."""
        with self._world.lock:
            name = ENDPOINT if endpoint_id.startswith("we_") else DESTINATION
            if self._world.store.get(name, endpoint_id) is None:
                return None
            endpoint = self._world.store.edit(name, endpoint_id)
            until = self._world.clock.now() + overlap_s
            old = [{**one, "until": until} for one in endpoint["_secrets"] if not one["until"]]
            endpoint["_secrets"] = [new_secret(), *old]
            self._world.store.put(endpoint)
            return str(endpoint["_secrets"][0]["value"])

    def _on_commit(self, commit: Commit) -> None:
        for entry in commit.entries:
            self._tell(entry, commit.origin)
            for event in companions(str(entry.event), entry.before, entry.after):
                self._tell(replace(entry, event=event), commit.origin)

    def _tell(self, entry: Entry, origin: Origin) -> None:
        recorded = record(self._world, entry, origin)
        if recorded is None:
            return
        snapshot, thin = recorded
        listening = [
            endpoint
            for endpoint in self._endpoints(thin=False)
            if matches(snapshot.type, endpoint["enabled_events"])
        ]
        snapshot.waiting.update(endpoint["id"] for endpoint in listening)
        for endpoint in listening:
            self._send(snapshot, endpoint)
        for endpoint in self._endpoints(thin=True):
            for event in thin:
                if matches(event.type, endpoint["enabled_events"]):
                    self._send(event, endpoint)

    def _endpoints(self, *, thin: bool) -> list[Obj]:
        payload = "thin" if thin else "snapshot"
        found = [] if thin else list(self._world.store.all(ENDPOINT))
        found += [
            one for one in self._world.store.all(DESTINATION) if one["event_payload"] == payload
        ]
        return [one for one in found if one["status"] == "enabled"]

    def _send(self, event: Snapshot | Thin, endpoint: Obj) -> None:
        body = _body(event, endpoint)
        for sending in self._faults.plan(event.type, endpoint["id"], body):
            if sending.lost:
                self.books.lost += 1
                if sending.looks_delivered and isinstance(event, Snapshot):
                    event.waiting.discard(endpoint["id"])
            else:
                self._submit(event, endpoint, body, sending.delay_s)

    def _submit(
        self, event: Snapshot | Thin, endpoint: Obj, body: bytes, delay_s: float = 0.0
    ) -> None:
        delivery = Delivery(event.id, event.type, endpoint["id"], body)
        if self.deliverer.submit(delivery, delay_s):
            self.books.queued += 1
        else:
            self.books.refused += 1

    def _target(self, endpoint_id: str) -> Target | None:
        """Where an endpoint is now and what signs for it; None when it is gone or disabled."""
        with self._world.lock:
            name = ENDPOINT if endpoint_id.startswith("we_") else DESTINATION
            endpoint = self._world.store.get(name, endpoint_id)
            if endpoint is None or endpoint["status"] != "enabled":
                return None
            now = self._world.clock.now()
            valid = [s["value"] for s in endpoint["_secrets"] if not s["until"] or now < s["until"]]
            url = endpoint["url"] if name == ENDPOINT else endpoint["webhook_endpoint"]["url"]
            return Target(url, tuple(valid))

    def _report(self, outcome: Outcome) -> None:
        delivery = outcome.delivery
        with self._world.lock:
            row = self._world.store.tables["event"].rows.get(delivery.event_id)
            if outcome.delivered:
                self.books.delivered += 1
                if isinstance(row, Snapshot):
                    row.waiting.discard(delivery.endpoint_id)
            elif outcome.final:
                self.books.failed += 1
            self.books.note(
                Attempt(
                    delivery.event_id,
                    delivery.event_type,
                    delivery.endpoint_id,
                    delivery.attempt,
                    outcome.status,
                )
            )

    def summary(self) -> dict[str, Any]:
        """The books for the control API; `waiting` includes what is on its way just now."""
        with self._world.lock:
            counts = {
                name: getattr(self.books, name)
                for name in ("queued", "delivered", "failed", "refused", "lost")
            }
            attempts = [asdict(one) for one in self.books.attempts.values()]
        return {**counts, "waiting": self.deliverer.backlog, "attempts": attempts}

    def configure(self, **changes: Any) -> DeliverySettings:
        """Changes retry scale and time-out of a running deliverer."""
        self.deliverer.settings = replace(self.deliverer.settings, **changes)
        return self.deliverer.settings

    def reset(self, settings: DeliverySettings) -> None:
        """Empty books and the first settings; what is still on its way finds no endpoint."""
        self.books = Books()
        self.deliverer.settings = settings


def _body(event: Snapshot | Thin, endpoint: Obj) -> bytes:
    """What one endpoint gets: a snapshot names the version the endpoint asked for."""
    if isinstance(event, Thin):
        return event.encoded()
    version = endpoint.get("api_version") or endpoint.get("snapshot_api_version")
    return event.encoded(version or API_VERSION)


def new_secret() -> dict[str, Any]:
    """A signing secret that is valid until it is rolled."""
    return {"value": f"whsec_{secrets.token_urlsafe(24)}", "until": None}


def check_url(url: str, param: str) -> None:
    """Stripe's rule for a target; test mode allows plain HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad_request("Not a valid URL", param, "url_invalid")


def create(ctx: Context) -> Obj:
    """`POST /v1/webhook_endpoints`: the only answer that shows the secret."""
    check_url(ctx.params["url"], "url")
    if not ctx.params["enabled_events"]:
        raise bad_request("You must listen to at least one event.", "enabled_events")
    secret = new_secret()
    endpoint: Obj = {
        "id": ctx.world.store.new_id(ENDPOINT),
        "object": ENDPOINT,
        "api_version": ctx.params.get("api_version"),
        "application": None,
        "created": ctx.world.clock.now(),
        "description": None,
        "enabled_events": ctx.params["enabled_events"],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": ctx.params["url"],
        "_secrets": [secret],
    }
    set_fields(endpoint, ctx.params, "description")
    set_metadata(endpoint, ctx.params)
    ctx.world.store.put(endpoint)
    return {**endpoint, "secret": secret["value"]}


def update(ctx: Context) -> Obj:
    """`POST /v1/webhook_endpoints/:id`."""
    endpoint = ctx.world.store.edit(ENDPOINT, ctx.the(ENDPOINT, what="webhook endpoint")["id"])
    if "url" in ctx.params:
        check_url(ctx.params["url"], "url")
    set_fields(endpoint, ctx.params, "description enabled_events url")
    set_metadata(endpoint, ctx.params)
    if "disabled" in ctx.params:
        endpoint["status"] = "disabled" if ctx.params["disabled"] else "enabled"
    return ctx.world.store.put(endpoint)


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/webhook_endpoints/:id`."""
    return ctx.the(ENDPOINT, what="webhook endpoint")


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/webhook_endpoints/:id`."""
    endpoint = ctx.the(ENDPOINT, what="webhook endpoint")
    ctx.world.store.delete(ENDPOINT, endpoint["id"])
    return {"id": endpoint["id"], "object": ENDPOINT, "deleted": True}


def list_endpoints(ctx: Context) -> Obj | bytes:
    """`GET /v1/webhook_endpoints`."""
    return list_page(ctx, ENDPOINT, what="webhook endpoint")


_ONE = "/v1/webhook_endpoints/:id"
ROUTES = (
    Route(
        "POST",
        "/v1/webhook_endpoints",
        create,
        "WebhookEndpointCreateParams",
        "api_version description enabled_events metadata url",
    ),
    Route("GET", "/v1/webhook_endpoints", list_endpoints, "WebhookEndpointListParams"),
    Route("GET", _ONE, retrieve, "WebhookEndpointRetrieveParams"),
    Route("POST", _ONE, update, "WebhookEndpointUpdateParams"),
    Route("DELETE", _ONE, delete, "WebhookEndpointDeleteParams"),
)
