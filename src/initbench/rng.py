"""Named random streams: the same (seed, name) gives the same numbers, whatever else is drawn.

Because a stream is keyed by its name, a new measure or another arm changes no number of a run, and runs of different
arms with one seed share split, batches and noise (common random numbers).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def key(seed: int, *path: str | int) -> int:
    """63 bits from blake2b of seed and path.

    >>> key(0, "split") == key(0, "split"), key(0, "split") == key(1, "split")
    (True, False)
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def stream(seed: int, *path: str | int) -> torch.Generator:
    """A CPU generator for (seed, path). Draws are made on the CPU so that a GPU run starts equal.

    >>> import torch
    >>> a, b = (torch.rand(2, generator=stream(3, "weight", 0)) for _ in range(2))
    >>> torch.equal(a, b)
    True
    """
    import torch

    return torch.Generator().manual_seed(key(seed, *path))


def numpy_stream(seed: int, *path: str | int) -> numpy.random.Generator:
    """The same for NumPy; data sets are made with it, so that loading them needs no torch.

    >>> int(numpy_stream(0, "teacher").integers(10)) == int(numpy_stream(0, "teacher").integers(10))
    True
    """
    import numpy

    return numpy.random.default_rng(key(seed, *path))
