"""Every two arms of a setting side by side: without verdict words, or all judged as one family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from initbench.stats import nested, remedy, verdict
from initbench.stats.compare import NAN, Arms, Judged
from initbench.stats.family import looked_at, members
from initbench.stats.ranking import ranked
from initbench.stats.rates import GATE
from initbench.stats.same import distinct

MOST_PAIRED = 100  # arms of a setting: 4,950 pairs, which take seconds
PAIR_COLUMNS = [
    "setting", "setup", "other", "arm", "other_arm", "verdict", "reason", "ratio", "ratio_low", "ratio_high", "p",
    "p_holm", "test", "family", "pairs", "reached", "n", "reached_other", "n_other",
]  # fmt: skip


def judge_pairs(
    judged: Judged, study: Mapping[str, Any] | None = None, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Every two setups of each setting with a verdict; all of a setting are one family of Holm's correction.

    One row a pair, the better ranked one first: `verdict` is of `setup` against `other`. Each net once; `names`: only
    setups or initializers of these names. A setting in which nobody arrives, or with more than MOST_PAIRED setups,
    has no rows. Columns: PAIR_COLUMNS; the rules are those of `comparisons`.
    """
    rows: list[dict[str, Any]] = []
    for setting, part in judged.board.groupby("setting", sort=False):
        board = distinct(part[part["arm"].isin(members(part, names))])
        if len(board) <= MOST_PAIRED and (board["reached"] > 0).any():
            planned = ((study or {}).get("decide") or {}).get("sizes")
            at = tuple(planned or looked_at(study, str(setting), int(part["n"].max())))
            rows += _judged(str(setting), board, judged, at)
    found = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    return found.astype({"family": "Int64", "pairs": "Int64"})


def _judged(setting: str, board: pd.DataFrame, judged: Judged, at: tuple[int, ...]) -> list[dict[str, Any]]:
    """The pairs of one setting."""
    both = list(combinations([row for _, row in board.iterrows()], 2))
    sides = [[verdict.Side(row["share"], row["lr_at_edge"]) for row in side] for side in zip(*both)] or [[], []]
    contrasts = [judged.arms.contrast(str(one["arm"]), str(other["arm"])) for one, other in both]
    found = verdict.verdicts(contrasts, *sides, at=at)
    if judged.earlier is not None:
        again = [judged.earlier.contrast(str(one["arm"]), str(other["arm"])) for one, other in both]
        found = [verdict.stands(*words) for words in zip(found, verdict.verdicts(again, *sides, at=at))]
    alone, equal = (1 - nested.level(at, alpha) for alpha in (verdict.ALPHA, 2 * verdict.ALPHA))
    rows = []
    for (one, other), contrast, said in zip(both, contrasts, found):
        open_ = min(one["share"], other["share"]) >= GATE
        logs = (contrast.estimate, *contrast.interval(alone)) if open_ else (NAN,) * 3
        equal_low, equal_high = np.exp(contrast.interval(equal))
        row = {
            "setting": setting, "setup": one["setup"], "other": other["setup"], "arm": one["arm"],
            "other_arm": other["arm"], "verdict": said.word, "p": said.p, "p_holm": said.p_holm, "test": said.test,
            "family": len(both), "pairs": contrast.n, "reached": one["reached"], "n": one["n"],
            "reached_other": other["reached"], "n_other": other["n"],
            **dict(zip(("ratio", "ratio_low", "ratio_high"), (round(float(np.exp(x)), 12) for x in logs))),
        }  # fmt: skip
        known = {
            "why": said.why, "looks": len(at), "equal_low": equal_low, "equal_high": equal_high,
            "reached_baseline": other["reached"], "n_baseline": other["n"], "reached_pairs": int(contrast.reached.sum()),
            "reached_pairs_baseline": int(contrast.reached_base.sum()),
        }  # fmt: skip
        rows.append(row | {"reason": remedy.reason(row | known)})
    return rows


def all_pairs(runs: pd.DataFrame, setups: Iterable[str] | None = None) -> pd.DataFrame:
    """Every two arms of a setting, ratio and P(faster) with 95% intervals, without verdict words.

    Columns: setting, setup, other, pairs, ratio, ratio_low, ratio_high (NaN below the gate), p_faster,
    p_faster_low, p_faster_high (a tie, such as never against never, counts half).
    """
    wanted = None if setups is None else set(setups)
    arms = Arms(runs)
    shares: dict[str, float] = dict(ranked(runs)[["arm", "share"]].itertuples(index=False)) if len(runs) else {}
    first = runs.drop_duplicates("arm")
    rows = []
    for setting, part in first.groupby("setting", sort=False):
        names = [(str(a), str(s)) for a, s in zip(part["arm"], part["setup"]) if wanted is None or s in wanted]
        for arm, setup in names:
            for other, other_setup in names:
                if arm == other:
                    continue
                one = arms.contrast(arm, other)
                open_ = min(shares[arm], shares[other]) >= GATE
                logs = (one.estimate, *one.interval()) if open_ else (NAN,) * 3
                rows.append([setting, setup, other_setup, one.n, *np.exp(logs), *one.p_faster])
    columns = ["setting", "setup", "other", "pairs", "ratio", "ratio_low", "ratio_high"]
    return pd.DataFrame(rows, columns=[*columns, "p_faster", "p_faster_low", "p_faster_high"])
