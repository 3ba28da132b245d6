"""Puts the sandbox together: one world, all routes, the layers around them."""

from __future__ import annotations

from sandbox.billing import invoice_api, invoice_item_api, payments
from sandbox.clocks import test_clocks
from sandbox.clocks.lifecycle import Lifecycle
from sandbox.clocks.test_clocks import Advance
from sandbox.clocks.time_control import TimeControl
from sandbox.control import seed
from sandbox.control.doors import Doors
from sandbox.http.app import Application
from sandbox.http.render import Include
from sandbox.http.routes import Route
from sandbox.objects import (
    account,
    balance,
    catalog,
    checkout,
    coupons,
    customers,
    payment_methods,
    portal,
    setup_intents,
    tax_rates,
)
from sandbox.subscriptions import cancel, creation, items, resume, schedules, update
from sandbox.world import World


def build(doors: Doors | None = None) -> Application:
    """The application on a fresh world, or on the world that the doors stand around."""
    doors = doors or Doors(World())
    lifecycle = Lifecycle(doors.world)
    doors.world.listeners.append(lifecycle.note)
    routes = [
        *all_routes(),
        *doors.routes,
        *TimeControl(lifecycle).routes,
        Advance(lifecycle).route,
    ]
    return Application(doors.world, routes, all_includes(), doors.layers, lifecycle.catch_up)


MODULES = (
    account,
    balance,
    cancel,
    catalog,
    checkout,
    coupons,
    creation,
    customers,
    invoice_api,
    invoice_item_api,
    items,
    payment_methods,
    payments,
    portal,
    resume,
    schedules,
    seed,
    setup_intents,
    tax_rates,
    test_clocks,
    update,
)


def all_routes() -> list[Route]:
    """Every call this sandbox answers."""
    return [route for module in MODULES for route in module.ROUTES]


def all_includes() -> dict[str, Include]:
    """Fields that are shown only when `expand` names them."""
    return {**catalog.INCLUDES, **checkout.INCLUDES, **payments.INCLUDES, **creation.INCLUDES}
