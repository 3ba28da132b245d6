"""Who acts: a member, a token of the host application, a person at the command line, or we."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, as the audit trail names them.

    `who` is `member:ann`, `token:tok_...`, `cli:kim` or `trueup`; `token_id` is set when it came
    through the API, `because` when the person gave a reason.
    """

    who: str
    token_id: str | None = None
    because: str | None = None

    def __str__(self) -> str:
        return self.who

    @property
    def member_id(self) -> str | None:
        """The acting member's id; None when it is nobody of the organization."""
        return self.who.removeprefix("member:") if self.who.startswith("member:") else None


# What happens without a person: an event, the night, a member who was waiting.
TRUEUP = Actor("trueup")
