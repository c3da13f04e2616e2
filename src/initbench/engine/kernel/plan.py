"""The array that the compiled code reads: sizes and addresses, at the places that places.py names."""

from __future__ import annotations

from typing import Any

import numpy as np

from initbench.engine.kernel import places as at


class Plan:
    """The array that the compiled code reads, and every array whose address stands in it."""

    def __init__(self) -> None:
        self.values = np.zeros(at.LENGTH, dtype=np.int64)
        self.held: dict[int, np.ndarray] = {}

    def put(self, place: int, array: Any, dtype: Any = np.float32) -> np.ndarray:
        """Note an array's address, converted to the type that the compiled code expects there."""
        self.held[place] = np.ascontiguousarray(array, dtype=dtype)
        self.values[place] = self.held[place].ctypes.data
        return self.held[place]

    def sizes(self, **sizes: int) -> None:
        """Set numbers by the names of their places: `sizes(RUNS=5)`."""
        for name, value in sizes.items():
            self.values[getattr(at, name)] = value
