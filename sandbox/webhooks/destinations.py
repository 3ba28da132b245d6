"""Event destinations and thin events: the `/v2/core` paths, in JSON.

A destination is told like a webhook endpoint; one with the payload `thin` gets notifications
that name the object and leave it to the receiver to fetch it. Only the type `webhook_endpoint`
exists here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import orjson

from sandbox.http.app import check_key
from sandbox.http.errors import bad_request, missing_param, no_such, unknown_param
from sandbox.http.listing import limit_of
from sandbox.http.routes import Context, Handler, Route
from sandbox.store import Obj
from sandbox.webhooks.endpoints import DESTINATION, check_url, new_secret
from sandbox.webhooks.events import Thin, iso, matches
from sandbox.world import API_VERSION

EVENT = "v2.core.event"
DEFAULT_LIMIT = 20
_SECRET = "webhook_endpoint.signing_secret"  # noqa: S105 - the name of a field
_URL = "webhook_endpoint.url"
_CREATE = (
    "description enabled_events event_payload events_from include metadata name "
    "snapshot_api_version type webhook_endpoint"
)
_UPDATE = "description enabled_events include metadata name webhook_endpoint"


def _keyed(handler: Callable[[Context], Obj]) -> Handler:
    """v2 speaks JSON like the control API, but wants a key like everything of Stripe's."""

    def checked(ctx: Context) -> Obj:
        check_key(ctx.request)
        return handler(ctx)

    return checked


def create(ctx: Context) -> Obj:
    """`POST /v2/core/event_destinations`; shows the secret when `include` asks for it."""
    sent = _known(ctx.params, _CREATE)
    for name in ("enabled_events", "event_payload", "name", "type"):
        if name not in sent:
            raise missing_param(name)
    if sent["type"] != "webhook_endpoint" or "webhook_endpoint" not in sent:
        raise bad_request("Only destinations of type webhook_endpoint exist here.", "type")
    if sent["event_payload"] not in ("snapshot", "thin"):
        raise bad_request("event_payload must be one of snapshot or thin", "event_payload")
    check_url(sent["webhook_endpoint"].get("url", ""), "webhook_endpoint[url]")
    now = iso(ctx.world.clock.now())
    thin = sent["event_payload"] == "thin"
    return _shown(
        ctx,
        ctx.world.store.put(
            {
                "id": ctx.world.store.new_id(DESTINATION),
                "object": DESTINATION,
                "amazon_eventbridge": None,
                "azure_event_grid": None,
                "created": now,
                "description": sent.get("description", ""),
                "enabled_events": sent["enabled_events"],
                "event_payload": sent["event_payload"],
                "events_from": sent.get("events_from", ["@self"]),
                "livemode": False,
                "metadata": sent.get("metadata", {}),
                "name": sent["name"],
                "snapshot_api_version": (
                    None if thin else sent.get("snapshot_api_version", API_VERSION)
                ),
                "status": "enabled",
                "status_details": None,
                "type": "webhook_endpoint",
                "updated": now,
                "webhook_endpoint": {"url": sent["webhook_endpoint"]["url"]},
                "_secrets": [new_secret()],
            }
        ),
    )


def update(ctx: Context) -> Obj:
    """`POST /v2/core/event_destinations/:id`."""
    sent = _known(ctx.params, _UPDATE)
    destination = ctx.world.store.edit(DESTINATION, _the(ctx)["id"])
    for name in ("description", "enabled_events", "name"):
        if name in sent:
            destination[name] = sent[name]
    if "webhook_endpoint" in sent:
        check_url(sent["webhook_endpoint"].get("url", ""), "webhook_endpoint[url]")
        destination["webhook_endpoint"]["url"] = sent["webhook_endpoint"]["url"]
    merged = {**destination["metadata"], **sent.get("metadata", {})}
    destination["metadata"] = {key: value for key, value in merged.items() if value is not None}
    return _changed(ctx, destination)


def switch(ctx: Context) -> Obj:
    """`POST /v2/core/event_destinations/:id/enable` and `/disable`."""
    destination = ctx.world.store.edit(DESTINATION, _the(ctx)["id"])
    enable = ctx.request.path.endswith("/enable")
    destination["status"] = "enabled" if enable else "disabled"
    destination["status_details"] = None if enable else {"disabled": {"reason": "user"}}
    return _changed(ctx, destination)


def retrieve(ctx: Context) -> Obj:
    """`GET /v2/core/event_destinations/:id`."""
    return _shown(ctx, _the(ctx))


