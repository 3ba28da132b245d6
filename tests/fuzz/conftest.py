"""The doors that this room tries, as other rooms open them."""

from tests.backoffice.api.conftest import api, shop
from tests.webhooks.conftest import count_events, receiver, shared_receiver

__all__ = ["api", "count_events", "receiver", "shared_receiver", "shop"]
