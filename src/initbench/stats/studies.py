"""Two studies side by side: each arm that both have, the second study against the first, judged as one family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from initbench.errors import InputError
from initbench.stats import remedy, verdict
from initbench.stats.compare import Arms
from initbench.stats.ranking import ranked
from initbench.stats.rates import GATE, MIN_SEEDS

STUDY_COLUMNS = [
    "setting", "setup", "verdict", "reason", "ratio", "ratio_low", "ratio_high", "p", "p_holm", "test", "paired",
    "seeds", "p_faster", "steps_a", "steps_b", "reached_a", "n_a", "reached_b", "n_b", "lr_a", "lr_b", "loss_a",
    "loss_b", "same_bits",
]  # fmt: skip


def compare_studies(
    a: pd.DataFrame,
    b: pd.DataFrame,
    study_a: Mapping[str, Any] | None = None,
    study_b: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row per (setting, setup) that both studies have. Columns: STUDY_COLUMNS.

    `ratio`: steps in b / steps in a, cross-fitted, paired by seed where at least 8 seeds are in both, else as two
    samples (`paired`). Verdicts are of b against a with Holm's correction over all rows: "faster" means that b is.
    `same_bits`: all common runs have equal steps and equal final losses. Raises InputError if they share no arm.
    """
    sides = [
        (Arms(frame), ranked(frame, study).set_index(["setting", "setup"]))
        for frame, study in ((a, study_a), (b, study_b))
    ]
    (arms_a, board_a), (arms_b, board_b) = sides
    common = [key for key in board_a.index if key in board_b.index]
    if not common:
        raise InputError(f"the studies have no setup in the same setting: {_some(board_a)} against {_some(board_b)}")
    contrasts = [
        _contrast(str(board_a.loc[key, "arm"]), arms_a, str(board_b.loc[key, "arm"]), arms_b) for key in common
    ]
    found = verdict.verdicts(contrasts, *([_side(board.loc[key]) for key in common] for board in (board_b, board_a)))
    rows = []
    for key, one, said in zip(common, contrasts, found):
        first, second = board_a.loc[key], board_b.loc[key]
        open_ = min(first["share"], second["share"]) >= GATE
        logs = (one.estimate, *one.interval()) if open_ else (np.nan,) * 3
        rows.append(
            [
                *key, said.word, remedy.REASONS[said.why].format(n=one.n) if said.why else "",
                *(round(float(np.exp(x)), 12) for x in logs), said.p, said.p_holm, said.test, one.paired, one.n,
                one.p_faster[0], first["steps"], second["steps"], first["reached"], first["n"], second["reached"],
                second["n"], first["lr"], second["lr"], first["loss_train"], second["loss_train"],
                _same_bits(a, str(first["arm"]), b, str(second["arm"])),
            ]
        )  # fmt: skip
    return pd.DataFrame(rows, columns=STUDY_COLUMNS)


def _some(board: pd.DataFrame) -> str:
    names = list(dict.fromkeys(f"{setup} in {setting}" for setting, setup in board.index))
    return ", ".join(names[:2]) + (" ..." if len(names) > 2 else "") if names else "no arm"


def _side(row: pd.Series) -> verdict.Side:
    return verdict.Side(float(row["share"]), str(row["lr_at_edge"]))


def _contrast(arm_a: str, arms_a: Arms, arm_b: str, arms_b: Arms) -> verdict.Contrast:
    own_a, own_b = arms_a.seeds(arm_a), arms_b.seeds(arm_b)
    both = np.intersect1d(own_a, own_b)
    if len(both) >= MIN_SEEDS:
        return verdict.contrast(*arms_b.on(arm_b, both), *arms_a.on(arm_a, both))
    if not (len(own_a) and len(own_b)):
        none = np.zeros(0, bool)
        return verdict.Contrast(0, np.nan, np.nan, none, none, np.zeros(0))
    return verdict.unpaired(*arms_b.on(arm_b, own_b), *arms_a.on(arm_a, own_a))


def _same_bits(a: pd.DataFrame, arm_a: str, b: pd.DataFrame, arm_b: str) -> bool:
    columns = [name for name in ("steps_to_target", "status", "loss/train") if name in a and name in b]
    one, two = (
        frame[frame["arm"].astype(str) == arm].set_index(["seed", "optim.lr"])[columns]
        for frame, arm in ((a, arm_a), (b, arm_b))
    )
    common = one.index.intersection(two.index)
    return bool(len(common)) and one.loc[common].equals(two.loc[common])
