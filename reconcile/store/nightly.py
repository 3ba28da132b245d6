"""The nightly run's sets: what Stripe showed, page by page, compared with what we hold in SQL.

Three tables of its own, emptied before and after a run. One run at a time: the caller holds the
lock. Nothing in here looks at one subscription at a time.
"""

# ruff: noqa: S608 - the queries are put together of this module's own constants

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from reconcile.policy.values import FindingKind, PlanRules
from reconcile.store.bulk import copying
from reconcile.store.roster_view import ViewCount
from reconcile.store.subscriptions import ENDED
from reconcile.stripe_shapes import StripeSubscription

_SEEN_COLUMNS = (
    "run_id",
    "subscription_id",
    "item_id",
    "price_id",
    "quantity",
    "is_seat",
    "status",
    "customer_id",
    "organization_id",
    "cancel_at_period_end",
    "collection_paused",
    "schedule_id",
    "has_pending_update",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One work key that has to be looked at, and what differs."""

    work_key: str
    reason: str


def clear(session: Session) -> None:
    """Empty the run's tables."""
    session.execute(text("truncate nightly_seen, nightly_counts, nightly_differs"))


def store_page(
    session: Session,
    run_id: int,
    page: Iterable[StripeSubscription],
    *,
    seat_prices: Collection[str],
    organization_key: str,
) -> int:
    """Copy one page into `nightly_seen`; returns the rows, one per item."""
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
                (item.id, item.price_id, item.quantity, item.price_id in seat_prices)
                for item in each.items
            ]
            for item_row in items or [("", "", None, False)]:
                copy.write_row((run_id, each.id, *item_row, *shared))
                rows += 1
    return rows


def rows_seen(session: Session, run_id: int) -> int:
    """Return how many rows of the run `nightly_seen` has; fewer than told: it was emptied."""
    count = text("select count(*) from nightly_seen where run_id = :run_id")
    return int(session.scalar(count, {"run_id": run_id}) or 0)


def copy_view_counts(session: Session, run_id: int, counts: Iterable[ViewCount]) -> None:
    """Copy the host's counts; an unusable one becomes -1, which differs from everything."""
    columns = ("run_id", "organization_id", "seat_type", "active")
    with copying(session, "nightly_counts", columns) as copy:
        for each in counts:
            active = each.active if each.sound else -1
            copy.write_row((run_id, each.organization_id, each.seat_type, active))


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


_LIVE = """
    with plans as (
        select * from unnest(cast(:plans as text[]), cast(:policies as text[])) as p (plan, policy)
    ), rules as (
        select * from unnest(cast(:rule_plans as text[]), cast(:rule_policies as text[]),
            cast(:seat_types as text[]), cast(:minimums as int[]), cast(:includeds as int[]),
            cast(:caps as int[])) as r (plan, policy, seat_type, minimum, included, cap)
    ), live as materialized (
        select s.id, s.organization_id, s.member_id, s.customer_id, s.status,
            s.cancel_at_period_end, s.collection_paused, s.schedule_id, s.has_pending_update,
            o.plan, p.policy
        from subscriptions as s
        join organizations as o on o.id = s.organization_id
        left join plans as p on p.plan = o.plan
        where s.deleted_at is null and s.status <> all(cast(:ended as text[]))
    ), seen as materialized (
        select subscription_id as id, min(status) as status, min(customer_id) as customer_id,
            min(organization_id) as organization_id, min(schedule_id) as schedule_id,
            bool_or(cancel_at_period_end) as cancel_at_period_end,
            bool_or(collection_paused) as collection_paused,
            bool_or(has_pending_update) as has_pending_update,
            bool_or(is_seat) or min(organization_id) is not null as ours
        from nightly_seen where run_id = :run_id group by subscription_id
    ), counts as (
        select organization_id, seat_type, active from nightly_counts where run_id = :run_id
    )
    """

# A subscription in Stripe that names no organization we know: a finding, and no call.
_IS_KNOWN = """
    (exists (select from organizations as o where o.id = seen.organization_id)
     or exists (select from organizations as o where o.stripe_customer_id = seen.customer_id))
    """

