"""The resources, in the order of the document. A new one is a module and a line in here."""

from backoffice.api.frame import Resource
from backoffice.api.resources.auto_add import auto_add
from backoffice.api.resources.members import members
from backoffice.api.resources.organizations import organizations
from backoffice.api.resources.transfers import transfers

RESOURCES: tuple[Resource, ...] = (organizations, members, transfers, auto_add)
