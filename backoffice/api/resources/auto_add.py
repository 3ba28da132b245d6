"""Auto-Add Seats: bought as members activate, up to a ceiling."""

from pydantic import Field

from backoffice.api.acting import Acting, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Minor, OrganizationPath, Seats, View, Word
from backoffice.api.frame import Resource
from backoffice.api.problems import NotFound
from reconcile.members import auto_add as changing
from reconcile.policy.values import Refuse
from reconcile.store.roster import AutoAdd

auto_add = Resource("auto-add", "Seats that are bought as members activate: off by default.")


class AutoAddSetting(View):
    """Auto-Add of one seat type."""

    seat_type: str = Field(description="The kind of seat.")
    enabled: bool = Field(description="Whether seats are added as members activate.")
    ceiling_quantity: int | None = Field(description="Most seats it may reach; null: no ceiling.")
    ceiling_minor: int | None = Field(
        description="Most that a period's seats of this type may cost, minor units; null: none."
    )


class AutoAddSettings(View):
    """Auto-Add of every seat type of the plan."""

    data: list[AutoAddSetting] = Field(description="One for each seat type.")


class AutoAddPath(OrganizationPath):
    """A path to one seat type."""

    seat_type: Word = Field(description="The kind of seat.")


class AutoAddBody(Acting):
    """The setting as it shall be. The lower of two ceilings holds."""

    enabled: bool = Field(description="Whether seats are added as members activate.")
    ceiling_quantity: Seats | None = Field(default=None, description="Most seats it may reach.")
    ceiling_minor: Minor | None = Field(
        default=None, description="Most that a period's seats may cost, in minor units."
    )


_SETTINGS = "/organizations/<organization_id>/auto-add"


@auto_add.read(_SETTINGS, AutoAddSettings)
def list_settings(path: OrganizationPath) -> Answer:
    """Show Auto-Add of every seat type."""
    found = changing.settings_of(services(), path.organization_id)
    return AutoAddSettings(data=[AutoAddSetting.model_validate(each) for each in found])


@auto_add.read(f"{_SETTINGS}/<seat_type>", AutoAddSetting)
def show(path: AutoAddPath) -> Answer:
    """Show Auto-Add of one seat type."""
    for each in changing.settings_of(services(), path.organization_id):
        if each.seat_type == path.seat_type:
            return AutoAddSetting.model_validate(each)
    raise NotFound("seat type of the plan")


@auto_add.write(f"{_SETTINGS}/<seat_type>", AutoAddSetting, scope="billing", method="PUT")
def put(path: AutoAddPath, body: AutoAddBody) -> Answer:
    """Switch Auto-Add of one seat type on or off, with its ceiling.

    For plans whose seats are bought. Who waits for a seat, and seats that are short, are looked
    at right after.
    """
    wanted = AutoAdd(
        seat_type=path.seat_type,
        enabled=body.enabled,
        ceiling_quantity=body.ceiling_quantity,
        ceiling_minor=body.ceiling_minor,
    )
    refused = changing.put(services(), path.organization_id, wanted, actor=actor_of(body))
    return refused if isinstance(refused, Refuse) else AutoAddSetting.model_validate(wanted)
