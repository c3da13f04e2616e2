"""Work that waits for somebody else's server, and an end to the waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class Silent(Exception):
    """Nothing was heard of some work for too long."""


def patiently(work: Callable[[Callable[[], None]], T], seconds: float) -> T:
    """What `work(say)` gives, in a thread of its own; Silent if it neither ends nor calls `say` for so many seconds.

    A thread that is given up is left behind: it ends with this process, or at its next `say`.

    >>> patiently(lambda say: 3, 1.0)
    3
    """
    heard = [time.monotonic()]
    given_up = threading.Event()
    result: Future[T] = Future()

    def say() -> None:
        if given_up.is_set():
            raise Silent
        heard[0] = time.monotonic()

    def run() -> None:
        try:
            result.set_result(work(say))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        left = heard[0] + seconds - time.monotonic()
        if wait([result], timeout=max(left, 0.0)).done:
            return result.result()
        if heard[0] + seconds <= time.monotonic():
            given_up.set()
            raise Silent(f"no answer for {seconds:g} s")