def delete(ctx: Context) -> Obj:
    """`DELETE /v2/core/event_destinations/:id`."""
    destination = _the(ctx)
    ctx.world.store.delete(DESTINATION, destination["id"])
    return {"id": destination["id"], "object": DESTINATION}


def list_destinations(ctx: Context) -> Obj:
    """`GET /v2/core/event_destinations`, newest first."""
    found = [_shown(ctx, one) for one in ctx.world.store.all(DESTINATION)]
    return _page(ctx, found[::-1])


def list_events(ctx: Context) -> Obj:
    """`GET /v2/core/events`, newest first, by object, type and time."""
    query = parse_qs(ctx.request.query)
    types = [
        value for name, values in query.items() if name.startswith("types") for value in values
    ]
    wanted = query.get("object_id", [None])[0]
    bounds = {
        name[8:-1]: _epoch(values[0])
        for name, values in query.items()
        if name.startswith("created")
    }
    found = [
        row.load()
        for row in reversed(ctx.world.store.tables[EVENT].rows.values())
        if isinstance(row, Thin)
        and (wanted is None or row.subject[0] == wanted)
        and matches(row.type, types or ["*"])
        and _within(row.created, bounds)
    ]
    return _page(ctx, found)


def retrieve_event(ctx: Context) -> Obj:
    """`GET /v2/core/events/:id`."""
    return ctx.the(EVENT, what="event")


def _epoch(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise bad_request(f"Invalid timestamp: {text}", "created") from None


def _within(created: int, bounds: dict[str, float]) -> bool:
    return (
        created > bounds.get("gt", -1)
        and created >= bounds.get("gte", 0)
        and created < bounds.get("lt", created + 1)
        and created <= bounds.get("lte", created)
    )


def _page(ctx: Context, found: list[Obj]) -> Obj:
    """A v2 list: the place of the next page is in its url."""
    query = {name: values[0] for name, values in parse_qs(ctx.request.query).items()}
    wanted = limit_of({"limit": _whole(query, "limit", DEFAULT_LIMIT)})
    start = _whole(query, "page", 0)
    after = start + wanted

    def url(place: int) -> str:
        return f"{ctx.request.path}?{urlencode({**query, 'page': place})}"

    return {
        "data": found[start:after],
        "next_page_url": url(after) if after < len(found) else None,
        "previous_page_url": url(max(0, start - wanted)) if start else None,
    }


def _whole(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > 9:
        raise bad_request(f"Invalid integer: {text}", name)
    return int(text)


def _the(ctx: Context) -> Obj:
    found = ctx.world.store.get(DESTINATION, ctx.args["id"])
    if found is None:
        raise no_such("event destination", ctx.args["id"])
    return found


def _changed(ctx: Context, destination: Obj) -> Obj:
    destination["updated"] = iso(ctx.world.clock.now())
    return _shown(ctx, ctx.world.store.put(destination))


def _shown(ctx: Context, destination: Obj) -> Obj:
    """Without what is redacted unless `include` names it."""
    include = ctx.params.get("include") or []
    asked = parse_qs(ctx.request.query)
    include = [*include, *(v for name in asked if name.startswith("include") for v in asked[name])]
    target: dict[str, Any] = {"signing_secret": None, "url": None}
    if _URL in include:
        target["url"] = destination["webhook_endpoint"]["url"]
    if _SECRET in include and ctx.request.method == "POST":
        target["signing_secret"] = destination["_secrets"][0]["value"]
    shown = {name: value for name, value in destination.items() if not name.startswith("_")}
    return {**shown, "webhook_endpoint": target}


def _known(sent: dict[str, Any], names: str) -> dict[str, Any]:
    for name in sent:
        if name not in names.split():
            raise unknown_param(name)
    return orjson.loads(orjson.dumps(sent))  # type: ignore[no-any-return]


_DESTINATIONS = "/v2/core/event_destinations"
_ONE = f"{_DESTINATIONS}/:id"
ROUTES = (
    Route("POST", _DESTINATIONS, _keyed(create), raw=True),
    Route("GET", _DESTINATIONS, _keyed(list_destinations), raw=True),
    Route("GET", _ONE, _keyed(retrieve), raw=True),
    Route("POST", _ONE, _keyed(update), raw=True),
    Route("DELETE", _ONE, _keyed(delete), raw=True),
    Route("POST", f"{_ONE}/enable", _keyed(switch), raw=True),
    Route("POST", f"{_ONE}/disable", _keyed(switch), raw=True),
    Route("GET", "/v2/core/events", _keyed(list_events), raw=True),
    Route("GET", "/v2/core/events/:id", _keyed(retrieve_event), raw=True),
)
