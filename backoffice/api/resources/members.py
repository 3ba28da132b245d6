"""Members: invited, let in, moved between roles and seats, and taken out again."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from backoffice.api.acting import Acting, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Id, NewId, OrganizationPath, Time, View, Word
from backoffice.api.frame import Resource
from backoffice.api.paging import Listed, PageQuery, page_of
from backoffice.api.problems import NotFound
from reconcile.members import activation, inviting, membership, own_seats
from reconcile.members.joining import Outcome
from reconcile.policy.values import Refuse
from reconcile.store import roster as store

members = Resource("members", "The people of an organization: a role, a seat type, a status.")

Status = Literal["invited", "pending", "active", "blocked", "removed"]
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def _to_return_to(url: str) -> str:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ValueError("has to be an https url")
    return url


ReturnUrl = Annotated[
    str,
    StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://[\x21-\x7e]+$"),
    AfterValidator(_to_return_to),
]


class MemberView(View):
    """A member. Only `active` ones count and hold a seat."""

    id: str = Field(description="Your own id of the member.")
    role: str = Field(description="A role of the plan.")
    seat_type: str | None = Field(description="The kind of seat; null for a role that takes none.")
    status: Status = Field(description="Where the member stands.")


class MemberList(Listed[MemberView]):
    """Members, in the order of their ids."""


class MemberDone(View):
    """What was done, and the member after it."""

    line: str = Field(description="One line for a person: `active: 3 of 5 Voice seats`.")
    member: MemberView = Field(description="The member as they stand now.")


class CheckoutView(View):
    """A page of Stripe's to pay on."""

    id: str = Field(description="Stripe's id of the Checkout Session.")
    url: str = Field(description="Where to send the member.")
    expires_at: Time = Field(description="Until when it may be paid.")


class MemberPath(OrganizationPath):
    """A path to one member."""

    member_id: Id = Field(description="Your own id of the member.")


class MemberQuery(PageQuery):
    """Which members."""

    status: Status | None = Field(default=None, description="Only these.")
    role: Word | None = Field(default=None, description="Only those with this role.")
    seat_type: Word | None = Field(default=None, description="Only those on this kind of seat.")


class Invite(Acting):
    """An invite to send. The email itself is yours to send."""

    id: NewId = Field(description="Your own id of the member.")
    role: Word = Field(description="A role of the plan.")
    seat_type: Word | None = Field(
        default=None, description="May be left out where the role takes one kind of seat, or none."
    )
    email: (
        Annotated[str, StringConstraints(max_length=320, pattern=r"^[^\s@]+@[^\s@]+$")] | None
    ) = Field(default=None, description="Only filled into the page on which an own seat is paid.")


class RoleChange(Acting):
    """A role to give."""

    role: Word = Field(description="A role of the plan.")
    seat_type: Word | None = Field(default=None, description="The kind of seat that goes with it.")


class SeatTypeChange(Acting):
    """A kind of seat to move to."""

    seat_type: Word = Field(description="The kind of seat the member will hold.")


class CheckoutBody(Acting):
    """How an own seat is paid."""

    success_url: ReturnUrl = Field(description="Where Stripe sends whoever has paid.")
    cancel_url: ReturnUrl = Field(description="Where Stripe sends whoever turns back.")
    interval: Literal["month", "year"] = Field(default="month", description="Billed each.")
    currency: Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")] = Field(
        default="usd", description="ISO code, lower case."
    )
    paid_by: Literal["member", "organization"] = Field(
        default="member",
        description="`organization`: its customer in Stripe pays; of the members only an admin "
        "may ask for that.",
    )


_MEMBERS = "/organizations/<organization_id>/members"
_ONE = f"{_MEMBERS}/<member_id>"


@members.read(_MEMBERS, MemberList)
def list_members(path: OrganizationPath, query: MemberQuery) -> Answer:
    """List members, in the order of their ids."""
    place = query.place(str)
    with services().sessions() as session:
        if store.organization(session, path.organization_id) is None:
            raise NotFound("organization")
        rows = store.members_page(
            session,
            path.organization_id,
            status=query.status,
            role=query.role,
            seat_type=query.seat_type,
            after_id=str(place[0]) if place else None,
            limit=query.limit + 1,
        )
    data, cursor = page_of(rows, query.limit, MemberView.model_validate, lambda row: (row.id,))
    return MemberList(data=data, next_cursor=cursor)


@members.read(_ONE, MemberView)
def show(path: MemberPath) -> Answer:
    """Show a member."""
    return shown(path.organization_id, path.member_id)


