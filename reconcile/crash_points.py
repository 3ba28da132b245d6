"""Places between two durable steps where a test or the demo may kill the process with SIGKILL.

A no-op unless `TRUEUP_CRASH_POINT` names the place, and always with a live key. With a file,
`TRUEUP_CRASH_POINT=after_call:/path/died`, the process dies only while that file does not exist
and creates it first: whoever takes over gets past the place.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

from reconcile.settings import Settings

VARIABLE = "TRUEUP_CRASH_POINT"


class CrashPoint(StrEnum):
    """Every place, named by what is durable when the process dies there."""

    AFTER_CLAIM = "after_claim"  # the inbox rows are leased, nothing has been read yet
    AFTER_FACTS = "after_facts"  # what was seen is committed, what to do about it is not
    AFTER_INTENT = "after_intent"  # the pending adjustment is committed, Stripe not yet called
    AFTER_CALL = "after_call"  # Stripe has answered, the outcome is not committed
    AFTER_ATTEMPT = "after_attempt"  # the next attempt is committed, Stripe not called with its key
    AFTER_CUT_OFF = "after_cut_off"  # an overtaken call's key is spent, it is not yet given up
    AFTER_OUTCOME = "after_outcome"  # the outcome is committed, the invoice not yet checked
    BEFORE_FINISH = "before_finish"  # settled, the inbox rows are not finished
    AFTER_ASKING = "after_asking"  # a member's request for a seat is committed, nobody buys yet
    AFTER_RAISE = "after_raise"  # a raise is paid, the member it is for is not yet active
    AFTER_DELIVERY = "after_delivery"  # the host has taken a notice, nothing says so here
    BEFORE_ANSWER = "before_answer"  # a write of the API is done, its answer is not kept yet
    AFTER_HINT = "after_hint"  # the queue is hinted, the rows are not put off yet
    AFTER_PAGE = "after_page"  # the nightly run or the gap audit has stored a page
    AFTER_BATCH = "after_batch"  # the nightly run has settled a batch, its row does not say so


def crash_point(name: CrashPoint | str) -> None:
    """Die here if this is the named place. Raises ValueError for a place nobody declared."""
    place = CrashPoint(name)
    wanted, _, marker = os.environ.get(VARIABLE, "").partition(":")
    if wanted != place or Settings().livemode:
        return
    if marker and not _created(Path(marker)):
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _created(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
