"""What can go wrong on this machine, each with a sentence for the person in front of it."""

from pathlib import Path


class LocalError(Exception):
    """This machine cannot do what was asked; the message says what to change."""


class ProcessFailedError(LocalError):
    """A process ended or never became ready; the message ends with the tail of its log."""

    def __init__(self, name: str, what: str, log: Path, tail: str) -> None:
        self.name = name
        self.log = log
        shown = tail.strip() or "(the log is empty)"
        super().__init__(f"{name} {what}. Its log, {log}, ends with:\n{shown}")
