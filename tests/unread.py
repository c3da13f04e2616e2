"""Commands whose output nobody reads, each in a process of its own: forked from one that has imported what they need,
it gets the streams that Python would have opened, and it ends as Python does, with its last flush.

`python unread.py LINE...` prints [line, how, status, stdout, stderr] of each line in each of HOW, as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

HOW = ("unread", "closed", "ascii")  # a pipe without a reader; no stdout at all; a terminal that knows ascii only

WARM = ("initbench.report.__main__", "initbench.inspect", "initbench.catalogue", "initbench.reproduce",
        "initbench.initializers", "initbench.study.worker", "initbench.theory", "initbench.claims", "hydra.main",
        "matplotlib.figure", "scipy.stats")  # fmt: skip


def streams(how: str, out: int, err: int) -> None:
    """The process's stdout and stderr, as the interpreter makes them at its start."""
    os.dup2(err, 2)
    sys.stderr = os.fdopen(2, "w", encoding="ascii", errors="backslashreplace", closefd=False, buffering=1)
    if how == "closed":
        os.close(1)
        sys.stdout = None
        return
    if how == "unread":
        read, out = os.pipe()
        os.close(read)
    os.dup2(out, 1)
    sys.stdout = os.fdopen(1, "w", encoding="ascii", closefd=False)


def started(line: str, how: str, at: Path) -> int:
    """The number of the process that runs a command; in that process this ends in SystemExit."""
    if number := os.fork():
        return number
    out, err = (os.open(at.with_suffix(end), os.O_WRONLY | os.O_CREAT) for end in (".out", ".err"))
    streams(how, out, err)
    name, *words = line.split()
    sys.exit(import_module(f"initbench.{name}").main(words))


def main(lines: list[str]) -> None:
    for name in WARM:
        import_module(name)
    gc.freeze()  # what is imported is no garbage, which each process would look for at its end
    begun = []
    for line in lines:
        for how in HOW:
            at = Path(str(len(begun)))
            begun.append((line, how, at, started(line, how, at)))
    found = []
    for line, how, at, number in begun:
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        found.append((line, how, status, *(at.with_suffix(end).read_bytes().decode() for end in (".out", ".err"))))
    with suppress(BrokenPipeError):
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
