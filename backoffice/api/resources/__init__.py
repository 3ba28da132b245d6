"""The resources, in the order of the document. A new one is a module and a line in here."""

from backoffice.api.frame import Resource
from backoffice.api.resources.organizations import organizations

RESOURCES: tuple[Resource, ...] = (organizations,)
