"""The resources, in the order of the document. A new one is a module and a line in here."""

from backoffice.api.frame import Resource
from backoffice.api.resources.adjustments import adjustments
from backoffice.api.resources.audit import audit
from backoffice.api.resources.auto_add import auto_add
from backoffice.api.resources.contracts import contracts
from backoffice.api.resources.credits import credit_pool
from backoffice.api.resources.events import events
from backoffice.api.resources.findings import findings
from backoffice.api.resources.members import members
from backoffice.api.resources.notices import notices
from backoffice.api.resources.operations import operations
from backoffice.api.resources.organizations import organizations
from backoffice.api.resources.portal import portal
from backoffice.api.resources.reviews import reviews
from backoffice.api.resources.seat_changes import seat_changes
from backoffice.api.resources.tokens import tokens
from backoffice.api.resources.transfers import transfers
from backoffice.api.resources.usage import usage

RESOURCES: tuple[Resource, ...] = (
    organizations,
    members,
    transfers,
    auto_add,
    seat_changes,
    portal,
    contracts,
    usage,
    credit_pool,
    reviews,
    notices,
    adjustments,
    findings,
    audit,
    events,
    operations,
    tokens,
)
