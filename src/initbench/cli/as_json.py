"""What a command found as JSON on stdout, for scripts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from initbench.cli import streams


def say(content: Any) -> None:
    """Print a content as JSON that any reader takes."""
    streams.write(json.dumps(plain(content), indent=1, allow_nan=False), sys.stdout)


def plain(value: Any) -> Any:
    """The same as JSON holds it: a table as its rows, what is unknown as null; JSON has no infinity, it is "inf" (never).

    >>> plain({"steps": math.inf, "loss": math.nan, "setups": ("eye",)})
    {'steps': 'inf', 'loss': None, 'setups': ['eye']}
    """
    if hasattr(value, "to_dict"):
        return plain(value.to_dict("records"))
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return (
        value if value is None or isinstance(value, (bool, int, float, str)) else None if value != value else str(value)
    )