# Each part answers with (work key, what differs). The order is the order of telling: of several
# differences of one subscription the first is named.
_DIFFERENCES = f"""
    select 'sub:' || seen.id, 1, 'new in Stripe' from seen
    where seen.ours and not exists (select from live where live.id = seen.id) and {_IS_KNOWN}

    union all
    select 'sub:' || live.id, 2, 'not in the list' from live
    where not exists (select from seen where seen.id = live.id)

    union all
    select 'sub:' || live.id, 3, 'status' from live join seen using (id)
    where (live.status, live.customer_id, live.cancel_at_period_end, live.collection_paused,
           live.schedule_id, live.has_pending_update)
        is distinct from (seen.status, seen.customer_id, seen.cancel_at_period_end,
                          seen.collection_paused, seen.schedule_id, seen.has_pending_update)

    union all
    select 'sub:' || live.id, 4, 'quantity'
    from live join seen using (id) join seats as q on q.subscription_id = live.id
    left join nightly_seen as n
        on n.run_id = :run_id and n.subscription_id = live.id and n.item_id = q.item_id
    where coalesce(n.quantity, 0) <> q.quantity
       or n.quantity is distinct from q.stripe_quantity
       or (n.item_id is not null and n.price_id <> q.price_id)

    union all
    select 'sub:' || live.id, 5, 'item'
    from live join nightly_seen as n on n.run_id = :run_id and n.subscription_id = live.id
    where n.is_seat and not exists (
        select from seats as q where q.subscription_id = live.id and q.item_id = n.item_id)

    union all
    select 'sub:' || live.id, 6, 'active count'
    from live join rules as r on r.plan = live.plan
    left join seats as q on q.subscription_id = live.id and q.seat_type = r.seat_type
    left join counts as c
        on c.organization_id = live.organization_id and c.seat_type = r.seat_type
    cross join lateral (values (coalesce(c.active, 0), coalesce(q.quantity, 0))) as n (a, q)
    where live.policy in ('purchased', 'contract', 'follow')
      and (n.a > n.q or n.a < 0 or n.a > r.cap
           or (n.a = 0 and q.active_seen > 0)
           or (live.policy = 'follow' and greatest(n.a, r.minimum) <> n.q))

    union all
    select 'sub:' || live.id, 7, 'member' from live
    where live.policy = 'own_seat' and live.member_id is not null and :own_members
      and not exists (select from members as m
                      where m.organization_id = live.organization_id and m.id = live.member_id
                        and m.status = 'active')

    union all
    select 'sub:' || a.subscription_id, 8, 'unfinished adjustment' from adjustments as a
    where a.state = 'pending' or (a.state = 'applied' and a.checked_at is null)

    union all
    select 'sub:' || live.id, 9, 'several subscriptions' from live
    where live.policy <> 'own_seat' and live.organization_id in (
        select organization_id from live where status in ('active', 'trialing', 'past_due')
        group by organization_id having count(*) > 1)

    union all
    select 'org:' || o.id, 10, 'no subscription'
    from organizations as o join plans as p on p.plan = o.plan
    where p.policy in ('purchased', 'contract', 'follow')
      and exists (select from counts as c where c.organization_id = o.id and c.active <> 0)
      and not exists (select from live where live.organization_id = o.id)
      and not exists (select from seen where seen.organization_id = o.id and seen.ours)

    union all
    select 'org:' || o.id, 11, 'included seats'
    from organizations as o join rules as r on r.plan = o.plan
    join counts as c on c.organization_id = o.id and c.seat_type = r.seat_type
    where r.policy = 'included' and (c.active > r.included or c.active > r.cap or c.active < 0)

    union all
    select 'org:' || o.id, 12, 'member without a seat'
    from organizations as o join plans as p on p.plan = o.plan
    where p.policy = 'own_seat' and :own_members and exists (
        select from members as m
        where m.organization_id = o.id and m.status = 'active' and m.seat_type is not null
          and not exists (select from live where live.organization_id = o.id
                          and live.member_id = m.id and live.status in ('active', 'trialing')))

    union all
    select 'org:' || f.organization_id, 13, 'open finding' from findings as f
    where f.closed_at is null and f.subscription_id is null and f.organization_id is not null
    """

_COMPARE = f"""{_LIVE}
    insert into nightly_differs (run_id, work_key, reason)
    select distinct on (work_key) :run_id, work_key, reason
    from ({_DIFFERENCES}) as d (work_key, nth, reason) order by work_key, nth
    """

_UNKNOWN = f"""{_LIVE},
    opened as (
        insert into findings as f
            (kind, subject, subscription_id, summary, detail, opened_by, last_seen_at)
        select :kind, seen.id, seen.id,
            'The subscription ' || seen.id || ' of the Stripe customer ' || seen.customer_id
            || ' names no organization that was imported: import it, or set its metadata.',
            jsonb_build_object('customer', seen.customer_id, 'organization', seen.organization_id),
            :opened_by, now()
        from seen
        where seen.ours and not exists (select from live where live.id = seen.id)
          and not {_IS_KNOWN}
        on conflict (kind, subject) where closed_at is null do update set last_seen_at = now()
        returning xmax = 0 as is_new
    ), closed as (
        update findings as f set closed_at = now(), last_seen_at = now()
        where f.kind = :kind and f.closed_at is null and not exists (
            select from seen where seen.id = f.subscription_id and seen.ours
              and not exists (select from live where live.id = seen.id) and not {_IS_KNOWN})
        returning 1
    )
    select (select count(*) from opened), (select count(*) from opened where is_new),
        (select count(*) from closed)
    """


@dataclass(frozen=True, slots=True)
class Unknown:
    """Subscriptions that name no organization, and the findings about them."""

    subscriptions: int
    opened: int
    closed: int


def compare(
    session: Session,
    run_id: int,
    rules: Iterable[PlanRules],
    *,
    own_members: bool,
    opened_by: str,
) -> Unknown:
    """Fill `nightly_differs` by sets, and open and close the findings of unknown subscriptions.

    `own_members` is False when the roster is the host's view: single members are not known then.
    """
    session.execute(text("set local statement_timeout = 0"))
    session.execute(text("analyze nightly_seen, nightly_counts"))
    given = _parameters(run_id, rules)
    session.execute(text(_COMPARE), given | {"own_members": own_members})
    unknown = given | {"kind": FindingKind.UNKNOWN_CUSTOMER.value, "opened_by": opened_by}
    return Unknown(*session.execute(text(_UNKNOWN), unknown).one())


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
    """Return the next differing work keys after `after`, in order."""
    rows = session.execute(
        text(
            "select work_key, reason from nightly_differs "
            "where run_id = :run_id and work_key > :after order by work_key limit :limit"
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
