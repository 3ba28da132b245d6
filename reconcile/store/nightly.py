"""The nightly run's sets: what Stripe showed, page by page, compared with what we hold in SQL.

Three tables of its own, emptied before and after a run. One run at a time: the caller holds the
lock. Nothing in here looks at one subscription at a time.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import text
from sqlalchemy.orm import Session

from reconcile import metrics
from reconcile.policy.values import FindingKind, PlanRules
from reconcile.store import nightly_queries as queries
from reconcile.store.bulk import copy_rows, copying
from reconcile.store.roster_view import ViewCount
from reconcile.store.subscriptions import ENDED
from reconcile.stripe_shapes import StripeSubscription

_ROWS_AT_A_TIME = 5_000
_SEEN_COLUMNS = (
    "run_id",
    "subscription_id",
    "item_id",
    "price_id",
    "quantity",
    "is_seat",
    "is_ours",
    "status",
    "customer_id",
    "organization_id",
    "cancel_at_period_end",
    "collection_paused",
    "schedule_id",
    "has_pending_update",
)


# Findings that a count opened, and that are over when it has changed: without an event, if the host
# counts. Most of them differ as long as they hold.
_OF_COUNTS = (
    FindingKind.COUNTS_UNREADABLE,
    FindingKind.COUNTS_SUDDENLY_ZERO,
    FindingKind.ACTIVE_OVER_QUANTITY,
    FindingKind.CANCELING_BELOW_ACTIVE,
    FindingKind.CONTRACT_OVERAGE,
    FindingKind.OVER_HARD_CAP,
    FindingKind.STRIPE_BELOW_FLOOR,
    # Adopted when it was seen: nothing differs afterwards.
    FindingKind.STRIPE_QUANTITY_CHANGED,
)
# Findings that are over without an event of their own subscription: when nothing calls for another
# try, or when the other subscription is canceled.
_OF_OTHERS = (
    FindingKind.PAYMENT_DECLINED,
    FindingKind.ADJUSTMENT_STUCK,
    FindingKind.SEVERAL_SUBSCRIPTIONS,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One work key that has to be looked at, and what differs."""

    work_key: str
    reason: str

    @property
    def scope(self) -> str:
        """`sub` or `org`."""
        return self.work_key.partition(":")[0]


def clear(session: Session) -> None:
    """Empty the run's tables.

    They are not truncated: PostgreSQL gives an unlogged table new files then, and does not start
    again if it is killed right after such a transaction was rolled back (seen with 18).
    """
    for table in ("nightly_seen", "nightly_counts", "nightly_differs"):
        session.execute(text(f"delete from {table}"))  # noqa: S608 - our own names


def store_page(
    session: Session,
    run_id: int,
    page: Iterable[StripeSubscription],
    *,
    prices: Mapping[str, bool],
    organization_key: str,
) -> int:
    """Copy one page into `nightly_seen`; returns the rows, one per item.

    `prices` are those of the catalog, each with whether it is a seat type's. The transaction's
    commit does not wait for the disk: with the last of them a crash takes the whole table.
    """
    session.execute(text("set local synchronous_commit = off"))
    rows = 0
    with copying(session, "nightly_seen", _SEEN_COLUMNS) as copy:
        for each in page:
            shared = (
                each.status,
                each.customer_id,
                each.metadata.get(organization_key) or None,
                each.cancel_at_period_end,
                each.collection_paused,
                each.schedule_id,
                each.has_pending_update,
            )
            items = [
                (item.id, item.price_id, item.quantity, prices.get(item.price_id, False))
                for item in each.items
            ]
            ours = any(item.price_id in prices for item in each.items)
            for item_row in items or [("", "", None, False)]:
                copy.write_row((run_id, each.id, *item_row, ours, *shared))
                rows += 1
    return rows


def rows_seen(session: Session, run_id: int) -> int:
    """Return how many rows of the run `nightly_seen` has; fewer than told: it was emptied."""
    count = text("select count(*) from nightly_seen where run_id = :run_id")
    return int(session.scalar(count, {"run_id": run_id}) or 0)


def forget_counts(session: Session) -> None:
    """Empty the counts: those of a try that did not get through."""
    session.execute(text("delete from nightly_counts"))


def copy_view_counts(session: Session, run_id: int, counts: Iterable[ViewCount]) -> None:
    """Copy the host's counts; an unusable one becomes -1, which differs from everything.

    Some thousands at a time: they may be streamed over this very connection.
    """
    columns = ("run_id", "organization_id", "seat_type", "active")
    rows = (
        (run_id, each.organization_id, each.seat_type, each.active if each.sound else -1)
        for each in counts
    )
    while some := list(islice(rows, _ROWS_AT_A_TIME)):
        copy_rows(session, "nightly_counts", columns, some)


