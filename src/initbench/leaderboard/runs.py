"""Entries as the frame `runs` that all of stats/ reads: one row a run, one arm a setting and initializer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from initbench.leaderboard.entry import DIVERGED, Entry
from initbench.leaderboard.settings import Grid

COLUMNS = [
    "run", "arm", "setup", "setting", "init.name", "sharing.name", "optim.lr", "seed", "status", "train.steps",
    "steps_to_target", "loss/train", "steps", "flops_per_step", "init_flops", "flops_to_target", "stored_parameters",
    "used_parameters", "state_bytes",
]  # fmt: skip


def runs_of(entries: Sequence[Entry], grid: Grid, sharing: str = "none") -> pd.DataFrame:
    """The runs of all entries with this sharing. A setup is called by its initializer, an arm `initializer @ setting`."""
    rows = []
    for entry in entries:
        for row in entry.results(sharing):
            setting = grid.at(row["setting"])
            if setting is None or "not_applicable" in row:
                continue
            start = [np.nan if flops is None else float(flops) for flops in row["init_flops"]]
            for lr in setting.lrs:
                for i, seed in enumerate(setting.seeds):
                    outcome, loss = row["steps"][repr(lr)][i], row["loss"][repr(lr)][i]
                    arrived = not isinstance(outcome, str)
                    taken = float(outcome) if arrived else np.nan
                    rows.append(
                        (
                            f"{entry.name}/{setting.label}/{lr!r}/{seed}", f"{entry.name} @ {setting.label}", entry.name,
                            setting.label, entry.name, sharing, lr, seed,
                            "diverged" if outcome == DIVERGED else "completed", setting.steps, taken,
                            np.nan if loss is None else float(loss), taken if arrived else float(setting.steps),
                            float(row["flops_per_step"]), start[i], start[i] + taken * float(row["flops_per_step"]),
                            row["stored_parameters"], row["used_parameters"], row["state_bytes"],
                        )
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