@members.write(_MEMBERS, MemberDone, scope="members")
def invite(path: OrganizationPath, body: Invite) -> Answer:
    """Invite a member.

    Reserves no seat: the check runs again when the invite is accepted and at the activation.
    Whoever was removed may be invited again. The same invite again does nothing.
    """
    done = inviting.invite(
        services(),
        path.organization_id,
        body.id,
        role=body.role,
        seat_type=body.seat_type,
        email=body.email,
        actor=actor_of(body),
    )
    return answered(done, path.organization_id, body.id)


@members.write(f"{_ONE}/revoke", MemberDone, scope="members")
def revoke(path: MemberPath, body: Acting) -> Answer:
    """Revoke an invite. It reserved nothing, so it frees nothing."""
    done = membership.revoke(services(), path.organization_id, path.member_id, actor=actor_of(body))
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/accept", MemberDone, scope="members")
def accept(path: MemberPath, body: Acting) -> Answer:
    """Accept an invite. Checked like an activation, and checked again at it; takes no seat yet."""
    done = inviting.accept(services(), path.organization_id, path.member_id, actor=actor_of(body))
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/activate", MemberDone, scope="members", works_on=True)
def activate(path: MemberPath, body: Acting) -> Answer:
    """Activate a member: the first login, or SSO.

    Takes a free seat, or buys one where Auto-Add or the plan says so; activations at the same
    moment are bought in one update. Refused with the ways out where there is no seat. 202: the
    purchase is still under way; ask again, or wait for the notice.
    """
    done = activation.activate(
        services(), path.organization_id, path.member_id, actor=actor_of(body)
    )
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/block", MemberDone, scope="members")
def block(path: MemberPath, body: Acting) -> Answer:
    """Block a member. The seat is free, the quantity stays."""
    done = membership.block(services(), path.organization_id, path.member_id, actor=actor_of(body))
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/unblock", MemberDone, scope="members", works_on=True)
def unblock(path: MemberPath, body: Acting) -> Answer:
    """Unblock a member: an activation, and checked like one."""
    done = activation.unblock(
        services(), path.organization_id, path.member_id, actor=actor_of(body)
    )
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/remove", MemberDone, scope="members")
def remove(path: MemberPath, body: Acting) -> Answer:
    """Remove a member. The seat is free, the quantity stays: reducing it is another step."""
    done = membership.remove(services(), path.organization_id, path.member_id, actor=actor_of(body))
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/role", MemberDone, scope="members")
def change_role(path: MemberPath, body: RoleChange) -> Answer:
    """Change a member's role, and with it the pool: frees one seat and takes another."""
    done = membership.change_role(
        services(),
        path.organization_id,
        path.member_id,
        role=body.role,
        seat_type=body.seat_type,
        actor=actor_of(body),
    )
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/seat-type", MemberDone, scope="members")
def change_seat_type(path: MemberPath, body: SeatTypeChange) -> Answer:
    """Move a member to another kind of seat, at once. Needs a free one there; buys nothing."""
    done = membership.move_seat(
        services(),
        path.organization_id,
        path.member_id,
        seat_type=body.seat_type,
        actor=actor_of(body),
    )
    return answered(done, path.organization_id, path.member_id)


@members.write(f"{_ONE}/checkout", CheckoutView, scope="members", status=201)
def check_out(path: MemberPath, body: CheckoutBody) -> Answer:
    """Open a page on which a member pays for a seat of their own.

    For plans where every member pays. The member becomes active when Stripe says that it is paid,
    not when they come back. A blocked member gets no page; who may unblock them opens it for them,
    and unblocks them when it is paid.
    """
    asked = own_seats.Asked(
        success_url=body.success_url,
        cancel_url=body.cancel_url,
        interval=body.interval,
        currency=body.currency,
        by_organization=body.paid_by == "organization",
    )
    made = own_seats.check_out(
        services(), path.organization_id, path.member_id, asked, actor=actor_of(body)
    )
    return made if isinstance(made, Refuse) else (CheckoutView.model_validate(made), 201)


def shown(organization_id: str, member_id: str) -> MemberView:
    """Return the member as they stand; raises NotFound."""
    with services().sessions() as session:
        found = store.member(session, organization_id, member_id)
    if found is None:
        raise NotFound("member")
    return MemberView.model_validate(found)


def answered(done: Outcome, organization_id: str, member_id: str) -> Answer:
    """Return the refusal, or what was done with the member after it."""
    if isinstance(done, Refuse):
        return done
    return MemberDone(line=done.line, member=shown(organization_id, member_id))
