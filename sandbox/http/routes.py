"""What a resource says about its calls, and what its handlers are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.http.errors import no_such
from sandbox.http.params import Schema
from sandbox.store import Obj
from sandbox.world import Origin, World


@dataclass(frozen=True)
class Request:
    """One HTTP request as read from the socket; header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    id: str


@dataclass
class Response:
    """One HTTP answer. `drop` closes the connection without a word (a fault)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


Handle = Callable[[Request], Response]
Layer = Callable[[Request, Handle], Response]


@dataclass
class Context:
    """What a handler works with: validated parameters, path arguments, the world."""

    world: World
    request: Request
    route: Route
    args: dict[str, str]
    params: dict[str, Any]

    @property
    def origin(self) -> Origin:
        """Whose request this is, for the events it makes."""
        return Origin(self.request.id, self.request.headers.get("idempotency-key"))

    def the(self, name: str, *, what: str | None = None, param: str = "id") -> Obj:
        """The object the path names; 404 with Stripe's words if there is none."""
        return self.named(name, self.args["id"], what=what, param=param)

    def named(
        self,
        name: str,
        object_id: str,
        *,
        what: str | None = None,
        param: str = "id",
        status: int = 404,
    ) -> Obj:
        """An object a parameter names."""
        found = self.world.store.get(name, object_id)
        if found is None:
            raise no_such(what or name, object_id, param, status)
        return found


Handler = Callable[[Context], "Obj | bytes"]


@dataclass(frozen=True)
class Route:
    """One call: `path` has `:name` parts; `schema` names the SDK's parameter class.

    Calls that only the Stripe CLI knows have no such class and bring a `Schema` of their own.
    `accepts` lists the parameters this stand-in implements ("" is none, None is all).
    """

    method: str
    path: str
    handler: Handler
    schema: str | Schema | None = None
    accepts: str | None = None
    raw: bool = False  # JSON in and out, no key: the sandbox's own doors
    own_units: bool = False  # the handler opens its units itself

    @property
    def parts(self) -> tuple[str, ...]:
        """The path in segments."""
        return tuple(self.path.strip("/").split("/"))


class Router:
    """Finds the route of a request; fixed parts win over `:name` parts."""

    def __init__(self, routes: list[Route]) -> None:
        self._by_shape: dict[tuple[str, int], list[Route]] = {}
        for route in sorted(routes, key=lambda one: one.path.count(":")):
            self._by_shape.setdefault((route.method, len(route.parts)), []).append(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and its path arguments."""
        parts = path.strip("/").split("/")
        for route in self._by_shape.get((method, len(parts)), ()):
            args: dict[str, str] = {}
            for pattern, part in zip(route.parts, parts, strict=True):
                if pattern.startswith(":"):
                    args[pattern[1:]] = part
                elif pattern != part:
                    break
            else:
                return route, args
        return None
