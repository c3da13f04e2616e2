"""How much memory there is, asked before anything large is made: a refusal instead of a killed process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from initbench.errors import refusal

# a container's limit and use, and the line of memory.stat that the kernel gives back when asked: cgroup v2, then v1
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def available() -> int:
    """Bytes that this process can still take: the machine's free memory, or what its container leaves of its limit.

    >>> available() > 0
    True
    """
    return max(1, min([machine(), *(left for files in CGROUPS if (left := container(*files)) is not None)]))


def resident() -> int:
    """Bytes that this process has held at its peak; 0 where the system does not say.

    >>> resident() > 0
    True
    """
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine() -> int:
    """Bytes that the machine has free; all of its memory where it does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2**63 - 1  # unknown: nothing is refused


def container(limit: str, used: str, reclaimable: str) -> int | None:
    """Bytes that a container's limit leaves; None without a limit."""
    try:
        left = int(Path(limit).read_text()) - int(Path(used).read_text())
        counts = dict(line.split() for line in (Path(used).parent / "memory.stat").read_text().splitlines())
        return left + int(counts.get(reclaimable, 0))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def check_fits(what: object, needed: float, do: object) -> None:
    """Refuse what needs more bytes than there are, with both numbers.

    >>> check_fits("seeds=10", 10, "give fewer seeds")
    >>> check_fits("seeds=10", 1e30, "give fewer seeds")
    Traceback (most recent call last):
    initbench.errors.InputError: seeds=10: needs 1e+21 GB of memory, ...
    """
    free = available()
    if needed > free:
        raise refusal(what, f"needs {needed / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free", do)
