"""What a worker process does: train a chunk with the arm's engine and publish its part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from initbench import data
from initbench.config import ArmConfig
from initbench.engine import fused, reference
from initbench.store import Store

ENGINES = {"fused": fused.run_chunk, "reference": reference.run_chunk}


def work(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], root: Path, key: str, progress: Callable[[int], None]
) -> None:
    """Train the runs (seed, lr) of an arm and publish them as one part of the store at `root`."""
    chunk = ENGINES[arm.engine.name](arm, runs, data.load(arm.data), progress)
    Store(root).write(key, chunk)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside torch: stacks are spread over processes instead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
