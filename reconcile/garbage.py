"""Python's garbage collector, told what our processes are like.

A start makes a hundred thousand objects, nearly all of which stay until the end. The collector is
made for programs whose objects go.
"""

import atexit
import gc


def look_seldom() -> None:
    """Look for garbage less often, and no more at the end. Once a process, before its imports."""
    # Looking after each 700 new objects took a tenth of a start's time.
    gc.set_threshold(50_000)
    # The end of an interpreter looks through everything again, several times: a third of what a
    # start and an end cost together. The system takes the memory back anyway.
    atexit.register(gc.freeze)
