"""One look at a study that goes on until it is decided: every pair that is still open is judged, the looks counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from initbench.stats import remedy, same, verdict
from initbench.stats.compare import Arms, asked_of, by_steps, itself, reference_of, same_for_all
from initbench.stats.family import family_of, members
from initbench.stats.ranking import ranked
from initbench.stats.standing import FOUND
from initbench.store.history import History

LOOK_COLUMNS = ["look", "seeds", "setting", "setup", "arm", "baseline", "why", *FOUND]


def take(
    runs: pd.DataFrame,
    study: Mapping[str, Any],
    history: History | None,
    sizes: Sequence[int],
    number: int,
    before: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Look `number` (0-based) of those planned at these `sizes`: one row per pair that no row of `before` has decided.

    Columns: LOOK_COLUMNS. `before`: the rows of earlier looks. Pairs that were called faster or slower leave the family
    (Holm's step-down over time: they stay rejected), equivalent ones do not. Once a word has fallen in a setting, its
    baseline stands. Where nobody arrives there is no test, and every row says so.
    """
    metric = (study.get("target") or {}).get("metric")
    arms = Arms(runs)
    board = ranked(runs, study, {arm: arms.own(arm) for arm in arms.panels})
    earlier = None
    if history is not None and metric is not None:
        earlier = Arms(remedy.one_evaluation_earlier(runs, remedy.evaluation_grids(runs, history, metric)))
    decided = {(row["setting"], row["setup"]): row["verdict"] for row in before if row["verdict"] in verdict.DECIDED}
    copied = {
        (row["setting"], row["setup"]) for row in before if row.get("same_as")
    }  # the same as another: not in the family
    fixed = {row["setting"]: row["baseline"] for row in before if row["verdict"] in verdict.DECIDED}
    reference = reference_of(board, runs, study) | fixed
    names, asked, rows = family_of(board, study, None), asked_of(runs), []
    for setting, part in board.groupby("setting", sort=False):
        base = part[part["setup"] == reference[str(setting)]].iloc[0]
        word = pd.Series([decided.get((setting, setup), "") for setup in part["setup"]], part.index)
        own = pd.Series([(setting, setup) not in copied for setup in part["setup"]], part.index)
        open_, equal = part[(part["arm"] != base["arm"]) & (word == "")], int((own & (word == "equivalent")).sum())
        open_ = open_[open_["arm"].isin(members(part, names))]
        others, copies = same.once(open_, base, arms.same)
        found = by_steps(others, base, arms, earlier, asked, tuple(sizes), equal)
        found[str(base["arm"])] = itself(base, arms, part)
        found |= same.copied(found, copies, part, base)
        for _, row in open_.iterrows():
            head = same_for_all(row, base, len(others) + equal)
            rows.append(plain({"look": number, "seeds": sizes[number], **head, **found[str(row["arm"])]}))
    return rows


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as study.json holds it: LOOK_COLUMNS, what is missing or not finite as None."""

    def value(one: Any) -> Any:
        one = one.item() if hasattr(one, "item") else one
        missing = one is None or one is pd.NA or one != one or one in (float("inf"), -float("inf"))
        return None if missing else one

    return {name: value(row.get(name)) for name in LOOK_COLUMNS}
