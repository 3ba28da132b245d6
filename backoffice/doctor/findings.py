"""What one check found, as a value: how it stands, what was seen, what to do."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from reconcile.errors import TrueupError


class Health(StrEnum):
    """How a check ended. A warning works today and may not tomorrow; only `fail` is an error."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One line of the doctor's report."""

    area: str
    check: str
    health: Health
    seen: str
    do: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def ok(area: str, check: str, seen: str) -> Found:
    """All is well."""
    return Found(area=area, check=check, health=Health.OK, seen=seen)


def warn(area: str, check: str, seen: str, do: str) -> Found:
    """It works, and somebody should look at it."""
    return Found(area=area, check=check, health=Health.WARN, seen=seen, do=do)


def fail(area: str, check: str, seen: str, do: str) -> Found:
    """The service does not do its work like this."""
    return Found(area=area, check=check, health=Health.FAIL, seen=seen, do=do)


def gather(
    area: str, do: str, look: Callable[[], Iterator[Found]], errors: tuple[type[Exception], ...]
) -> Iterator[Found]:
    """Yield what `look` finds; one of these errors ends it as a failed check of its own."""
    try:
        yield from look()
    except Exception as error:
        if not isinstance(error, (TrueupError, *errors)):
            raise
        first_line = (str(error).strip() or type(error).__name__).partition("\n")[0]
        yield fail(area, "reachable", first_line, do)
