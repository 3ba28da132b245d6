"""Pages of Stripe's on which a member may pay, and the requests to close those nobody needs.

A page is known by the audit trail's entry of its opening, which says what it was opened for. That
it is to be closed is decided in the transaction that makes it needless, and is a row of the inbox:
a worker calls Stripe.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from reconcile import tracing
from reconcile.actor import Actor
from reconcile.store import audit
from reconcile.store.roster import Member

OPENED = "member.checkout_opened"
CLOSE = "trueup.checkout.close"
SCOPE = "checkout"

# Stripe keeps a page open for 24 hours unless it is told otherwise
# (docs.stripe.com/api/checkout/sessions/create, `expires_at`); the entry is written after it.
_LASTS_HOURS = 25

# Only the newest page of a member can be open: opening it closed the one before. The request's id
# is made of the page's, so that each is asked to be closed once, whoever finds it needless again.
_CLOSE_NEEDLESS = """
with opened as (
    select distinct on (organization_id, subject)
        organization_id, subject as member_id, at, after as opened_for,
        after ->> 'checkout_session' as page
    from audit_trail
    where action = :opened and at > now() - make_interval(hours => :lasts){whose}
    order by organization_id, subject, id desc
)
insert into events (id, source, kind, type, object_id, organization_id, work_key, payload,
    traceparent, due_at)
select 'tru_' || left(encode(sha256(convert_to(page, 'UTF8')), 'hex'), 32),
    'request', 'request', :type, page, p.organization_id, '{scope}:' || page,
    convert_to(json_build_object('organization', p.organization_id, 'member', member_id,
        'status', m.status, 'over_at', extract(epoch from p.at)::bigint + :lasts * 3600)::text,
        'UTF8'),
    :traceparent, now()
from opened as p
join organizations as o on o.id = p.organization_id
left join members as m on m.organization_id = p.organization_id and m.id = p.member_id
where m.id is null or m.status = 'removed'
   or (m.status in ('active', 'blocked') and m.status is distinct from opened_for ->> 'status')
   or m.seat_type is distinct from opened_for ->> 'seat_type'
   or o.plan is distinct from opened_for ->> 'plan'
on conflict (id) do nothing
returning id
"""


def note_opened(session: Session, actor: Actor, member: Member, *, plan: str, page_id: str) -> None:
    """Record a page, and what the member and the plan were when it was opened."""
    audit.record(
        session,
        actor,
        OPENED,
        member.id,
        organization_id=member.organization_id,
        after={
            "checkout_session": page_id,
            "plan": plan,
            "seat_type": member.seat_type,
            "status": member.status,
        },
    )


def last_opened(session: Session, organization_id: str, member_id: str) -> str | None:
    """Return the id of the page that was opened last for the member, open or not, or None."""
    found = audit.page(
        session, organization_id=organization_id, subject=member_id, action=OPENED, limit=1
    )
    return str((found[0].after or {})["checkout_session"]) if found else None


def close_needless(
    session: Session, *, organization_id: str | None = None, member_id: str | None = None
) -> int:
    """Ask for the pages to be closed that would not be opened any more; returns how many.

    Whose member is removed by now, was blocked or has joined since, has another seat type or plan.
    A page that was opened for a blocked member, to be unblocked when it is paid, stays. Of one
    member, of one organization, or of all.
    """
    named = {"organization_id": organization_id, "subject": member_id}
    named = {column: value for column, value in named.items() if value is not None}
    whose = "".join(f" and {column} = :{column}" for column in named)
    asked = {
        "opened": OPENED,
        "lasts": _LASTS_HOURS,
        "type": CLOSE,
        "traceparent": tracing.traceparent(),
    }
    found = session.execute(text(_CLOSE_NEEDLESS.format(whose=whose, scope=SCOPE)), asked | named)
    return len(found.all())
