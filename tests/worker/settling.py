"""A worker process whose settling is one line in a file: how the worker works, without Stripe.

Run as `python -m tests.worker.settling FILE`. The work key says how it behaves: `sub:quick-1`,
`sub:slow-1` (takes 2 s), `sub:alarm-1` (sleeps past its time), `sub:hang-1` (in a call no signal
ends, the first time), `sub:die-1` (kills its worker, the first time), `sub:poison-1` (every time).
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from reconcile.services import Services, build_services
from reconcile.settings import Settings
from reconcile.settling.course import Settled
from reconcile.settling.work import work_off
from reconcile.store.work import ClaimedEvent
from worker import jobs, process


def settle(diary: Path, services: Services, work_key: str, batch: list[ClaimedEvent]) -> Settled:
    """Behave as the key says, and write down when it began and ended."""
    behaviour = work_key.removeprefix("sub:").partition("-")[0]
    again = work_key in (diary.read_text() if diary.exists() else "")
    _write(diary, "begin", work_key)
    if behaviour == "slow":
        time.sleep(2)
    elif behaviour == "alarm":
        time.sleep(60)
    elif behaviour == "hang" and not again:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM, signal.SIGINT})
        time.sleep(60)
    elif behaviour == "poison" or (behaviour == "die" and not again):
        os.kill(os.getpid(), signal.SIGKILL)
    _write(diary, "end", work_key)
    return Settled(line=f"settled {len(batch)}", again_at=None)


def _write(diary: Path, what: str, work_key: str) -> None:
    line = f"{what} {work_key} {os.getpid()}\n"
    with diary.open("a") as lines:
        lines.write(line)


if __name__ == "__main__":
    jobs.LAST_WORDS_S = 0.5  # or the supervisor would wait longer than a test
    work = partial(work_off, settle=partial(settle, Path(sys.argv[1])))
    process.main(Settings(), work, open_all=build_services)  # there is no Stripe to ask
