"""Children that outlived a killed parent: remembered in files, ended at the next start.

A process is ours when its id and its start time are those written down. A process id alone proves
nothing: the system uses it again.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

END_TIMEOUT_S = 15.0
POLL_S = 0.05


def remember(record: Path, pid: int) -> None:
    """Write down a child that was just started."""
    text = json.dumps({"pid": pid, "started": started(pid)})
    fresh = record.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(record)


def forget(record: Path) -> None:
    """The child is gone."""
    record.unlink(missing_ok=True)


def end_all(home: Path) -> list[str]:
    """End what an earlier parent of this data directory left running; the names of those ended.

    To be called by whoever holds the directory's lock: then no living parent has children here.
    """
    ended = []
    for record in sorted((home / "run").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(record.read_text(encoding="utf-8"))
            if _end(int(found["pid"]), found["started"]):
                ended.append(record.stem)
        forget(record)
    return ended


def started(pid: int) -> str | None:
    """When a process started, in a form that is only compared; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return _started_by_ps(pid) if not Path("/proc/self").exists() else None
    except ProcessLookupError:
        return None
    # The command name, in brackets, may hold spaces; the start time is the 20th field after it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{boot}:{fields[19]}"


def _started_by_ps(pid: int) -> str | None:
    shown = subprocess.run(  # noqa: S603  # a constant command and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return shown.stdout.strip() or None


def _end(pid: int, known: str | None) -> bool:
    if known is None or started(pid) != known:
        return False
    os.kill(pid, signal.SIGINT)  # PostgreSQL's quick and clean stop; the others heed it as well
    deadline = time.monotonic() + END_TIMEOUT_S
    while started(pid) == known:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + END_TIMEOUT_S
        time.sleep(POLL_S)
    return True
