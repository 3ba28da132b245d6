"""Whose rights the database runs with, and which directories those rights can reach.

PostgreSQL refuses to run as root. Started by root it runs as `postgres` or `nobody`, who cannot
enter root's home; what they need is then copied where they can, and no directory of the person's
has its mode changed.
"""

import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backoffice.local.errors import LocalError

PROBE_TIMEOUT_S = 20
_LINK = "elsewhere"


@dataclass(frozen=True)
class Account:
    """An unprivileged account to run a server as."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account PostgreSQL must run as; None when the caller is not root and serves itself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalError(
        "PostgreSQL does not run as root, and this machine has neither a `postgres` nor a "
        "`nobody` account to run it as. Run as another user, or set TRUEUP_DATABASE_URL."
    )


def succeeds_as(account: Account | None, script: str, *arguments: str | Path) -> bool:
    """Whether a shell script ends well with the account's rights.

    Asking the system itself is the only answer that also knows access lists, `noexec` mounts and
    network file systems.
    """
    result = subprocess.run(  # noqa: S603  # the scripts are constants of this package
        ["/bin/sh", "-c", script, "sh", *map(str, arguments)],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PROBE_TIMEOUT_S,
        check=False,
    )
    return result.returncode == 0


def make_home(path: Path) -> Path:
    """Create the data directory, or accept the one there; its absolute path."""
    path = path.absolute()
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        # Others may pass through to what is theirs, and list nothing.
        path.chmod(0o711)
    return path


def reachable_home(home: Path, account: Account | None) -> Path:
    """Where the account's files go: `home`, or a directory of our own outside when it cannot enter.

    The directory outside has a random name that the link `elsewhere` in `home` remembers, so that
    nobody can prepare it before us, and it is used again only while it is ours alone to change.
    """
    if account is None or succeeds_as(account, 'test -x "$1"', home):
        return home
    link = home / _LINK
    if link.is_symlink():
        target = link.readlink()
        if _only_ours(target) and succeeds_as(account, 'test -x "$1"', target):
            return target
        link.unlink()
    target = temporary_home(account, lasting=True)
    link.symlink_to(target)
    return target


def temporary_home(
    account: Account | None, *, lasting: bool = False, longest: int | None = None
) -> Path:
    """A fresh directory the account can enter.

    `lasting` ones survive a restart of the machine; `longest` bounds the path, in bytes.
    """
    usual = Path(tempfile.gettempdir())
    places = [Path("/var/tmp"), usual, Path("/tmp")] if lasting else [usual, Path("/tmp")]  # noqa: S108  # random names in it, checked owner
    for place in dict.fromkeys(places):
        if not place.is_dir() or not _safe_to_share(place):
            continue
        fresh = Path(tempfile.mkdtemp(prefix="trueup-", dir=place))
        fresh.chmod(0o711 if account else 0o700)
        fits = longest is None or len(os.fsencode(fresh)) <= longest
        if fits and (account is None or succeeds_as(account, 'test -x "$1"', fresh)):
            return fresh
        fresh.rmdir()
    raise LocalError(
        f"no temporary directory that {account.name if account else 'this user'} can enter; "
        "set TMPDIR to one, or set TRUEUP_DATABASE_URL"
    )


def _only_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and not found.st_mode & 0o022 and _safe_to_share(path.parent)


def _safe_to_share(place: Path) -> bool:
    """Whether others can not rename what we put there: sticky, or writable by its owner only."""
    found = place.stat()
    trusted = found.st_uid in {0, os.geteuid()}
    return trusted and (bool(found.st_mode & stat.S_ISVTX) or not found.st_mode & 0o022)
