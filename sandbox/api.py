"""Puts the sandbox together: one world, all routes, the layers around them."""

from __future__ import annotations

from sandbox import (
    account,
    balance,
    catalog,
    checkout,
    coupons,
    customers,
    invoice_item_api,
    invoices,
    payment_methods,
    payments,
    portal,
    schedules,
    seed,
    setup_intents,
    subscription_cancel,
    subscription_items,
    subscription_update,
    subscriptions,
    tax_rates,
    test_clocks,
)
from sandbox.app import Application
from sandbox.control import Doors
from sandbox.lifecycle import Lifecycle
from sandbox.render import Include
from sandbox.routes import Route
from sandbox.test_clocks import Advance
from sandbox.time_control import TimeControl
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
    catalog,
    checkout,
    coupons,
    customers,
    invoice_item_api,
    invoices,
    payment_methods,
    payments,
    portal,
    seed,
    schedules,
    setup_intents,
    subscription_cancel,
    subscription_items,
    subscription_update,
    subscriptions,
    tax_rates,
    test_clocks,
)


def all_routes() -> list[Route]:
    """Every call this sandbox answers."""
    return [route for module in MODULES for route in module.ROUTES]


def all_includes() -> dict[str, Include]:
    """Fields that are shown only when `expand` names them."""
    return {**catalog.INCLUDES, **checkout.INCLUDES, **payments.INCLUDES, **subscriptions.INCLUDES}
