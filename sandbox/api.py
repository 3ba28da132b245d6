"""Puts the sandbox together: one world, all routes, the layers around them."""

from __future__ import annotations

from sandbox import account, balance, customers, payment_methods, portal
from sandbox.app import Application
from sandbox.control import Doors
from sandbox.render import Include
from sandbox.routes import Route
from sandbox.world import World


def build(doors: Doors | None = None) -> Application:
    """The application on a fresh world, or on the world that the doors stand around."""
    doors = doors or Doors(World())
    routes = [*all_routes(), *doors.routes]
    return Application(doors.world, routes, all_includes(), doors.layers)


def all_routes() -> list[Route]:
    """Every call this sandbox answers."""
    return [
        route
        for module in (account, balance, customers, payment_methods, portal)
        for route in module.ROUTES
    ]


def all_includes() -> dict[str, Include]:
    """Fields that are shown only when `expand` names them."""
    return {}
