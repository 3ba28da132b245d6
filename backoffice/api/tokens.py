"""A token's secret: made once, shown once, and checked without a hint of how near a guess was.

`trueup_<id>_<secret>`: the id finds the row and may be logged, the secret is 256 bits of the
system's randomness. A slow hash is for passwords that people choose; of this one SHA-256 is kept.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "members", "billing", "operate", "contract"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_FORM = re.compile(r"trueup_(?P<id>[0-9a-f]{16})_(?P<secret>[0-9a-f]{64})")
# What a secret is compared with where there is no row: the same work, and never equal.
NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request came with. Its `repr` is safe to log."""

    token_id: str
    digest: str

    def matches(self, digest: str) -> bool:
        """Return whether it is the token of that digest, in constant time."""
        return hmac.compare_digest(self.digest, digest)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token on its only way out."""

    token_id: str
    digest: str
    text: str


def make() -> NewToken:
    """Return a new token."""
    token_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    return NewToken(f"tok_{token_id}", _digest(secret), f"trueup_{token_id}_{secret}")


def read(text: str) -> Presented | None:
    """Return what a token's text stands for, or None when it is no token of ours."""
    found = _FORM.fullmatch(text)
    return Presented(f"tok_{found['id']}", _digest(found["secret"])) if found else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
