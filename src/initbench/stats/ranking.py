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
    "ratio_of", "baseline", "same_as", "flops_to_target",
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
    never = at["steps_to_target"].isna().to_numpy()
    steps = np.where(never, np.inf, at["steps_to_target"].to_numpy(float))
    arrives = at["setting"].isin(set(at.loc[~never, "setting"])).to_numpy()
    at_target = np.where(never, np.nan, column(at, "gap_at_target"))
    gap = np.where(arrives, at_target, column(at, "loss/val") - column(at, "loss/train"))
    flops, loss, accuracy = (column(at, name) for name in ("flops_to_target", "loss/train", "accuracy/val"))
    firsts = at.drop_duplicates("arm").set_index(at.drop_duplicates("arm")["arm"].astype(str)).to_dict("index")
    rows = []
    for arm, at_rows in groups(at["arm"]):
        choice, first, info = choices[arm], firsts[arm], arms.get(arm, {})
        n, reached = len(at_rows), int(choice["reached"])
        middle, steps_low, steps_high = median_interval(steps[at_rows])
        share_low, share_high = wilson(reached, n)
        lost = choice["failed"] == n
        log = means.get(arm, np.nan)
        log = float(np.log(choice["mean_steps"])) if np.isnan(log) else log
        rows.append(
            {
                "setting": str(first["setting"]),
                "setup": str(first["setup"]),
                "arm": arm,
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
                "steps": middle,
                "steps_low": steps_low,
                "steps_high": steps_high,
                "mean_steps": round(float(np.exp(log)), 10),
                "flops_to_target": worst_median(flops[at_rows]),
                "loss_train": worst_median(loss[at_rows]),
                "accuracy_val": -worst_median(-accuracy[at_rows]),
                "gap": worst_median(gap[at_rows]),
                "stored_parameters": first.get("stored_parameters"),
                "used_parameters": first.get("used_parameters"),
                "_log": round(log, 10),
            }
        )
    return rows


def groups(names: pd.Series) -> list[tuple[str, np.ndarray]]:
    """(name, its row numbers) in the order of first appearance."""
    codes, labels = pd.factorize(names.astype(str))
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    return [(str(label), order[edges[i] : edges[i + 1]]) for i, label in enumerate(labels)]


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
