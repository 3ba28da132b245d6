"""The nightly run's comparison in SQL: what Stripe showed beside what we hold, as sets.

Only text. Every query takes the rules of the catalog as arrays, beside the run's id.
"""

# ruff: noqa: S608 - the queries are put together of this module's own constants

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
            bool_or(is_ours) or min(organization_id) is not null as ours
        from nightly_seen where run_id = :run_id group by subscription_id
    ), counts as (
        select organization_id, seat_type, active from nightly_counts where run_id = :run_id
    )
    """

# Whose a subscription is: its metadata's organization, else its customer's. One of nobody we know
# is a finding, and no call.
_IS_KNOWN = """
    exists (select from organizations as o where case
        when seen.organization_id is null then o.stripe_customer_id = seen.customer_id
        else o.id = seen.organization_id end)
    """

# A plan that includes its seats need have no price of ours to be known by.
_INCLUDES_ALL = """
    exists (select from organizations as o join plans as p on p.plan = o.plan
            where p.policy = 'included' and o.stripe_customer_id = seen.customer_id)
    """

# Each part answers with (work key, what differs). The order is the order of telling: of several
# differences of one subscription the first is named.
_DIFFERENCES = f"""
    select 'sub:' || seen.id, 1, 'new in Stripe' from seen
    where (seen.ours or {_INCLUDES_ALL})
      and not exists (select from live where live.id = seen.id) and {_IS_KNOWN}

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
    where :counted and live.policy in ('purchased', 'contract', 'follow')
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
    select 'org:' || o.id, 10, 'included seats'
    from organizations as o join rules as r on r.plan = o.plan
    join counts as c on c.organization_id = o.id and c.seat_type = r.seat_type
    where :counted and (
        (r.policy = 'included' and (c.active > r.included or c.active > r.cap))
        or (c.active < 0 and not exists (
            select from live where live.organization_id = o.id
              and live.policy in ('purchased', 'contract', 'follow'))))

    union all
    select 'org:' || o.id, 11, 'member without a seat'
    from organizations as o join plans as p on p.plan = o.plan
    where p.policy = 'own_seat' and :own_members and exists (
        select from members as m
        where m.organization_id = o.id and m.status = 'active' and m.seat_type is not null
          and not exists (select from live where live.organization_id = o.id
                          and live.member_id = m.id and live.status in ('active', 'trialing')))

    union all
    select 'sub:' || live.id, 15, 'agreed seats'
    from live join contracts as c on c.organization_id = live.organization_id
    cross join lateral jsonb_each_text(c.quantities) as k (seat_type, agreed)
    where live.policy = 'contract' and live.member_id is null and cast(k.agreed as int) > 0
      and not exists (select from contracts as newer
                      where newer.organization_id = c.organization_id and newer.id > c.id)
      and exists (select from seats as q where q.subscription_id = live.id)
      and not exists (select from seats as q
                      where q.subscription_id = live.id and q.seat_type = k.seat_type)

    union all
    select 'org:' || c.organization_id, 14, 'contract ends'
    from contracts as c join organizations as o on o.id = c.organization_id
    join plans as p on p.plan = o.plan and p.policy = 'contract'
    where c.ends_at <= :contracts_until and not exists (
        select from contracts as newer
        where newer.organization_id = c.organization_id and newer.id > c.id)

    union all
    select 'org:' || f.organization_id, 12, 'open finding' from findings as f
    where f.closed_at is null and f.subscription_id is null and f.organization_id is not null
      and f.kind <> :bereft

    union all
    select 'sub:' || live.id, 12, 'open finding'
    from live join findings as f on f.subscription_id = live.id
    where f.closed_at is null and f.kind = any(:closing)
    """

# A lapse of an own seat is its organization's matter as well, and many of them are so once.
COMPARE = f"""{_LIVE}, differences (work_key, nth, reason) as ({_DIFFERENCES})
    insert into nightly_differs (run_id, work_key, reason)
    select distinct on (work_key) :run_id, work_key, reason
    from (
        select * from differences
        union all
        select 'org:' || live.organization_id, 13, 'own seats'
        from live join differences as d on d.work_key = 'sub:' || live.id
        where live.policy = 'own_seat'
    ) as every order by work_key, nth
    """

_OPEN = """
    opened as (
        insert into findings as f (kind, subject, organization_id, subscription_id, urgent, summary,
            detail, opened_by, last_seen_at)
        select :kind, subject, organization_id, subscription_id, urgent, summary, detail,
            :opened_by, now()
        from wanted
        on conflict (kind, subject) where closed_at is null do update set last_seen_at = now()
        returning xmax = 0 as is_new
    )
    """
_COUNT = """
    select (select count(*) from opened), (select count(*) from opened where is_new),
        (select count(*) from closed)
    """

UNKNOWN = f"""{_LIVE},
    wanted as (
        select seen.id as subject, null as organization_id, seen.id as subscription_id,
            false as urgent,
            'Seats are billed to ' || seen.customer_id || ', which no organization has: import the '
            || 'organization, or name it in the subscription''s metadata.' as summary,
            jsonb_build_object('customer', seen.customer_id, 'organization', seen.organization_id)
                as detail
        from seen
        where seen.ours and not exists (select from live where live.id = seen.id)
          and not {_IS_KNOWN}
    ), {_OPEN}, closed as (
        update findings as f set closed_at = now(), last_seen_at = now()
        where f.kind = :kind and f.closed_at is null
          and not exists (select from wanted where wanted.subject = f.subject)
        returning 1
    )
    {_COUNT}"""

# Seats in use that nobody pays for; what the customer buys beside seats pays for none. What was
# opened about a subscription that is over by now is gone, too, when the organization has another
# one, or nobody active any more.
BEREFT = f"""{_LIVE},
    unpaid as (
        select o.id, sum(c.active) as active
        from organizations as o join plans as p on p.plan = o.plan
        join counts as c on c.organization_id = o.id and c.active > 0
        where :counted and p.policy in ('purchased', 'contract', 'follow') and not o.trial
          and not exists (select from live join seats as q on q.subscription_id = live.id
              where live.organization_id = o.id)
          and not exists (select from seen where seen.ours and (seen.organization_id = o.id
              or (seen.organization_id is null and seen.customer_id = o.stripe_customer_id)))
        group by o.id
    ), wanted as (
        select u.id as subject, u.id as organization_id, null as subscription_id, true as urgent,
            u.active || ' members are active and no subscription has seats: start one, or block '
                || 'them.' as summary,
            jsonb_build_object('active', u.active) as detail
        from unpaid as u
        where not exists (select from findings as f where f.kind = :kind and f.closed_at is null
                          and f.organization_id = u.id and f.subscription_id is not null)
    ), {_OPEN}, closed as (
        update findings as f set closed_at = now(), last_seen_at = now()
        where :counted and f.kind = :kind and f.closed_at is null
          and not exists (select from counts where counts.active < 0
                          and counts.organization_id = f.organization_id)
          and not exists (select from unpaid where unpaid.id = f.organization_id)
          and not exists (select from live where live.id = f.subscription_id)
        returning 1
    )
    {_COUNT}"""
