"""What a write answered, by the key it came with: the same request again gets the same answer.

A key is claimed before the write and settled after it, in transactions of their own. Whoever claims
it holds it until `locked_until`: a process that died in between leaves a key that runs out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.tables import idempotency_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A key as it is kept: `running`, or `done` with the answer that was given."""

    request_digest: str
    state: str
    status: int | None
    content_type: str | None
    answer: bytes | None
    locked_until: datetime


_NOTHING_YET: dict[str, Any] = {
    "state": "running",
    "status": None,
    "content_type": None,
    "answer": None,
}


def claim(  # noqa: PLR0913 - one row, all by name
    session: Session,
    token_id: str,
    key: str,
    *,
    request_digest: str,
    at: datetime,
    locked_until: datetime,
) -> Kept | None:
    """Take the key and return None, or return what is kept under it.

    Two at once: exactly one takes it. A claim of the same request that ran out is taken over.
    """
    new = {"request_digest": request_digest, "locked_until": locked_until}
    taken = session.execute(
        insert(idempotency_keys)
        .values(token_id=token_id, key=key, created_at=at, **new)
        .on_conflict_do_update(
            index_elements=["token_id", "key"],
            set_=new,
            where=(idempotency_keys.c.state == "running")
            & (idempotency_keys.c.locked_until <= at)
            & (idempotency_keys.c.request_digest == request_digest),
        )
        .returning(idempotency_keys.c.key)
    ).one_or_none()
    if taken is not None:
        return None
    row = session.execute(select(idempotency_keys).where(*_this(token_id, key))).mappings()
    found = row.one_or_none()
    if found is None:
        # Pruned between the two statements. Whoever comes again in a moment will have it.
        return Kept(**_NOTHING_YET, request_digest=request_digest, locked_until=locked_until)
    return Kept(**{name: found[name] for name in Kept.__slots__})


def settle(  # noqa: PLR0913 - one row, all by name
    session: Session,
    token_id: str,
    key: str,
    *,
    locked_until: datetime,
    status: int,
    content_type: str,
    answer: bytes,
) -> None:
    """Keep the answer, if the claim with that end is still the one in force."""
    session.execute(
        update(idempotency_keys)
        .where(*_this(token_id, key), idempotency_keys.c.locked_until == locked_until)
        .values(state="done", status=status, content_type=content_type, answer=answer)
    )


def release(
    session: Session, token_id: str, key: str, *, locked_until: datetime, at: datetime
) -> None:
    """Let go of a claim whose answer is not to be kept: the same request, and no other, may run."""
    session.execute(
        update(idempotency_keys)
        .where(
            *_this(token_id, key),
            idempotency_keys.c.locked_until == locked_until,
            idempotency_keys.c.state == "running",
        )
        .values(locked_until=at)
    )


def prune(session: Session, *, before: datetime, limit: int) -> int:
    """Delete at most `limit` keys made before then; returns how many."""
    old = (
        select(idempotency_keys.c.token_id, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    result = session.execute(
        delete(idempotency_keys).where(
            idempotency_keys.c.token_id == old.c.token_id, idempotency_keys.c.key == old.c.key
        )
    )
    return int(result.rowcount)  # type: ignore[attr-defined] # a DELETE's result has it


def _this(token_id: str, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return idempotency_keys.c.token_id == token_id, idempotency_keys.c.key == key
