"""How one piece of outward work ended: for the inbox row that asked for it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line for a person. `again_at`: look again then. `ignored`: kept, to be replayed later."""

    line: str
    again_at: datetime | None = None
    ignored: bool = False
