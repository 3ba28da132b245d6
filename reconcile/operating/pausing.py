"""Pause and resume: a kill switch that holds work and loses nothing.

What is held says so on its row, and is due at once when the pause ends.
"""

import time
from dataclasses import dataclass

from reconcile.actor import Actor
from reconcile.envelope import WORKED_TYPES
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import audit, pauses
from reconcile.store import roster as roster_store
from reconcile.store.pauses import ORGANIZATION, TYPE, WRITES, Pause

SCOPES = (WRITES, TYPE, ORGANIZATION)
MOST_SHOWN = 100
# Whoever resumes waits for the answer, and may be a client that does not wait long.
FREEING_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A pause that ended: how many inbox rows are due now, and how many look by themselves."""

    pause: Pause
    released: int
    left: int


def pause(services: Services, scope: str, value: str, actor: Actor) -> Pause | Refuse:
    """Begin a pause: of all writes to Stripe, of an event type, or of an organization.

    `actor` says why. Refused when it is paused already, or when nothing is called so.
    """
    if refused := _refuse(services, scope, value, actor):
        return refused
    with services.sessions.begin() as session:
        begun = pauses.add(session, scope, value, actor)
        if begun is None:
            return Refuse(code="paused_already", message=f"{_what(scope, value)} is paused already")
        audit.record(
            session,
            actor,
            "pause.begun",
            _what(scope, value),
            organization_id=value if scope == ORGANIZATION else None,
            after={"pause": begun.id},
        )
    return begun


def resume(services: Services, scope: str, value: str, actor: Actor) -> Resumed | Refuse:
    """End a pause; what it held is due at once. Refused when there is none.

    The pause is over before the first row is freed, batch by batch and for some seconds: those that
    are left then, or when it is cut off, look by themselves within a quarter of an hour.
    """
    with services.sessions.begin() as session:
        ended = pauses.end(session, scope, value, actor)
        if ended is None:
            return Refuse(code="not_paused", message=f"{_what(scope, value)} is not paused")
        found, held = ended
        audit.record(
            session,
            actor,
            "pause.ended",
            _what(scope, value),
            organization_id=value if scope == ORGANIZATION else None,
            before={"pause": found.id},
            after={"held": held},
        )
    return _free(services, found, held)


def _free(services: Services, ended: Pause, held: int) -> Resumed:
    released, until = 0, time.monotonic() + FREEING_S
    for _ in range(0, held, pauses.FREED_AT_ONCE):
        with services.sessions.begin() as session:
            released += pauses.free(session, ended)
        if time.monotonic() >= until:
            break
    with services.sessions() as session:
        left = pauses.held_rows(session, [ended.id]).get(ended.id, 0)
    return Resumed(pause=ended, released=released, left=left)


def in_force(services: Services) -> list[tuple[Pause, int]]:
    """Return the pauses in force, each with how many inbox rows it holds."""
    with services.sessions() as session:
        found = pauses.standing(session)
        held = pauses.held_rows(session, [each.id for each in found])
    return [(each, held.get(each.id, 0)) for each in found]


def history(services: Services, *, limit: int = MOST_SHOWN) -> tuple[Pause, ...]:
    """Return pauses, ended ones too, the newest first."""
    with services.sessions() as session:
        return pauses.history(session, limit=limit)


def _refuse(services: Services, scope: str, value: str, actor: Actor) -> Refuse | None:
    if scope not in SCOPES or (scope == WRITES) != (value == ""):
        return Refuse(
            code="invalid",
            message="Pause `writes`, `type` with an event type, or `organization` with its id",
        )
    if not actor.because:
        return Refuse(code="invalid", message="A pause says why")
    plain = value.removeprefix("v1.")
    if scope == TYPE and plain not in WORKED_TYPES and not plain.startswith("trueup."):
        return Refuse(
            code="invalid",
            message=f"{value} is no type that is worked off",
            remedies=WORKED_TYPES,
        )
    if scope == ORGANIZATION:
        with services.sessions() as session:
            if roster_store.organization(session, value) is None:
                return Refuse(code="not_found", message=f"There is no organization {value}")
    return None


def _what(scope: str, value: str) -> str:
    return f"{scope} {value}".strip()
