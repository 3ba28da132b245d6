"""What the lives at random share: a clock, the host's calls, Stripe's webhooks as they may come.

A life is a state machine beside a model of its product. Nothing of the product's own rules is in
here or in the lives: the models are written from the rules, and import no policy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, ClassVar

import hypothesis
import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import func, select, update

from reconcile.envelope import Ours, read_event
from reconcile.nights import checks, nightly
from reconcile.settling.work import work_off
from reconcile.store import audit, inbox, roster
from reconcile.tables import events, notices
from tests.support.api import Client, Reply, api_of
from tests.support.shop import Shop, moment

DAY_S = 86_400
# Long ago for the database's own clock: what comes due in a life has come due there as well.
START = 1_735_689_600
# Work makes work: a settled change asks for another look, a look puts itself off.
MOST_ROUNDS = 4
MOST_PAGES = 20
MOST_LISTED = 100
MOST_DEEDS = 1000
# How a batch of Stripe's events comes in. `late`: the newest now, the others after later ones.
ORDERS = ("in order", "backwards", "twice", "late")
# What a life accounts for, deed by deed.
AUDITED = (
    "member.",
    "organization.created",
    "organization.changed",
    "ownership.",
    "admin.",
    "contract.",
)

# Hypothesis begins with the simplest life there is, the same deed over and over; a life assumes
# that it has luck, and that one is over before it costs anything.
LUCK = st.integers(0, 1 << 16)

# What is found is told with its steps as they were. Shortening them would take minutes of calls,
# and explaining them traces every line of Python: four times the time of every run.
_PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
_numbers = count(1)


@dataclass
class Present:
    """Our clock. Stripe's is told apart, so that an hour of ours may pass within one of theirs."""

    at_s: int = START

    def __call__(self) -> datetime:
        """The present."""
        return moment(self.at_s)


