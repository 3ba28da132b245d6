"""Puts the sandbox together: one world, all routes, the layers around them."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox import account, balance, customers, payment_methods
from sandbox.app import Application
from sandbox.render import Include
from sandbox.routes import Layer, Route
from sandbox.world import World


def build(world: World | None = None, layers: Sequence[Layer] = ()) -> Application:
    """The application on a fresh world; `layers` are put around it, outermost first."""
    return Application(world or World(), all_routes(), all_includes(), layers)


def all_routes() -> list[Route]:
    """Every call this sandbox answers."""
    return [
        route
        for module in (account, balance, customers, payment_methods)
        for route in module.ROUTES
    ]


def all_includes() -> dict[str, Include]:
    """Fields that are shown only when `expand` names them."""
    return {}
