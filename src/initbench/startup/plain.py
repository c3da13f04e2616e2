"""One switch that turns off all that makes a command start and end sooner: INITBENCH_PLAIN_START=1.

What a command gives does not depend on it; a test compares. What each trick saves is in docs/performance.md.
"""

from __future__ import annotations

import os


def plain_start() -> bool:
    """Whether the tricks are off."""
    return os.environ.get("INITBENCH_PLAIN_START", "0") not in ("", "0")