class Life(RuleBasedStateMachine):
    """One organization in one installation, whatever its product."""

    shop: Shop
    api: Client
    present: Present
    # The last of Stripe's events that was looked for: the lives of a run are on one sandbox.
    newest: ClassVar[list[str]] = []
    PREFIX = "life"

    def begin(self, plan: str, *, trial: bool = False) -> None:
        """The host application makes the organization; its customer has a good card."""
        self.organization = f"{self.PREFIX}_{next(_numbers)}"
        self.present.at_s = self.now = START
        sandbox = self.shop.sandbox
        clock = sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": self.now})
        self.clock = str(clock["id"])
        card = "pm_card_visa"
        made = sandbox.post(
            "/v1/customers",
            {
                "payment_method": card,
                "invoice_settings[default_payment_method]": card,
                "test_clock": self.clock,
            },
        )
        self.customer = str(made["id"])
        self.held_back: list[bytes] = []
        self.deeds: list[tuple[str, str]] = []
        self.api.post(
            "/organizations",
            id=self.organization,
            name=self.organization,
            plan=plan,
            stripe_customer_id=self.customer,
            trial=trial,
        ).ok(201)
        self.did("organization.created", self.organization)

    @property
    def begun(self) -> bool:
        """Whether the life has its organization: rules may be asked before."""
        return hasattr(self, "organization")

    # --- what the host application asks

    def asked(
        self,
        path: str,
        *,
        by: str | None = None,
        only: Callable[[str], bool] | None = None,
        send: str = "POST",
        **body: Any,
    ) -> Reply:
        """Ask, as a member or as the host itself; right before, one who may not asks the same.

        `only` says who of the members may; of those who may not, the one with the most to say asks.
        """
        for stranger in [n for n in self.people() if only and not only(n)][:1]:
            refused = self.sent(path, send, body | {"acting_member_id": stranger})
            assert refused.status == 403, f"{stranger}: {refused.text}"
        answer = self.sent(path, send, body | ({"acting_member_id": by} if by else {}))
        assert answer.status != 403, f"{by}: {answer.text}"
        return answer

    def sent(self, path: str, how: str, body: dict[str, Any]) -> Reply:
        """One request of the host application."""
        self.present.at_s += 1
        answer = self.api.send(how, f"/organizations/{self.organization}{path}", body=body)
        assert answer.status < 500, answer.text
        assert answer.status != 202, answer.text
        return answer

    def people(self) -> list[str]:
        """Active members, those with the most to say first."""
        return []

    def passed_on(self, kind: str, holder: str, to: str, *, by: str | None) -> Reply:
        """Ask that what only one may hold goes to another member: the holder does, or the host."""
        names = {"from_member_id": holder, "to_member_id": to}
        return self.asked("/transfers", by=by, only=lambda n: n == holder, kind=kind, **names)

    def read(self, path: str = "", **query: Any) -> Any:
        """What the API says of the organization."""
        return self.api.get(f"/organizations/{self.organization}{path}", **query).ok(200).json

    def did(self, action: str, subject: str) -> None:
        """Something that the audit trail has to hold now, once."""
        self.deeds.append((action, subject))

    def listed(self) -> dict[str, tuple[str, str | None, str]]:
        """The members as they are kept: role, seat type, status."""
        with self.shop.services.sessions() as session:
            rows = roster.members_page(session, self.organization, limit=MOST_LISTED)
        return {m.id: (m.role, m.seat_type, m.status) for m in rows}

    def audited(self) -> list[tuple[str, str]]:
        """What people and the host did but for changes of seats, oldest first."""
        with self.shop.services.sessions() as session:
            found = audit.page(session, organization_id=self.organization, limit=MOST_DEEDS)
        return [(e.action, e.subject) for e in reversed(found) if e.action.startswith(AUDITED)]

    def told(self) -> dict[str, int]:
        """How many notices of each type the host was written."""
        mine = notices.c.organization_id == self.organization
        with self.shop.services.sessions() as session:
            counted = select(notices.c.type, func.count()).where(mine).group_by(notices.c.type)
            return {row[0]: row[1] for row in session.execute(counted)}

    def open_findings(self) -> set[str]:
        """The kinds of the open findings."""
        found = self.api.get(
            "/findings", organization_id=self.organization, state="open", limit=MOST_LISTED
        )
        return {each["kind"] for each in found.ok()["data"]}

    # --- what comes from Stripe, and what a worker does with it

    def card(self, *, declines: bool) -> None:
        """The card stops working, or another one comes, which Stripe tells."""
        code = "card_declined" if declines else None
        self.shop.sandbox.control("/declines", {"customer": self.customer, "code": code})
        if not declines:
            named = {"metadata[card]": str(self.present.at_s)}
            self.shop.sandbox.post(f"/v1/customers/{self.customer}", named)

    def pass_time(self, seconds: int) -> None:
        """Let time pass, at Stripe and here."""
        self.now += seconds
        self.present.at_s = max(self.present.at_s, self.now)
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.shop.sandbox.post(path, {"frozen_time": self.now})

    def deliver(self, order: str = "in order") -> None:
        """Webhooks come in: all there are, or the newest with the others still on their way."""
        bodies = [*self.held_back, *self._news()]
        self.held_back = []
        if order == "late":
            bodies, self.held_back = bodies[-1:], bodies[:-1]
        if order == "backwards":
            bodies.reverse()
        for body in [*bodies, *bodies] if order == "twice" else bodies:
            self._arrives(body)

    def _news(self) -> list[bytes]:
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            since = {"ending_before": self.newest[-1]} if self.newest else {}
            page = self.shop.sandbox.get("/v1/events", limit=100, **since)
            news = page["data"][::-1]
            if news:
                self.newest[:] = [str(news[-1]["id"])]
            found += news
            if not page["has_more"] or not since:
                return [orjson.dumps(each) for each in found]
        raise AssertionError("more events than a life makes")

    def _arrives(self, body: bytes) -> None:
        """One webhook, past the door: what that does has tests of its own."""
        row = read_event(body, Ours.of(self.shop.services.settings), source="webhook")
        with self.shop.services.sessions.begin() as session:
            inbox.accept(session.connection(), [row])

    def work(self, *, but: tuple[str, ...] = ("notice:",)) -> None:
        """Everything in the inbox is worked off, what was put off as well: its time is now.

        Notices wait for the end: what is told is looked at before it leaves.
        """
        self.present.at_s += 1
        services = self.shop.services
        pending = (events.c.state == "pending") & events.c.work_key.is_not(None)
        for kind in but:
            pending &= ~events.c.work_key.startswith(kind)
        done: set[str] = set()
        for _ in range(MOST_ROUNDS):
            with services.sessions.begin() as session:
                due = update(events).where(pending, events.c.id.not_in(done))
                ids = set(session.scalars(due.values(due_at=func.now()).returning(events.c.id)))
                keys = session.scalars(select(events.c.work_key).where(events.c.id.in_(ids)))
                named = sorted(set(keys))
            if not named:
                return
            for key in named:
                ended = work_off(services, key)
                assert ended.ended != "dead", ended.line
            done |= ids

    def sleep(self) -> None:
        """A nightly run, without a single webhook."""
        report = nightly.run(self.shop.services, self.present().date(), writes=True, again=True)
        assert (report.state, report.failed) == ("done", 0), report

    def invoices(self) -> list[dict[str, Any]]:
        """The customer's invoices, oldest first."""
        query = {"customer": self.customer, "limit": MOST_LISTED}
        return list(reversed(self.shop.sandbox.get("/v1/invoices", **query)["data"]))

    def teardown(self) -> None:
        """Once everything has come in, the books agree with Stripe's."""
        if not self.begun:
            return
        self.card(declines=False)
        for _ in range(2):  # what is worked off is told by Stripe again
            self.deliver()
            self.work(but=())
        for sub in self.subscriptions():
            found = checks.run(self.shop.services, subscription_ids=[sub])
            wrong = [check for check in found if not check.ok]
            assert not wrong, wrong

    def subscriptions(self) -> list[str]:
        """The subscriptions whose books are checked at the end."""
        return []


def play(life: type[Life], shop: Shop, *, lives: int, steps: int, new: bool) -> None:
    """Play so many lives of so many steps: always the same ones, or `new` ones."""
    present = Present()
    shop = replace(shop, services=replace(shop.services, clock=present))

    class Here(life):  # type: ignore[misc, valid-type] # the machine's servers are the test's own
        pass

    Here.shop, Here.api, Here.present, Here.newest = shop, api_of(shop.services), present, []
    run_state_machine_as_test(
        Here,
        settings=hypothesis.settings(
            max_examples=lives,
            stateful_step_count=steps,
            phases=_PHASES,
            derandomize=not new,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def chance(of: int) -> st.SearchStrategy[bool]:
    """True once in so many draws."""
    return st.sampled_from([False] * (of - 1) + [True])
