"""The control API: how a test or the demo makes things go wrong, and sees what happened.

JSON under `/_sandbox/`, without a key. Nothing of Stripe's is here. `Doors` puts together what
stands around the API: webhooks, faults, limits, idempotency keys and the call log.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson

from sandbox.control.faults import (
    REQUEST_KINDS,
    WEBHOOK_KINDS,
    RateLimits,
    RequestFaults,
    RequestRule,
    WebhookFaults,
    WebhookRule,
    rule_of,
)
from sandbox.http.calls import CallLog
from sandbox.http.errors import bad_request, no_such
from sandbox.http.idempotency import Idempotency
from sandbox.http.params import strings
from sandbox.http.render import show
from sandbox.http.routes import Context, Layer, Route
from sandbox.store import Obj
from sandbox.webhooks import destinations, endpoints, events
from sandbox.webhooks.delivery import DeliverySettings
from sandbox.webhooks.endpoints import ROLL_OVERLAP_S, Webhooks
from sandbox.webhooks.events import Snapshot
from sandbox.world import AFTER_RETRIES, World

_RETRY = strings("account", "for_stripecli", "webhook_endpoint")


class Doors:
    """What stands between the socket and the API of one world."""

    def __init__(self, world: World, settings: DeliverySettings | None = None) -> None:
        self.world = world
        self._settings = settings or DeliverySettings()
        self.calls = CallLog()
        self.limits = RateLimits()
        self.faults = RequestFaults()
        self.webhook_faults = WebhookFaults()
        self.idempotency = Idempotency(world)
        self.webhooks = Webhooks(world, self.webhook_faults, self._settings)

    def start(self) -> None:
        """Starts the threads that deliver webhooks."""
        self.webhooks.deliverer.start()

    def stop(self) -> None:
        """Stops them; what waits is lost."""
        self.webhooks.deliverer.stop()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers around the API, outermost first."""
        return (self.calls, self.faults.outer, self.limits, self.idempotency, self.faults.inner)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Events, endpoints, destinations, and the control API."""
        return (
            *events.ROUTES,
            *endpoints.ROUTES,
            *destinations.ROUTES,
            Route("POST", "/v1/events/:id/retry", self._retry, _RETRY),
            _control("GET", "faults", self._get_faults),
            _control("POST", "faults", self._post_fault),
            _control("DELETE", "faults", self._delete_faults),
            _control("GET", "webhook_faults", self._get_webhook_faults),
            _control("POST", "webhook_faults", self._post_webhook_fault),
            _control("DELETE", "webhook_faults", self._delete_webhook_faults),
            _control("POST", "declines", self._post_decline),
            _control("GET", "calls", self._get_calls),
            _control("DELETE", "calls", self._delete_calls),
            _control("POST", "limits", self._post_limits),
            _control("POST", "idempotency/forget", self._forget),
            _control("GET", "deliveries", self._get_deliveries),
            _control("POST", "deliveries", self._post_deliveries),
            _control("POST", "endpoints/:id/roll", self._roll),
            _control("GET", "objects/:name", self._dump),
            _control("POST", "reset", self._reset),
            _control("POST", "settings", self._post_settings),
        )

    def _reset(self, _ctx: Context) -> Obj:
        """As if just started: empty, in real time, nothing going wrong."""
        self.world.reset()
        self.calls.clear()
        self.limits.configure(None, None)
        self.faults.clear()
        self.webhook_faults.clear()
        self.idempotency.forget()
        self.webhooks.reset(self._settings)
        return {"reset": True}

    def _post_settings(self, ctx: Context) -> Obj:
        """Settings of the Stripe account: `after_retries` of a subscription nobody pays."""
        fate = ctx.params.get("after_retries", self.world.after_retries)
        if fate not in AFTER_RETRIES:
            raise bad_request(f"`after_retries` is one of {', '.join(AFTER_RETRIES)}.")
        self.world.after_retries = fate
        return {"after_retries": fate}

    def _retry(self, ctx: Context) -> Obj:
        """`POST /v1/events/:id/retry`: what `stripe events resend` calls.

        Stripe sends to the endpoint that is named, or to a listening CLI; with nobody listening
        it is every endpoint that takes the type.
        """
        ctx.the("event")
        snapshot = self.world.store.tables["event"].rows[ctx.args["id"]]
        assert isinstance(snapshot, Snapshot), "the event table holds snapshots"
        endpoint = ctx.params.get("webhook_endpoint")
        if self.webhooks.resend(snapshot, endpoint) == 0 and endpoint is not None:
            raise no_such("webhook endpoint", endpoint, "webhook_endpoint")
        return snapshot.load()

    def _get_faults(self, _ctx: Context) -> Obj:
        return {"faults": [asdict(rule) for rule in self.faults.rules]}

    def _post_fault(self, ctx: Context) -> Obj:
        rule: RequestRule = _rule(REQUEST_KINDS, RequestRule, ctx.params)
        return asdict(self.faults.add(rule))

    def _delete_faults(self, _ctx: Context) -> Obj:
        self.faults.clear()
        return {"faults": []}

    def _get_webhook_faults(self, _ctx: Context) -> Obj:
        return {"webhook_faults": [asdict(rule) for rule in self.webhook_faults.rules]}

    def _post_webhook_fault(self, ctx: Context) -> Obj:
        rule: WebhookRule = _rule(WEBHOOK_KINDS, WebhookRule, ctx.params)
        return asdict(self.webhook_faults.add(rule))

    def _delete_webhook_faults(self, _ctx: Context) -> Obj:
        self.webhook_faults.clear()
        return {"webhook_faults": []}

    def _post_decline(self, ctx: Context) -> Obj:
        """`{"customer": id, "code": "card_declined"}`; a null code lets cards work again."""
        sent = _known(ctx, "customer", "code")
        customer = ctx.named("customer", str(sent.get("customer")), param="customer")
        if sent.get("code"):
            self.world.declines[customer["id"]] = str(sent["code"])
        else:
            self.world.declines.pop(customer["id"], None)
        return {"declines": self.world.declines}

    def _get_calls(self, ctx: Context) -> Obj:
        sent = _known(ctx, "limit", "method", "path")
        return self.calls.summary(
            _integer(sent.get("limit", 1000), "limit", 1), sent.get("method"), sent.get("path")
        )

    def _delete_calls(self, _ctx: Context) -> Obj:
        self.calls.clear()
        return {"total": 0}

    def _post_limits(self, ctx: Context) -> Obj:
        """Requests a second, over all and for each endpoint; null is no limit."""
        sent = _known(ctx, "per_second", "per_endpoint_second")
        for name, value in sent.items():
            if value is not None:
                _integer(value, name, 1)
        self.limits.configure(sent.get("per_second"), sent.get("per_endpoint_second"))
        return dict(sent)

    def _forget(self, _ctx: Context) -> Obj:
        return {"forgotten": self.idempotency.forget()}

    def _get_deliveries(self, _ctx: Context) -> Obj:
        return self.webhooks.summary()

    def _post_deliveries(self, ctx: Context) -> Obj:
        """Retry scale (1 is Stripe's days, 0 is at once) and the time-out of a delivery."""
        sent = _known(ctx, "retry_scale", "timeout_s", "max_attempts")
        for name, value in sent.items():
            if not isinstance(value, int | float) or value < 0:
                raise bad_request(f"Invalid number: {value}", name)
        return asdict(self.webhooks.configure(**sent))

    def _roll(self, ctx: Context) -> Obj:
        """A new signing secret; the old one stays valid for `overlap_s` (a day)."""
        sent = _known(ctx, "overlap_s")
        overlap_s = _integer(sent.get("overlap_s", ROLL_OVERLAP_S), "overlap_s", 0)
        secret = self.webhooks.roll(ctx.args["id"], overlap_s)
        if secret is None:
            raise no_such("webhook endpoint", ctx.args["id"])
        return {"id": ctx.args["id"], "secret": secret}

    def _dump(self, ctx: Context) -> bytes:
        """All objects of a type, oldest first, as the API shows them."""
        table = self.world.store.tables.get(ctx.args["name"])
        if table is None:
            raise no_such("object type", ctx.args["name"])
        rows = [
            orjson.dumps(show(self.world, row)) if isinstance(row, dict) else row.encoded()
            for row in table.rows.values()
        ]
        return b'{"data":[' + b",".join(rows) + b"]}"


def _control(method: str, path: str, handler: Any) -> Route:
    return Route(method, f"/_sandbox/{path}", handler, raw=True, own_units=True)


def _known(ctx: Context, *names: str) -> dict[str, Any]:
    for name in ctx.params:
        if name not in names:
            raise bad_request(f"Unknown: {name}; known: {', '.join(names)}", name)
    return ctx.params


def _integer(value: Any, name: str, least: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise bad_request(f"Invalid integer: {value}", name) from None
    if number < least:
        raise bad_request(f"{name} must be at least {least}", name)
    return number


def _rule(kinds: tuple[str, ...], cls: Any, sent: dict[str, Any]) -> Any:
    try:
        return rule_of(kinds, cls, sent)
    except (TypeError, ValueError) as problem:
        raise bad_request(str(problem)) from problem
