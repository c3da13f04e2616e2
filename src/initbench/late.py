"""Modules that are imported at their first use: importing them takes longer than what most commands need of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Late:
    """Stands for a module until something of it is asked for.

    >>> float(Late("scipy.stats").norm.ppf(0.5))
    0.0
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


stats: Any = Late("scipy.stats")
optimize: Any = Late("scipy.optimize")
