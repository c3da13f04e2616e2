"""Wall and processor seconds of commands, with all processes they start."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
PR_SET_CHILD_SUBREAPER = 36


def spent(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """What `work` gives, its wall seconds, and the processor seconds of the processes that it starts.

    On Linux also of those that outlive their parent, such as the one that others are forked from: this process adopts
    them, and waits for their end after the wall clock has stopped.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = work()
    wall = time.monotonic() - began
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
