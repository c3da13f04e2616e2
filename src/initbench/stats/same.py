"""Arms that are the same nets run by run: judged once, counted once in a family, shown as one.

Several names may make one start (eye, identity, idinit and zero in a square ReLU net; at depth 2 any sharing of hidden
layers). A comparison of each would be the same comparison again, and would widen the family of Holm's correction for
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from initbench.stats.rates import column

LOSSES = ("loss/train", "loss/val")
NOT_ASKED = -1


def groups_of_same(runs: pd.DataFrame) -> dict[str, str]:
    """{arm: the first arm of its setting with the same runs}, itself where there is none before.

    The same: in every (seed, learning rate) that both ran, equal steps to target and equal final losses, bit for bit
    (NaN equals NaN), and failed in the same ones. At least one common loss is finite: nets that only diverge are not known
    to be the same.

    >>> runs = pd.DataFrame({"arm": ["a", "b", "c"], "setting": "s", "seed": 0, "optim.lr": 0.1, "status": "completed",
    ...     "steps_to_target": [5.0, 5.0, 5.0], "loss/train": [0.1, 0.1, 0.2]})
    >>> groups_of_same(runs)
    {'a': 'a', 'b': 'a', 'c': 'c'}
    """
    found: dict[str, str] = {}
    if not len(runs):
        return found
    outcome, known = _outcomes(runs)
    for _, at in pd.Series(np.arange(len(runs))).groupby(runs["setting"].astype(str).to_numpy(), sort=False):
        found |= _groups(runs, at.to_numpy(), outcome, known)
    return found


def _outcomes(runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(len(runs),) a whole number for what came out of a run, and whether its loss is finite."""
    failed = (runs["status"] == "failed").to_numpy()
    losses = [column(runs, name) for name in LOSSES]
    values = np.stack([failed.astype(float), column(runs, "steps_to_target"), *losses])
    code = np.zeros(len(runs), np.int64)
    for one in values:
        own = np.unique(one, return_inverse=True)[1]  # NaN is one value
        code = np.unique(code * (own.max(initial=0) + 1) + own, return_inverse=True)[1]
    return code, np.isfinite(losses[0]) & ~failed


def _groups(runs: pd.DataFrame, at: np.ndarray, outcome: np.ndarray, known: np.ndarray) -> dict[str, str]:
    """The groups among the runs `at` of one setting."""
    arm, names = pd.factorize(runs["arm"].astype(str).to_numpy()[at])
    seed = np.unique(runs["seed"].to_numpy()[at], return_inverse=True)[1]
    rate, rates = pd.factorize(runs["optim.lr"].to_numpy(float)[at])
    place = np.unique(seed * len(rates) + rate, return_inverse=True)[1]
    table = np.full((len(names), place.max() + 1), NOT_ASKED)  # (arms, runs)
    finite = np.zeros(table.shape, bool)
    table[arm[::-1], place[::-1]], finite[arm[::-1], place[::-1]] = outcome[at][::-1], known[at][::-1]
    asked_of_all = (table != NOT_ASKED).all(axis=0)
    alike = np.unique(table[:, asked_of_all], axis=0, return_inverse=True)[1].ravel()  # arms that may be the same
    first: dict[str, str] = {}
    heads: dict[int, list[int]] = {}
    for i, name in enumerate(names):
        own = heads.setdefault(int(alike[i]), [])
        same = _same(table[own], finite[own], table[i])
        first[str(name)] = str(names[own[same[0]]]) if len(same) else str(name)
        if not len(same):
            own.append(i)
    return first


def _same(heads: np.ndarray, finite: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Which rows (arms, runs) agree with `one` (runs,) in all common runs, one finite loss at least among them."""
    common = (heads != NOT_ASKED) & (one != NOT_ASKED)
    return np.flatnonzero(((heads == one) | ~common).all(axis=1) & (common & finite).any(axis=1))


def copies(arms: Sequence[str], base: str, same: Mapping[str, str], first: Sequence[str] = ()) -> dict[str, str]:
    """{arm: the arm of `arms` or the baseline that it is the same as}, without those that are judged themselves.

    Of a group the baseline stands for all; then the first of `first`, then the first of `arms`.

    >>> copies(["b", "c", "d"], "a", {"a": "a", "b": "b", "c": "b", "d": "a"})
    {'c': 'b', 'd': 'a'}
    """
    stands = {same.get(base, base): base}
    for arm in (*first, *arms):
        stands.setdefault(same.get(arm, arm), arm)
    return {arm: head for arm in arms if (head := stands[same.get(arm, arm)]) != arm}


def once(
    others: pd.DataFrame, base: pd.Series, same: Mapping[str, str], first: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of the arms that are judged themselves, and `copies` of the rest."""
    rest = copies(list(others["arm"].astype(str)), str(base["arm"]), same, first)
    return others[~others["arm"].isin(list(rest))], rest


def copied(
    found: Mapping[str, Mapping[str, Any]], copies: Mapping[str, str], part: pd.DataFrame, base: pd.Series
) -> dict[str, dict[str, Any]]:
    """The comparisons of arms that are not judged themselves: what was found of the one each is the same as.

    What is the same as the baseline is equivalent to it, whatever n. `part`: the leaderboard of the setting.
    """
    setup_of = dict(zip(part["arm"].astype(str), part["setup"].astype(str)))
    rows = {}
    for arm, head in copies.items():
        setup = setup_of[head]
        rows[arm] = {**found[head], "same_as": setup, "reason": f"the same nets as {setup}, run by run", "why": "",
                     "decide": "", "seeds_needed": pd.NA}  # fmt: skip
        if head == base["arm"]:
            rows[arm]["verdict"] = "equivalent"
    return rows


def together(board: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard with each copy under the setup that it is the same as, at the same rank: ranks count nets."""
    own = distinct(board)
    rank = own.groupby("setting", sort=False).cumcount() + 1
    place = {key: (i, r) for i, (key, r) in enumerate(zip(zip(own["setting"], own["setup"]), rank))}
    heads = board["same_as"].where(board["same_as"] != "", board["setup"])
    at = [place[key] for key in zip(board["setting"], heads)]
    order = np.lexsort(((board["same_as"] != "").to_numpy(), np.array([i for i, _ in at])))
    return board.assign(rank=[r for _, r in at]).iloc[order].reset_index(drop=True)


def of_heads(part: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """`values` of the distinct rows of one setting (rows, k) for all of its rows: a copy has those of its head."""
    place = {setup: i for i, setup in enumerate(distinct(part)["setup"])}
    heads = part["same_as"].where(part["same_as"] != "", part["setup"])
    return np.asarray(values[[place[setup] for setup in heads]])


def distinct(table: pd.DataFrame) -> pd.DataFrame:
    """Each net once: the rows of a leaderboard or of comparisons that are not the same as another row."""
    return table[table["same_as"].fillna("") == ""]
