"""Every arm as one row, ranked inside its setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from initbench.stats.intervals import median_interval, wilson, worst_median
from initbench.stats.rates import GATE, at_chosen_lr, chosen_lr, column

LEADERBOARD_COLUMNS = [
    "rank", "setting", "setup", "arm", "arm_key", "init", "sharing", "lr", "lr_at_edge", "n", "reached",
    "share", "share_low", "share_high", "diverged", "failed", "steps", "steps_low", "steps_high",
    "mean_steps", "rank_low", "rank_high", "ratio", "ratio_low", "ratio_high", "verdict", "reason", "pairs",
    "ratio_of", "baseline", "flops_to_target",
    "loss_train", "accuracy_val", "gap", "stored_parameters", "used_parameters",
]  # fmt: skip


def ranked(
    runs: pd.DataFrame, study: Mapping[str, Any] | None = None, means: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """LEADERBOARD_COLUMNS without the comparisons (NaN): one row per arm, see `leaderboard`.

    `means`: cross-fitted mean log outcome of each arm; an arm without one is ranked by the mean at its chosen rate.
    """
    arms = {str(arm["label"]): arm for arm in (study or {}).get("arms", [])}
    rows = _described(runs, arms, means or {}) if len(runs) else []
    rows += _without_runs({row["arm"] for row in rows}, arms)
    board = pd.DataFrame(rows, columns=[*LEADERBOARD_COLUMNS, "_log"])
    share = board["share"].astype(float)
    below = ~(share >= GATE)
    board = board.assign(_below=below, _share=np.where(below, -share, 0.0))
    order = ["_setting", "_below", "_share", "_log", "loss_train", "arm"]
    board["_setting"] = pd.factorize(board["setting"])[0]  # settings stay in the order of the frame
    board = board.sort_values(order, kind="stable", na_position="last").reset_index(drop=True)
    board["rank"] = board.groupby("setting", sort=False).cumcount() + 1
    return board[LEADERBOARD_COLUMNS]


def _described(
    runs: pd.DataFrame, arms: Mapping[str, Mapping[str, Any]], means: Mapping[str, float]
) -> list[dict[str, Any]]:
    chosen = chosen_lr(runs)
    choices = {str(row["arm"]): row for row in chosen.reset_index().to_dict("records")}
    at = at_chosen_lr(runs, chosen)
    arrives = set(at.loc[at["steps_to_target"].notna(), "setting"])
    rows = []
    for arm, part in at.groupby(at["arm"].astype(str), sort=False):
        choice, first, info = choices[str(arm)], part.iloc[0], arms.get(str(arm), {})
        n, reached = len(part), int(choice["reached"])
        never = part["steps_to_target"].isna().to_numpy()
        steps, steps_low, steps_high = median_interval(np.where(never, np.inf, part["steps_to_target"].astype(float)))
        share_low, share_high = wilson(reached, n)
        gap = column(part, "loss/val") - column(part, "loss/train")
        if first["setting"] in arrives:
            gap = np.where(never, np.nan, column(part, "gap_at_target"))
        lost = choice["failed"] == n
        log = means.get(str(arm), np.nan)
        log = float(np.log(choice["mean_steps"])) if np.isnan(log) else log
        rows.append(
            {
                "setting": str(first["setting"]),
                "setup": str(first["setup"]),
                "arm": str(arm),
                "arm_key": first.get("arm_key"),
                "init": str(info.get("init", first.get("init.name", ""))),
                "sharing": str(info.get("sharing", first.get("sharing.name", ""))),
                "lr": np.nan if lost else choice["lr"],
                "lr_at_edge": "" if lost else choice["at_edge"],
                "n": n,
                "reached": reached,
                "share": reached / n,
                "share_low": share_low,
                "share_high": share_high,
                "diverged": int(choice["diverged"]),
                "failed": int(choice["failed"]),
                "steps": steps,
                "steps_low": steps_low,
                "steps_high": steps_high,
                "mean_steps": round(float(np.exp(log)), 10),
                "flops_to_target": worst_median(column(part, "flops_to_target")),
                "loss_train": worst_median(column(part, "loss/train")),
                "accuracy_val": -worst_median(-column(part, "accuracy/val")),
                "gap": worst_median(gap),
                "stored_parameters": first.get("stored_parameters"),
                "used_parameters": first.get("used_parameters"),
                "_log": round(log, 10),
            }
        )
    return rows


def _without_runs(known: set[str], arms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for arms that failed before a run was stored: their runs count, as failed."""
    rows = []
    for label, arm in arms.items():
        if label in known or arm.get("status") != "failed":
            continue
        n = int(arm.get("runs") or 0)
        low, high = wilson(0, n)
        rows.append(
            {
                "setting": str(arm.get("setting", "")),
                "setup": str(arm.get("setup", label)),
                "arm": label,
                "arm_key": arm.get("arm_key"),
                "init": str(arm.get("init", "")),
                "sharing": str(arm.get("sharing", "")),
                "lr_at_edge": "",
                "n": n,
                "reached": 0,
                "share": 0.0,
                "share_low": low,
                "share_high": high,
                "diverged": 0,
                "failed": n,
                "steps": np.inf,
                "flops_to_target": np.inf,
                "loss_train": np.inf,
                "accuracy_val": -np.inf,
                "gap": np.inf,
                "stored_parameters": arm.get("stored_parameters"),
                "used_parameters": arm.get("used_parameters"),
            }
        )
    return rows
