"""The SQL of an import: rows are staged in temporary tables, compared by sets, then merged.

The tables last as long as the transaction. A check returns (file, line, message) of every row that
breaks it, at most a page of them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from reconcile.store.bulk import copy_rows

# `lacking` names the columns that a row's file or line did not have.
_STAGED = """
create temporary table staged_organizations (file int, line int, lacking text[], id text, name text,
    plan text, stripe_customer_id text, trial boolean) on commit drop;
create temporary table staged_members (file int, line int, lacking text[], organization_id text,
    id text, role text, seat_type text, status text, email text) on commit drop;
create temporary table staged_auto_add (file int, line int, lacking text[], organization_id text,
    seat_type text, enabled boolean, ceiling_quantity int, ceiling_minor bigint) on commit drop;
create temporary table allowed (plan text, role text, seat_type text) on commit drop;
create temporary table touched (kind text, how text, organization_id text) on commit drop;
"""

KEYS = {
    "organizations": ("id",),
    "members": ("organization_id", "id"),
    "auto_add": ("organization_id", "seat_type"),
}

_VALUES = {
    "organizations": ("name", "plan", "stripe_customer_id", "trial"),
    "members": ("role", "seat_type", "status", "email"),
    "auto_add": ("enabled", "ceiling_quantity", "ceiling_minor"),
}

# The stored Stripe customer stays when a file has none: an export without it must not cut the tie.
_NEW_VALUES = {
    "stripe_customer_id": "coalesce(excluded.stripe_customer_id, stored.stripe_customer_id)"
}

_MERGE = """
    with merged as (
        insert into {kind} as stored ({key}, {values})
        select {key}, {values} from staged_{kind} where lacking = cast(:lacking as text[])
        on conflict ({key}) do update set ({values}, updated_at) = row({new_values}, now())
        where ({stored_values}) is distinct from ({new_values})
        returning {organization}, xmax = 0 as is_new
    )
    insert into touched
    select '{kind}', case when is_new then 'added' else 'changed' end, {organization} from merged
    """

_REMOVE_OTHERS = """
    with gone as (
        update members as m set status = 'removed', updated_at = now()
        where m.status <> 'removed'
          and m.organization_id in (select id from staged_organizations
                                    union select organization_id from staged_members)
          and not exists (select from staged_members as s
                          where s.organization_id = m.organization_id and s.id = m.id)
        returning organization_id
    )
    insert into touched select 'members', 'removed', organization_id from gone
    """

_UNKNOWN_ORGANIZATION = """
    select s.file, s.line, 'the organization ' || s.organization_id || ' is not known'
    from {staged} as s
    where not exists (select from organizations as o where o.id = s.organization_id)
      and not exists (select from staged_organizations as o where o.id = s.organization_id)
    """

_CUSTOMER_TAKEN = """
    select s.file, s.line, 'the Stripe customer ' || s.stripe_customer_id || ' already pays for '
        || coalesce(other.id, twin.id)
    from staged_organizations as s
    left join staged_organizations as twin
        on twin.stripe_customer_id = s.stripe_customer_id and twin.id <> s.id
        and (twin.file, twin.line) < (s.file, s.line)
    left join organizations as other
        on other.stripe_customer_id = s.stripe_customer_id and other.id <> s.id
    where s.stripe_customer_id is not null and (twin.id is not null or other.id is not null)
    """

# After the merge, of every organization that the files touch: what its plan does not have. The
# line is the row's own, or that of the organization whose plan changed under its members.
_UNFIT = """
    with wrong as (
        select m.organization_id, m.id, 'the plan ' || o.plan || ' gives the role ' || m.role
            || coalesce(' the seat types ' || (
                   select string_agg(a.seat_type, ', ' order by a.seat_type) from allowed as a
                   where a.plan = o.plan and a.role = m.role),
               case when exists (select from allowed as a where a.plan = o.plan and a.role = m.role)
                   then ' no seat' end)
            || ', not ' || coalesce(m.seat_type, 'none') as said,
            'the plan ' || o.plan || ' has no role ' || m.role as unknown
        from members as m
        join organizations as o on o.id = m.organization_id
        where m.status <> 'removed'
          and m.organization_id in (select id from staged_organizations
                                    union select organization_id from staged_members)
          and not exists (select from allowed as a where a.plan = o.plan and a.role = m.role
                          and a.seat_type is not distinct from m.seat_type)
    )
    select coalesce(s.file, o.file), coalesce(s.line, o.line),
        'member ' || w.id || ': ' || coalesce(w.said, w.unknown)
    from wrong as w
    left join staged_members as s on s.organization_id = w.organization_id and s.id = w.id
    left join staged_organizations as o on o.id = w.organization_id
    union all
    select s.file, s.line, 'the plan ' || o.plan || ' does not have the seat type ' || s.seat_type
    from staged_auto_add as s join organizations as o on o.id = s.organization_id
    where not exists (select from allowed as a
                      where a.plan = o.plan and a.seat_type = s.seat_type)
    """

_REQUESTS = """
    insert into events (id, source, kind, type, object_id, organization_id, work_key, payload,
        due_at)
    select 'tru_' || replace(gen_random_uuid()::text, '-', ''), 'request', 'request', :type,
        organization_id, organization_id, 'org:' || organization_id,
        convert_to(json_build_object('organization', organization_id)::text, 'UTF8'), :due_at
    from touched group by organization_id
    """


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that breaks a check: the number of its file, its line, and what is wrong."""

    file: int
    line: int
    message: str


