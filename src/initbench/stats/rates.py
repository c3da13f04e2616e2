"""The outcome of a run, and the learning rate at which an arm is shown."""

from __future__ import annotations

import numpy as np
import pandas as pd

GATE = 0.8  # share of seeds that must arrive on both sides of a ratio of steps
MIN_SEEDS = 8  # fewer are shown, and said to be few


def budget(runs: pd.DataFrame) -> np.ndarray:
    """tau per run: `train.steps`, or the most steps any run of the frame took where the column is missing."""
    if "train.steps" in runs:
        return runs["train.steps"].to_numpy(float)
    most = pd.to_numeric(runs["steps"], errors="coerce").max()
    return np.full(len(runs), 0.0 if pd.isna(most) else float(most))


def log_outcome(runs: pd.DataFrame, of: str = "steps") -> np.ndarray:
    """log min(T, tau) per run (T below 1 counts as 1), never arrived = tau.

    With ``of="loss"``: log of the last train loss. A failed run is NaN; a diverged run's loss is NaN.
    """
    failed = (runs["status"] == "failed").to_numpy()
    if of == "loss":
        loss = column(runs, "loss/train")
        return np.log(np.maximum(np.where(failed | ~np.isfinite(loss), np.nan, loss), 1e-300))
    tau = budget(runs)
    steps = runs["steps_to_target"].to_numpy(float)
    out = np.log(np.maximum(np.where(np.isnan(steps), tau, np.minimum(steps, tau)), 1.0))
    return np.where(failed, np.nan, out)


def column(runs: pd.DataFrame, name: str) -> np.ndarray:
    """A column as floats (len(runs),), NaN where the frame lacks it."""
    if name not in runs:
        return np.full(len(runs), np.nan)
    return pd.to_numeric(runs[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def lr_profile(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and learning rate: what became of its seeds, and which rate is chosen.

    Columns: setting, setup, arm, lr, n, reached, share, diverged, failed, steps (median, inf = never),
    mean_steps (``exp(mean log min(T, tau))``, a failed run counts as tau: a crash never makes a rate look
    better), loss_train (median, diverged = inf), chosen, at_edge ("low", "high", "only" or "": among all rates
    tried). A rate that was dropped after some seeds (column lr_dropped) has a row and is never chosen.
    """
    frame = pd.DataFrame(
        {
            "setting": runs["setting"].astype(str),
            "setup": runs["setup"].astype(str),
            "arm": runs["arm"].astype(str),
            "lr": runs["optim.lr"].astype(float),
            "reached": runs["steps_to_target"].notna(),
            "diverged": runs["status"] == "diverged",
            "failed": runs["status"] == "failed",
            "steps": runs["steps_to_target"].astype(float).fillna(np.inf),
            "log": log_outcome(runs),
            "dropped": runs["lr_dropped"].to_numpy(bool) if "lr_dropped" in runs else False,
            "tau": np.log(np.maximum(budget(runs), 1.0)),
            "loss_train": np.where(np.isnan(loss := column(runs, "loss/train")), np.inf, loss),
        }
    )
    frame["log"] = frame["log"].fillna(frame["tau"])
    grouped = frame.groupby(["setting", "setup", "arm", "lr"], sort=False, dropna=False)
    out = grouped[["reached", "diverged", "failed"]].sum()  # column by column: agg() takes twice as long
    out["n"] = grouped.size()
    out["log"] = grouped["log"].mean()
    out["dropped"] = grouped["dropped"].any()
    with np.errstate(invalid="ignore"):
        out["steps"] = grouped["steps"].median()
        out["loss_train"] = grouped["loss_train"].median()
    out = out.reset_index()
    out["share"] = out["reached"] / out["n"]
    out["mean_steps"] = np.exp(out["log"])
    # equal up to rounding is a tie: then larger share, lower final loss, smaller rate
    out["log"] = out["log"].round(10)
    out = out.sort_values(["arm", "lr"], kind="stable").reset_index(drop=True)
    by = ["arm", "dropped", "log", "share", "loss_train", "lr"]
    best = out.assign(share=-out["share"]).sort_values(by, kind="stable")
    out["chosen"] = False
    out.loc[best.groupby("arm", sort=False).head(1).index, "chosen"] = True
    by_arm = out.groupby("arm", sort=False)["lr"]
    lowest, highest = by_arm.transform("min"), by_arm.transform("max")
    edges = [lowest == highest, out["lr"] == lowest, out["lr"] == highest]
    out["at_edge"] = np.select(edges, ["only", "low", "high"], "")
    columns = [
        "setting", "setup", "arm", "lr", "n", "reached", "share", "diverged", "failed", "steps",
        "mean_steps", "loss_train", "chosen", "at_edge",
    ]  # fmt: skip
    return out[columns]


def chosen_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `lr_profile` that are chosen, one per arm, indexed by arm.

    By the mean over seeds of log min(T, tau); ties: larger share, lower final loss, smaller rate. With no
    target, or when nobody arrives, all tie and the loss decides. Chosen and judged on the same seeds:
    flatters noisy arms.
    """
    profile = lr_profile(runs)
    return profile[profile["chosen"]].set_index("arm")


def at_chosen_lr(runs: pd.DataFrame, chosen: pd.DataFrame | None = None) -> pd.DataFrame:
    """The runs at their arm's chosen learning rate."""
    lr = (chosen_lr(runs) if chosen is None else chosen)["lr"]
    return runs[runs["optim.lr"].astype(float).to_numpy() == runs["arm"].astype(str).map(lr).to_numpy(float)]
