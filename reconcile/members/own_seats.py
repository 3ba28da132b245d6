"""A member pays for a seat of their own on a page of Stripe's (A2).

The page carries the organization and the member in the subscription's metadata; who pays is let in
by Stripe's word of the subscription, never by the click that comes back (`settling.own_seats`).
There is one page at a time: another one closes it. So does what takes the member out, or gives them
another seat (`store.checkouts`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from reconcile.actor import Actor
from reconcile.adjustments import holding
from reconcile.database import exclusive_within
from reconcile.errors import StripeGone, StripeRejected
from reconcile.members.joining import Case, unlocked
from reconcile.policy.activation import PAYMENT_NEEDED, decide_activation
from reconcile.policy.permits import Deed
from reconcile.policy.values import Refuse, SeatPolicy
from reconcile.services import Services
from reconcile.store import checkouts, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.roster import Member

_LOCK_WAIT_S = 10.0
_OPENING = Refuse(
    code="in_progress",
    message="Another page for this seat is being opened",
    remedies=("try again in a moment",),
)
_PAYING = Refuse(
    code="in_progress",
    message="The page before was paid: the seat joins as soon as Stripe has told of it",
    remedies=("wait a moment, then look at the member",),
)
_OVERTAKEN = Refuse(
    code="in_progress",
    message="The member was changed while the page was opened: it is being closed",
    remedies=("look at the member, then open another page",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the page is to be like. `by_organization`: its customer pays, not one of the member's;
    that is not for every member to say.

    Stripe sends the member back to one of the urls.
    """

    success_url: str
    cancel_url: str
    interval: str = "month"
    currency: str = "usd"
    by_organization: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A page to pay on, and until when."""

    id: str
    url: str
    expires_at: datetime


def check_out(
    services: Services, organization_id: str, member_id: str, asked: Asked, *, actor: Actor
) -> Checkout | Refuse:
    """Return a page on which the member pays for their seat, or why there is none.

    Two at once open one page after the other, and the second closes the first. Raises NoSuchMember,
    RosterIsTheHosts, NoSuchPrice, and the errors of a Stripe call.
    """
    seat = f"checkout:{organization_id}/{member_id}"
    with exclusive_within(services.engine, seat, _LOCK_WAIT_S) as mine:
        return _open(services, organization_id, member_id, asked, actor) if mine else _OPENING


def _open(
    services: Services, organization_id: str, member_id: str, asked: Asked, actor: Actor
) -> Checkout | Refuse:
    with services.sessions() as session:
        case = unlocked(session, services, organization_id, actor)
        member = case.need(member_id)
        if refused := (
            case.refuse_unpermitted(Deed.PAY, None if asked.by_organization else member_id)
            or holding.refuse_paused(session, organization_id)
            or _unfit(case, member)
        ):
            return refused
        payer, plan = case.organization.stripe_customer_id, case.organization.plan
    if asked.by_organization and payer is None:
        return Refuse(
            code="no_customer",
            message="The organization has no customer in Stripe to pay for it",
            remedies=("name the organization's customer", "let the member pay"),
        )
    assert member.seat_type is not None, "who takes no seat has none to pay"
    price = services.catalog.price_of(plan, member.seat_type, asked.interval, asked.currency)
    if refused := _close_page_before(services, member, actor):
        return refused
    made = services.stripe.create_checkout_session(
        **_form(services, member, str(price.id), asked, payer if asked.by_organization else None)
    )
    if _overtaken(services, member, plan, str(made["id"]), actor):
        return _OVERTAKEN
    expires_at = datetime.fromtimestamp(made["expires_at"], UTC)
    return Checkout(id=str(made["id"]), url=str(made["url"]), expires_at=expires_at)


def _unfit(case: Case, member: Member) -> Refuse | None:
    if case.rules.policy != SeatPolicy.OWN_SEAT or member.seat_type is None:
        return Refuse(
            code="no_own_seat",
            message="The member pays for no seat of their own on this plan",
            remedies=("activate the member",),
        )
    blocked = member.status == "blocked"
    # Who may unblock pays first, as an unblock asks for a paid seat; paid by anybody else it would
    # let nobody in, and be billed all the same.
    unblocks = blocked and not case.refuse_unpermitted(Deed.UNBLOCK, member.id)
    unfit = case.unfit(member, unblocks=unblocks)
    if isinstance(unfit, Refuse):  # an active member's seat may have lapsed
        return unfit
    decided = decide_activation(case.room_of(member))
    if not isinstance(decided, Refuse):
        return Refuse(
            code="paid_already",
            message="The member's seat is paid already",
            remedies=("activate the member",),
        )
    if decided.code != PAYMENT_NEEDED:
        return decided
    if subscriptions.of_member(case.session, case.organization.id, member.id):
        # Another one beside it would be paid twice as soon as the first one's invoice is.
        return Refuse(
            code="past_due",
            message="The member has a seat whose invoice is not paid",
            remedies=("pay its open invoice", "cancel it first"),
        )
    return None


def _close_page_before(services: Services, member: Member, actor: Actor) -> Refuse | None:
    """Close the page that was opened last: if both were paid, the seat would be paid twice.

    Returns why there is no other page, where it was paid.
    """
    with services.sessions() as session:
        page_id = checkouts.last_opened(session, member.organization_id, member.id)
    if page_id is None:
        return None
    try:
        services.stripe.expire_checkout_session(page_id)
    except StripeGone:
        return None
    except StripeRejected:  # it is paid or closed by now
        bought = services.stripe.read(f"/v1/checkout/sessions/{page_id}")["subscription"]
        with services.sessions() as session:
            if bought is not None and subscriptions.held(session, str(bought)) is None:
                return _PAYING
            # A worker may have recorded the payment since the seat was found unpaid.
            return _unfit(unlocked(session, services, member.organization_id, actor), member)
    return None


def _form(
    services: Services, member: Member, price_id: str, asked: Asked, customer_id: str | None
) -> dict[str, object]:
    settings = services.settings
    metadata = {
        settings.organization_metadata_key: member.organization_id,
        settings.member_metadata_key: member.id,
    }
    form: dict[str, object] = {
        "mode": "subscription",
        "line_items": [{"price": price_id, "quantity": 1}],
        "success_url": asked.success_url,
        "cancel_url": asked.cancel_url,
        "client_reference_id": member.id,
        "metadata": metadata,
        "subscription_data": {"metadata": metadata},
    }
    if customer_id:
        form["customer"] = customer_id
    elif member.email:
        form["customer_email"] = member.email
    return form


def _overtaken(services: Services, member: Member, plan: str, page_id: str, actor: Actor) -> bool:
    """Record the page, and have it closed if it is not for the member as they are by now.

    Under the organization's lock: whoever changes the member sees the page, or is seen here.
    """
    with services.sessions.begin() as session:
        roster_store.lock_organization(session, member.organization_id)
        checkouts.note_opened(session, actor, member, plan=plan, page_id=page_id)
        closing = checkouts.close_needless(
            session, organization_id=member.organization_id, member_id=member.id
        )
    return closing > 0