def prepare(session: Session, allowed: Iterable[tuple[str, str, str | None]]) -> None:
    """Make the temporary tables; `allowed` are the (plan, role, seat type or None) there are.

    A large import may take its time, so the transaction has no statement time-out.
    """
    session.execute(text("set local statement_timeout = 0"))
    session.connection().exec_driver_sql(_STAGED)
    copy_rows(session, "allowed", ("plan", "role", "seat_type"), allowed)


def stage(
    session: Session, kind: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Copy rows into the kind's temporary table: file, line, what it lacks, then its columns."""
    copy_rows(session, f"staged_{kind}", columns, rows)


def _broken(session: Session, query: str, limit: int) -> list[Broken]:
    bounded = text(f"select * from ({query}) as b (file, line, message) order by 1, 2 limit :limit")  # noqa: S608 - our own queries
    return [Broken(*row) for row in session.execute(bounded, {"limit": limit})]


def broken_before_merge(session: Session, limit: int) -> list[Broken]:
    """Return rows given twice, of unknown organizations, or with a customer that is taken."""
    found: list[Broken] = []
    for kind, key in KEYS.items():
        same = ", ".join(key)
        shown = " || '/' || ".join(key)
        twice = f"""
            select file, line, {shown} || ' was given before, on line ' || first_line
            from (select *, row_number() over given as nth, first_value(line) over given
                      as first_line
                  from staged_{kind} window given as (partition by {same} order by file, line))
                as numbered
            where nth > 1
            """  # noqa: S608 - our own names
        found += _broken(session, twice, limit)
    for kind in ("members", "auto_add"):
        found += _broken(session, _UNKNOWN_ORGANIZATION.format(staged=f"staged_{kind}"), limit)
    found += _broken(session, _CUSTOMER_TAKEN, limit)
    return found


def merge(session: Session, *, replace: bool) -> None:
    """Write the staged rows that differ from the stored ones, and remember what was touched.

    What a row lacks stays as it is stored; of a new row it is the table's default.
    """
    for kind in KEYS:
        # As many as there are sets of optional columns: at most four.
        lacking_sets = session.scalars(text(f"select distinct lacking from staged_{kind}"))  # noqa: S608 - our own names
        for lacking in lacking_sets.all():
            session.execute(text(_merge_of(kind, lacking)), {"lacking": lacking})
    if replace:
        session.execute(text(_REMOVE_OTHERS))


def _merge_of(kind: str, lacking: Collection[str]) -> str:
    given = [name for name in _VALUES[kind] if name not in lacking]
    return _MERGE.format(
        kind=kind,
        key=", ".join(KEYS[kind]),
        organization=KEYS[kind][0],
        values=", ".join(given),
        stored_values=", ".join(f"stored.{name}" for name in given),
        new_values=", ".join(_NEW_VALUES.get(name, f"excluded.{name}") for name in given),
    )


def broken_after_merge(session: Session, limit: int) -> list[Broken]:
    """Return what the plans of the organizations, as they are now, do not have."""
    return _broken(session, _UNFIT, limit)


def tally(session: Session) -> dict[tuple[str, str], int]:
    """Return how many rows were touched, by kind and by `added`, `changed` or `removed`."""
    counted = text("select kind, how, count(*) from touched group by kind, how")
    return {(row[0], row[1]): row[2] for row in session.execute(counted)}


def request_work(session: Session, *, type: str, due_at: datetime) -> int:  # noqa: A002 - the inbox's word
    """Add one inbox request for every organization that was touched; returns how many."""
    result = session.execute(text(_REQUESTS), {"type": type, "due_at": due_at})
    return int(result.rowcount)  # type: ignore[attr-defined]
