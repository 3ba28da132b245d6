"""Auto-Add Seats (B15): off by default, switched on per seat type, with a ceiling, by an admin."""

from reconcile.acting import refuse_unpermitted
from reconcile.actor import Actor
from reconcile.members.joining import NoSuchOrganization
from reconcile.policy.permits import Deed
from reconcile.policy.seat_change import Wanted, refuse_by_plan
from reconcile.policy.values import PlanRules, Refuse, SeatPolicy
from reconcile.services import Services
from reconcile.store import audit
from reconcile.store import roster as roster_store
from reconcile.store.inbox import add_request
from reconcile.store.roster import ROSTER_CHANGED, AutoAdd


def settings_of(services: Services, organization_id: str) -> tuple[AutoAdd, ...]:
    """Return the setting of every seat type of the organization's plan.

    Raises NoSuchOrganization.
    """
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        if organization is None:
            raise NoSuchOrganization(organization_id)
        known = roster_store.auto_add_settings(session, organization_id)
    seat_types = services.catalog.plan(organization.plan).rules.seat_types
    return tuple(known.get(seat_type, _off(seat_type)) for seat_type in seat_types)


def put(
    services: Services, organization_id: str, wanted: AutoAdd, *, actor: Actor
) -> Refuse | None:
    """Set Auto-Add of one seat type, or return why not; the same again does nothing.

    The organization is looked at afterwards: members may be waiting for it, or seats be short.
    Raises NoSuchOrganization.
    """
    with services.sessions.begin() as session:
        roster_store.lock_organization(session, organization_id)
        organization = roster_store.organization(session, organization_id)
        if organization is None:
            raise NoSuchOrganization(organization_id)
        refused = refuse_unpermitted(
            session, services.roster, organization, actor, Deed.SET_AUTO_ADD
        ) or _unfit(services.catalog.plan(organization.plan).rules, wanted)
        if refused:
            return refused
        known = roster_store.auto_add_settings(session, organization_id)
        before = known.get(wanted.seat_type, _off(wanted.seat_type))
        if before == wanted:
            return None
        roster_store.write_auto_add(session, organization_id, [wanted])
        audit.record(
            session,
            actor,
            "auto_add.set",
            wanted.seat_type,
            organization_id=organization_id,
            before=_shown(before),
            after=_shown(wanted),
        )
        add_request(
            session,
            type=ROSTER_CHANGED,
            work_key=f"org:{organization_id}",
            payload={"what": "auto_add.set", "seat_type": wanted.seat_type, "actor": str(actor)},
            due_at=services.clock(),
        )
    return None


def _unfit(rules: PlanRules, wanted: AutoAdd) -> Refuse | None:
    if wanted.seat_type not in rules.seat_types:
        return Refuse(
            code="unknown_seat_type",
            message=f"The plan has no seats of the type {wanted.seat_type}",
            remedies=tuple(f"choose {known}" for known in rules.seat_types),
        )
    if rules.policy == SeatPolicy.PURCHASED:
        return None
    # What nobody may buy, nobody has bought for them either; the plan says why in its own words.
    asked = Wanted(quantities={wanted.seat_type: 1})
    return refuse_by_plan(rules, asked)


def _off(seat_type: str) -> AutoAdd:
    return AutoAdd(seat_type=seat_type, enabled=False, ceiling_quantity=None, ceiling_minor=None)


def _shown(setting: AutoAdd) -> dict[str, object]:
    return {
        "enabled": setting.enabled,
        "ceiling_quantity": setting.ceiling_quantity,
        "ceiling_minor": setting.ceiling_minor,
    }
