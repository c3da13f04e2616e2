"""The leaderboard without its comparisons: ranks, medians and counts, as the judged one has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from initbench.stats import same
from initbench.stats.compare import Arms, reference_of
from initbench.stats.family import family_of, members
from initbench.stats.ranking import ranked


def ordered(runs: pd.DataFrame, study: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """`judge(runs, study).board` as far as it needs no test, in a fraction of its time: nothing is resampled."""
    arms = Arms(runs, resamples=1)
    board = ranked(runs, study, arms.means())
    reference, names = reference_of(board, runs, study), family_of(board, study, None)
    reference |= {row["setting"]: row["baseline"] for row in (study or {}).get("looks") or []}
    heads: dict[str, str] = {}
    for setting, part in board.groupby("setting", sort=False):
        base = part[part["setup"] == reference[str(setting)]].iloc[0]
        heads |= same.once(part[part["arm"] != base["arm"]], base, arms.same, members(part, names))[1]
    setup_of = dict(zip(board["arm"], board["setup"]))
    board["same_as"] = [setup_of.get(heads.get(arm, ""), "") for arm in board["arm"]]
    return same.together(board) if heads else board
