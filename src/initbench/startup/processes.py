"""Processes beside this one: how they start, and that they end with it.

They are forked from a clean process that has imported once what they need; where there is none, each imports it. This
module imports no torch, so that the parent can do other things meanwhile.
"""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from typing import Any

from initbench.startup import home, scratch
from initbench.startup.plain import plain_start

GRACE = 2.0  # seconds between asking a process to end and ending it
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler's time limit, a terminal that is closed


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number

    def heard(self) -> None:
        """It has come through."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def __str__(self) -> str:
        return "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number).name}"


class Processes:
    """Up to `n` processes, each started by the work that is there for it; `starting(*args)` is what each does first."""

    def __init__(self, n: int, starting: Callable[..., None], *args: Any) -> None:
        self._executor = ProcessPoolExecutor(n, mp_context=context(), initializer=_start, initargs=(starting, args))

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Call an importable function in one of them."""
        with hidden_main():
            return self._executor.submit(function, *args, **kwargs)

    def close(self, wait: bool = True) -> None:
        """End them; without waiting, also those at work."""
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=wait, cancel_futures=True)
        if not wait:
            for process in processes:
                process.terminate()
            for process in processes:  # your own code may hold on
                process.join(GRACE)
                if process.is_alive():
                    process.kill()


def later(processes: Processes | None, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """What a function gives, once it is asked for: from a process beside this one, which begins at once.

    From this one where there is no other, before `later` returns, or where the other was killed, e.g. for want of memory.
    """
    if processes is None:
        given = function(*args)
        return lambda: given
    try:
        future = processes.submit(function, *args)
    except BrokenProcessPool:
        return later(None, function, *args)

    @cache
    def result() -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            return function(*args)

    return result


def context() -> Any:
    """How processes start: forked from a clean one where that exists."""
    scratch.folder()  # before multiprocessing makes one that nobody would remove after a kill
    track_resources()
    methods = mp.get_all_start_methods()
    chosen = mp.get_context("forkserver" if "forkserver" in methods else "spawn")
    if chosen.get_start_method() == "forkserver":
        chosen.set_forkserver_preload(["initbench.study.worker"])
    return chosen


def track_resources() -> None:
    """Start the process that removes what this one leaves, so that the end of a terminal does not end it first: by itself
    it ignores Ctrl-C and SIGTERM only."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return
    from multiprocessing import resource_tracker

    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which it inherits
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL if before is None else before)


def begin() -> bool:
    """Let the process that others are forked from start now, and import what they need while this one plans.

    False where there is no such process, or no core for it.
    """
    chosen = context()
    if plain_start() or chosen.get_start_method() != "forkserver" or cores() == 1:
        return False
    from multiprocessing import forkserver

    chosen.set_forkserver_preload(["initbench.startup.ahead"])
    with hidden_main():
        forkserver.ensure_running()
    return True


@contextmanager
def hidden_main() -> Iterator[None]:
    """Keep new processes from running the caller's script again: a script that calls `ib.run` needs no main guard."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


def _start(starting: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = mp.parent_process()
    if parent is not None:  # do not outlive a parent that was killed
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    starting(*args)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def like_the_command() -> None:
    """Start of a process that does what the command would do itself: an end from outside is an exception, so that what
    is being written is cleaned up."""
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(1))
    collect_seldom()


def interrupt_twice() -> None:
    """The first signal to end is an exception, so that what is under way is cleaned up; the second ends this process at
    once, whatever it does, and those beside it end with it."""

    def first(number: int, frame: Any) -> None:
        end_at_once()
        insist(number)
        raise Stopped(number)

    for name in ENDING:
        number = getattr(signal, name, None)
        # not ignored, as under nohup
        if number is not None and signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, first)


def insist(number: int) -> None:
    """Raise it once more, every half second, unless it is being handled: Python drops an exception here and there, e.g. in
    the callback of a weak reference while a module is imported."""

    def again(*args: Any) -> None:
        error = sys.exc_info()[1]
        while error is not None:
            if isinstance(error, Stopped):
                return
            error = error.__context__
        raise Stopped(number)

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)


def end_at_once() -> None:
    """From now on a signal to end does so without an exception."""
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def alone(command: Callable[[], int]) -> int:
    """The status of a command that is all its process does: it does not look through its libraries for garbage."""
    collect_seldom()
    home.given()
    status = command()
    end_at_once()  # all is done and said
    gc.freeze()  # nor does it look at its end
    return status


def collect_seldom() -> None:
    """Look for garbage now and then only: among a million objects of libraries, which stay to the end, that takes a
    third of the time of a small study."""
    if plain_start():
        return
    gc.set_threshold(100_000, 20, 100)


def cores() -> int:
    """Processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
