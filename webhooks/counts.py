"""Where the processes of one server keep their counts: a directory that dies with its owner.

A killed owner leaves its directory behind, so the next start takes away those that nobody holds. A
lock tells, not a process id: that may be another's by now, or one of another container.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "trueup-counts-"


@contextmanager
def own_directory() -> Iterator[Path]:
    """A fresh directory in the system's place for such, ours until the end or our death."""
    _take_away_what_is_left(Path(tempfile.gettempdir()))
    held = None
    while held is None:
        fresh = Path(tempfile.mkdtemp(prefix=PREFIX))
        # None: another start took it for one that was left behind, before we held it.
        held = _held(fresh)
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(held)


def _take_away_what_is_left(place: Path) -> None:
    for found in place.glob(f"{PREFIX}*"):
        held = _held(found)
        if held is not None:
            shutil.rmtree(found, ignore_errors=True)
            os.close(held)


def _held(directory: Path) -> int | None:
    """Return the open and locked directory; None when it is another's, or gone."""
    with suppress(OSError):
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(opened).st_uid == os.getuid() and directory.is_dir():
                return opened
        except OSError:
            pass
        os.close(opened)
    return None