def count_members(session: Session, run_id: int, seatless: Mapping[str, Collection[str]]) -> None:
    """Count our own active members; `seatless` are the roles of each plan that take no seat."""
    pairs = [(plan, role) for plan, roles in seatless.items() for role in roles]
    session.execute(
        text(
            """
            insert into nightly_counts (run_id, organization_id, seat_type, active)
            select :run_id, m.organization_id, m.seat_type, count(*)
            from members as m join organizations as o on o.id = m.organization_id
            where m.status = 'active' and m.seat_type is not null
              and not exists (
                select from unnest(cast(:plans as text[]), cast(:roles as text[])) as s (plan, role)
                where s.plan = o.plan and s.role = m.role)
            group by m.organization_id, m.seat_type
            """
        ),
        {
            "run_id": run_id,
            "plans": [plan for plan, _ in pairs],
            "roles": [role for _, role in pairs],
        },
    )


@dataclass(frozen=True, slots=True)
class Told:
    """How many a finding is about, and how many were opened and closed."""

    standing: int
    opened: int
    closed: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What the comparison told by itself, without a look at any one subscription."""

    unknown: Told  # subscriptions of nobody we know
    bereft: Told  # organizations with active members and no subscription that has seats


def compare(  # noqa: PLR0913 - what a comparison depends on, all by name
    session: Session,
    run_id: int,
    rules: Iterable[PlanRules],
    *,
    own_members: bool,
    counted: bool,
    contracts_until: datetime,
    opened_by: str,
) -> Compared:
    """Fill `nightly_differs` by sets, and tell the findings that sets alone can tell.

    `own_members` is False when the roster is the host's view: single members are not known then.
    Without `counted` nobody's active count is known, and no finding that needs it is judged.
    Organizations whose contract ends until then are looked at.
    """
    session.execute(text("set local statement_timeout = 0"))
    session.execute(text("analyze nightly_seen, nightly_counts"))
    given = _parameters(run_id, rules) | {"counted": counted}
    bereft = FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION.value
    closing = _OF_OTHERS + (_OF_COUNTS if counted else ())
    kinds = {"bereft": bereft, "closing": [kind.value for kind in closing]}
    ends = {"own_members": own_members, "contracts_until": contracts_until}
    session.execute(text(queries.COMPARE), given | kinds | ends)

    def told(query: str, kind: str) -> Told:
        answer = session.execute(text(query), given | {"kind": kind, "opened_by": opened_by})
        found = Told(*answer.one())
        metrics.FINDINGS_OPENED.labels(kind=kind).inc(found.opened)
        return found

    return Compared(
        unknown=told(queries.UNKNOWN, FindingKind.UNKNOWN_CUSTOMER.value),
        bereft=told(queries.BEREFT, bereft),
    )


def _parameters(run_id: int, rules: Iterable[PlanRules]) -> dict[str, object]:
    plans = list(rules)
    seats = [(plan, seat) for plan in plans for seat in plan.seat_types.values()]
    return {
        "run_id": run_id,
        "ended": list(ENDED),
        "plans": [plan.plan for plan in plans],
        "policies": [plan.policy.value for plan in plans],
        "rule_plans": [plan.plan for plan, _ in seats],
        "rule_policies": [plan.policy.value for plan, _ in seats],
        "seat_types": [seat.seat_type for _, seat in seats],
        "minimums": [seat.minimum for _, seat in seats],
        "includeds": [seat.included for _, seat in seats],
        "caps": [seat.hard_cap for _, seat in seats],
    }


def differences_by_reason(session: Session, run_id: int) -> dict[str, int]:
    """Return how many work keys differ, by what differs."""
    counted = text(
        "select reason, count(*) from nightly_differs where run_id = :run_id group by 1 order by 1"
    )
    return {row[0]: row[1] for row in session.execute(counted, {"run_id": run_id})}


def differences(session: Session, run_id: int, *, after: str, limit: int) -> list[Difference]:
    """Return the next differing work keys after `after`, backwards; empty: the first ones.

    So organizations come after subscriptions, whose own seats they are judged by.
    """
    rows = session.execute(
        text(
            "select work_key, reason from nightly_differs "
            "where run_id = :run_id and (:after = '' or work_key < :after) "
            "order by work_key desc limit :limit"
        ),
        {"run_id": run_id, "after": after, "limit": limit},
    )
    return [Difference(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Moved:
    """Money that adjustments moved, in minor units: positive charged, negative credited."""

    currency: str
    total_minor: int
    adjustments: int


def adjustments_by_state(session: Session, trigger: str) -> dict[str, int]:
    """Return how many adjustments the trigger brought, by state."""
    counted = text("select state, count(*) from adjustments where trigger = :trigger group by 1")
    return {row[0]: row[1] for row in session.execute(counted, {"trigger": trigger})}


def money_moved(session: Session, trigger: str) -> list[Moved]:
    """Return what the trigger's applied adjustments charged and credited, by currency."""
    rows = session.execute(
        text(
            """
            select currency, sum(total_minor)::bigint, count(*) from adjustments
            where trigger = :trigger and state = 'applied' and total_minor <> 0
            group by currency, total_minor > 0 order by currency, total_minor > 0 desc
            """
        ),
        {"trigger": trigger},
    )
    return [Moved(*row) for row in rows]
