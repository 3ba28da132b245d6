"""The stage: every process of the service, the people around it, and the audience's console."""

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import redis
from rich.console import Console
from sqlalchemy import text

from backoffice.demo.buyer import Buyer
from backoffice.demo.host import Host
from backoffice.local.processes import Process
from backoffice.local.servers import Servers
from reconcile.services import Services

PATIENCE_S = 60.0
LOOK_S = 0.05
T = TypeVar("T")


class StuckError(Exception):
    """Something the story waits for did not happen."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something a chapter said would be so, and whether it was."""

    what: str
    held: bool
    found: str


@dataclass(kw_only=True)
class Stage:
    """What a chapter has at hand."""

    console: Console
    home: Path
    env: dict[str, str]
    servers: Servers
    services: Services
    buyer: Buyer
    host: Host
    processes: dict[str, Process]
    crash_marker: Path
    expectations: list[Expectation] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
    # What the chapters tell each other: ids by the names of the cast.
    subscriptions: dict[str, str] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.console.print(f"\n[bold]{time.monotonic() - self.began_at:5.1f} s  {title}[/bold]")

    def say(self, line: str) -> None:
        """Tell what happens."""
        margin = " " * 9
        told = textwrap.fill(
            line,
            self.console.width,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.console.print(told, highlight=False)

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Note whether it is as it should be; the story goes on, the demo fails at the end."""
        held = found == wanted
        self.expectations.append(Expectation(what, held, f"{found!r}, expected {wanted!r}"))
        if held:
            self.console.print(f"       [green]✓[/green] {what}", highlight=False)
        else:
            self.console.print(f"       [red]✗ {what}: {found!r}, expected {wanted!r}[/red]")

    def wait_until(
        self, what: str, true: Callable[[], bool], patience_s: float = PATIENCE_S
    ) -> None:
        """Return when it is so; StuckError after `patience_s`, with the processes' last words."""
        deadline = time.monotonic() + patience_s
        with self.console.status(f"waiting until {what}"):
            while not true():
                if time.monotonic() > deadline:
                    raise StuckError(f"waited {patience_s:g} s until {what}\n{self._last_words()}")
                time.sleep(LOOK_S)

    def wait_for_quantity(self, subscription_id: str, lookup_key: str, quantity: int) -> None:
        """Return when Stripe has that quantity."""
        self.wait_until(
            f"Stripe has {quantity} of {lookup_key}",
            lambda: self.buyer.quantities(subscription_id)[lookup_key] == quantity,
        )

    def wait_for_calm(self) -> None:
        """Return when every webhook arrived and every event that is due has been worked off."""
        self.wait_until("all events are worked off", self._calm)

    def _calm(self) -> bool:
        if self.buyer.get("/_sandbox/deliveries")["waiting"]:
            return False
        return not self.rows(
            """
            select 1 from events where state = 'pending'
                and (due_at is null or due_at < now() + interval '1 minute') limit 1
            """
        )

    def rows(self, statement: str, **values: object) -> list[Any]:
        """Read the tables, to show them."""
        with self.services.engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    def number(self, statement: str, **values: object) -> int:
        """One number from the tables."""
        return int(self.rows(statement, **values)[0][0] or 0)

    def invoices_of(self, subscription_id: str) -> list[dict[str, Any]]:
        """The subscription's invoices, oldest first, as Stripe has them."""
        return [
            invoice
            for invoice in self.buyer.objects("invoice")
            if ((invoice["parent"] or {}).get("subscription_details") or {}).get("subscription")
            == subscription_id
        ]

    def raises_of(self, subscription_id: str) -> int:
        """How many invoices changes of this subscription brought."""
        reason = "subscription_update"
        return sum(i["billing_reason"] == reason for i in self.invoices_of(subscription_id))

    def together(self, acts: Sequence[Callable[[], T]]) -> list[T]:
        """Do all of it at the same moment; the answers in order."""
        with ThreadPoolExecutor(len(acts)) as pool:
            return [future.result() for future in [pool.submit(act) for act in acts]]

    def empty_the_queue(self) -> None:
        """Valkey is killed and comes back with nothing in it; a given server is only emptied."""
        if self.servers.valkey is not None:
            self.servers.valkey.restart_empty()
        else:
            with redis.Redis.from_url(self.servers.redis_url) as client:
                client.flushdb()

    @contextmanager
    def armed(self) -> Iterator[None]:
        """The next worker that has called Stripe dies before it can write down the answer."""
        self.crash_marker.unlink()
        try:
            yield
        finally:
            self.crash_marker.touch()

    def died(self) -> bool:
        """Whether a worker has died since the trap was armed."""
        return self.crash_marker.exists()

    def _last_words(self) -> str:
        return "\n".join(
            f"--- {name}\n{process.tail()[-1_200:]}" for name, process in self.processes.items()
        )
