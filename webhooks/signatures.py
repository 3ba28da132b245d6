"""Who signed a body: the names of the secrets stay here, the secrets never leave.

The HMAC is the official SDK's; what it lets pass that we do not, is refused here.
"""

import time
from collections.abc import Callable, Mapping

from pydantic import SecretStr
from stripe import SignatureVerificationError, WebhookSignature

# Clocks are never equal to the second; a timestamp further ahead than this is refused. The SDK
# refuses old ones only, so that a stolen request dated ahead would stay good for years.
CLOCK_SKEW_S = 5


class Signatures:
    """The named secrets of this receiver."""

    def __init__(
        self,
        secrets: Mapping[str, SecretStr],
        *,
        tolerance_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = [(name, secret.get_secret_value()) for name, secret in secrets.items()]
        self._tolerance_s = tolerance_s
        self._clock = clock

    @property
    def usable(self) -> bool:
        """Whether any secret could match at all."""
        return any(secret.strip() for _, secret in self._secrets)

    def matching(self, body: bytes, header: str | None) -> str | None:
        """Return the name of the secret the raw body was signed with, or None: not authentic.

        Stripe: https://docs.stripe.com/webhooks#verify-manually. An empty secret matches nothing.
        """
        if not header or self._from_the_future(header):
            return None
        for name, secret in self._secrets:
            try:
                WebhookSignature.verify_header(body, header, secret, tolerance=self._tolerance_s)
            # ValueError: not UTF-8, which the SDK decodes outside its own try.
            # TypeError: a signature with non-ASCII characters cannot be compared.
            except (SignatureVerificationError, ValueError, TypeError):
                continue
            return name
        return None

    def _from_the_future(self, header: str) -> bool:
        """Judge the same timestamp the SDK will: the first `t` of the header."""
        for part in header.split(","):
            key, _, value = part.partition("=")
            if key == "t":
                try:
                    return int(value) > self._clock() + CLOCK_SKEW_S
                except ValueError:
                    return True
        return True
