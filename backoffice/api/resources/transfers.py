"""What concerns two members at once: swapping seats, passing on a role that only one may hold."""

from typing import Literal

from pydantic import Field

from backoffice.api.acting import Acting, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Id, OrganizationPath, View, Word
from backoffice.api.frame import Resource
from backoffice.api.resources.members import MemberView, shown
from reconcile.members import membership
from reconcile.members.joining import Outcome
from reconcile.policy.values import Refuse

transfers = Resource("transfers", "One operation on two members: net zero, or refused whole.")


class MembersDone(View):
    """What was done, and both members after it."""

    line: str = Field(description="One line for a person.")
    members: list[MemberView] = Field(description="Both members as they stand now.")


class Swap(Acting):
    """Two active members who exchange their seats."""

    member_id: Id = Field(description="Who gets a seat of `seat_type`.")
    with_member_id: Id = Field(description="Whose seat that is; they get the first one's.")
    seat_type: Word = Field(description="The kind of seat that `member_id` will hold.")


class Transfer(Acting):
    """A role to pass on. Naming who holds it keeps two transfers at once apart."""

    kind: Literal["ownership", "admin"] = Field(
        description="`admin` where the plan has exactly one; otherwise change two roles."
    )
    from_member_id: Id = Field(description="Who holds it now.")
    to_member_id: Id = Field(description="Another active member.")


@transfers.write("/organizations/<organization_id>/swaps", MembersDone, scope="members")
def swap(path: OrganizationPath, body: Swap) -> Answer:
    """Swap the seats of two members.

    Net zero for every kind of seat, so it is allowed when all are taken. Asked again, it does
    nothing.
    """
    done = membership.swap_seats(
        services(),
        path.organization_id,
        body.member_id,
        body.with_member_id,
        seat_type=body.seat_type,
        actor=actor_of(body),
    )
    return _both(done, path.organization_id, body.member_id, body.with_member_id)


@transfers.write("/organizations/<organization_id>/transfers", MembersDone, scope="members")
def transfer(path: OrganizationPath, body: Transfer) -> Answer:
    """Pass on the ownership, or the role of the one admin.

    The old owner steps down to admin; the old admin takes the successor's role. Of two transfers
    at once the second finds that its member holds nothing to pass on.
    """
    pass_on = (
        membership.transfer_ownership if body.kind == "ownership" else membership.transfer_admin
    )
    done = pass_on(
        services(),
        path.organization_id,
        body.from_member_id,
        body.to_member_id,
        actor=actor_of(body),
    )
    return _both(done, path.organization_id, body.from_member_id, body.to_member_id)


def _both(done: Outcome, organization_id: str, *member_ids: str) -> Answer:
    if isinstance(done, Refuse):
        return done
    return MembersDone(
        line=done.line, members=[shown(organization_id, each) for each in member_ids]
    )
