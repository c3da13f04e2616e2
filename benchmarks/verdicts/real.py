"""Real runs to resample: 12 names of one law (6x32 ReLU on digits, SGD, four rates), 1,000 seeds each.

python -m benchmarks.verdicts.real        # trains 48,000 runs, about 15 minutes of two cores, and writes the file
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.verdicts.laws import LAWS

FILE = Path(__file__).parents[1] / "data" / "one_law.npz"
RATES, SEEDS, BUDGET = (0.1, 0.2, 0.3, 0.4), 1000, 300
NEVER = np.iinfo(np.uint16).max


class Real(NamedTuple):
    """Runs of arms of one law. Axes: (A names, L rates, S seeds)."""

    steps: np.ndarray  # to 95% train accuracy, infinity = never
    loss: np.ndarray  # last train loss, NaN = diverged
    grid: np.ndarray  # the steps evaluated


def train() -> None:
    """Train all runs by the public command, and write what the verdicts need of them."""
    import initbench as ib

    with tempfile.TemporaryDirectory() as folder:
        results = ib.run(
            [
                f"init={','.join(LAWS)}", "sharing=none", f"seeds={SEEDS}", f"optim.lr=[{','.join(map(str, RATES))}]",
                f"train.steps={BUDGET}", "measure=none", "track.uri=null", "report.formats=[md]", f"outputs={folder}",
            ]
        )  # fmt: skip
        assert results is not None
        runs = results.runs.sort_values(["init.name", "optim.lr", "seed"], kind="stable")
        grid = np.unique(results.history.loc[results.history["metric"] == "accuracy/train", "step"].to_numpy(int))
    shape = (len(LAWS), len(RATES), SEEDS)
    steps = runs["steps_to_target"].to_numpy(float)
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        FILE,
        steps=np.where(np.isnan(steps), NEVER, steps).astype(np.uint16).reshape(shape),
        loss=runs["loss/train"].to_numpy(np.float32).reshape(shape),
        grid=grid.astype(np.uint16),
    )


def load() -> Real:
    """The stored runs."""
    with np.load(FILE) as file:
        steps = file["steps"].astype(float)
        return Real(np.where(steps == NEVER, np.inf, steps), file["loss"].astype(float), file["grid"].astype(float))


if __name__ == "__main__":
    train()
