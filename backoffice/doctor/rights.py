"""What the Stripe key may do: each right this service needs, asked for without changing anything.

A read asks for one object. A write names an object that does not exist: Stripe checks the key's
rights before it looks, so "no such object" means that the right is there. (Which right
`create_preview` needs is not documented; the answer shows it.)
https://docs.stripe.com/keys/restricted-api-keys
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backoffice.doctor.findings import Found, fail, ok, warn
from reconcile.errors import StripeKeyRefused, StripeRejected
from reconcile.stripe_api import StripeApi

NOBODY = "trueup_doctor_does_not_exist"
# Stripe refuses signatures older than five minutes, and so do we.
SKEW_WARN_S = 30
SKEW_FAIL_S = 150


@dataclass(frozen=True, slots=True)
class Right:
    """A right of a restricted key, as the Dashboard calls it, and the request that shows it.

    `only_for` names what cannot be done without it, where everything else can.
    """

    name: str
    level: str
    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    only_for: str = ""

    @property
    def optional(self) -> bool:
        """Whether an installation may do without it."""
        return bool(self.only_for)


RIGHTS = (
    Right("Subscriptions", "read", "get", "/v1/subscriptions", {"limit": 1}),
    Right("Subscriptions", "write", "post", f"/v1/subscriptions/sub_{NOBODY}", {"description": ""}),
    Right("Prices", "read", "get", "/v1/prices", {"limit": 1}),
    Right("Customers", "read", "get", "/v1/customers", {"limit": 1}),
    Right("Invoices", "read", "get", "/v1/invoices", {"limit": 1}),
    Right(
        "Invoices (previews)",
        "read or write",
        "post",
        "/v1/invoices/create_preview",
        {"subscription": f"sub_{NOBODY}"},
    ),
    Right("Events", "read", "get", "/v1/events", {"limit": 1}),
    Right(
        "Customer portal",
        "write",
        "post",
        "/v1/billing_portal/sessions",
        {"customer": f"cus_{NOBODY}"},
    ),
    Right(
        "Checkout Sessions",
        "write",
        "post",
        f"/v1/checkout/sessions/cs_{NOBODY}/expire",
        only_for="plans on which members pay for a seat of their own",
    ),
    Right(
        "Webhook endpoints",
        "read",
        "get",
        "/v1/webhook_endpoints",
        {"limit": 1},
        only_for="this check",
    ),
)


def rights_found(api: StripeApi) -> Iterator[Found]:
    """Each right of the key, and how far our clock is from Stripe's.

    Ends after the first line when the key itself is refused. Raises RetryLater kinds when Stripe
    cannot be reached.
    """
    clock: datetime | None = None
    for right in RIGHTS:
        name = f"{right.name}: {right.level}"
        try:
            clock = api.probe(right.method, right.path, **right.params)
        except StripeKeyRefused as refused:
            if refused.http_status == 401:
                do = "copy the key again from Stripe, and mind that it is not expired"
                yield fail("stripe key", "accepted", refused.detail or "refused", do)
                return
            yield _missing(right, name)
        except StripeRejected:
            # It looked for the object: the right was there.
            yield ok("stripe key", name, "granted")
        else:
            yield ok("stripe key", name, "granted")
    if clock:
        yield clock_found(clock, lambda: datetime.now(UTC))


def clock_found(stripe_now: datetime, now: Callable[[], datetime]) -> Found:
    """How far our clock is from Stripe's; too far, and signatures are refused."""
    skew_s = round((now() - stripe_now).total_seconds())
    seen = f"{abs(skew_s)} s {'behind' if skew_s < 0 else 'ahead of'} Stripe"
    do = "set this machine's clock by NTP: signatures are only good for 300 s"
    if abs(skew_s) > SKEW_FAIL_S:
        return fail("clock", "skew", seen, do)
    if abs(skew_s) > SKEW_WARN_S:
        return warn("clock", "skew", seen, do)
    return ok("clock", "skew", seen if skew_s else "none")


def _missing(right: Right, name: str) -> Found:
    do = f"give the key {right.name} {right.level} at Stripe, Developers, API keys"
    if right.optional:
        return warn("stripe key", name, f"missing; only needed for {right.only_for}", do)
    return fail("stripe key", name, "missing", do)
