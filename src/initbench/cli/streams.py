"""The two streams that a command writes to, whatever reads them: a closed pipe, an ascii terminal, nothing at all."""

from __future__ import annotations

import os
import sys
from typing import Any


def encodable() -> None:
    """What a stream's encoding lacks is written as an escape, rather than ending a command after its training."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def unread(stream: Any) -> None:
    """Nobody reads a stream any more (`| head`): what follows goes nowhere, and the command goes on."""
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # not a file of the system
        pass


_passing = False


def passing(text: str = "") -> None:
    """In a terminal, what a command is at, until it says something that stays; a log is told nothing."""
    global _passing
    if sys.stderr is None or not sys.stderr.isatty() or not (text or _passing):
        return
    _passing = bool(text)
    try:
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
    except BrokenPipeError:
        unread(sys.stderr)


def write(text: str, stream: Any) -> None:
    """Text and a line's end to a stream, if anybody reads it."""
    passing()
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        unread(stream)


def flush() -> None:
    """The end of a command: what is left to write is written, or nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            unread(stream)
