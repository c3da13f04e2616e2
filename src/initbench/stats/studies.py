"""Two studies side by side: each arm that both have, the second study against the first, judged as one family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from initbench.config.arm import dotted
from initbench.errors import refusal
from initbench.stats import remedy, verdict
from initbench.stats.compare import Arms
from initbench.stats.ranking import ranked
from initbench.stats.rates import GATE, MIN_SEEDS
from initbench.stats.target import select, steps_to_target
from initbench.store.history import History

STUDY_COLUMNS = [
    "setting", "setup", "verdict", "reason", "ratio", "ratio_low", "ratio_high", "p", "p_holm", "test", "paired",
    "seeds", "p_faster", "steps_a", "steps_b", "reached_a", "n_a", "reached_b", "n_b", "lr_a", "lr_b", "loss_a",
    "loss_b", "same_bits", "differs",
]  # fmt: skip


def compare_studies(
    a: pd.DataFrame,
    b: pd.DataFrame,
    study_a: Mapping[str, Any] | None = None,
    study_b: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row per (setting, setup) that both studies have. Columns: STUDY_COLUMNS.

    `ratio`: steps in b / steps in a, cross-fitted, paired by seed where at least 8 seeds are in both, else as two
    samples (`paired`). An arm is judged at the learning rates that both studies tried, for more rates are more tries.
    `differs`: in words, what else of the two arms is not the same, and the rates that were left out. Verdicts are of b against a with Holm's correction over all rows: "faster" means that b is.
    `same_bits`: all common runs have equal steps and equal final losses. Raises InputError if they share no arm.
    """
    boards = [ranked(frame, study).set_index(["setting", "setup"]) for frame, study in ((a, study_a), (b, study_b))]
    common = [key for key in boards[0].index if key in boards[1].index]
    if not common:
        raise refusal(
            "studies",
            f"they have no setup in the same setting: {_some(boards[0])} against {_some(boards[1])}",
            "compare studies that share one",
        )
    named = [(str(boards[0].loc[key, "arm"]), str(boards[1].loc[key, "arm"])) for key in common]
    shared = {pair: _rates(a, pair[0]) & _rates(b, pair[1]) for pair in named}
    unlike = {pair: differences(a, pair[0], study_a, b, pair[1], study_b) for pair in named}
    a = _at_rates(a, {one: rates for (one, _), rates in shared.items()})
    b = _at_rates(b, {two: rates for (_, two), rates in shared.items()})
    (arms_a, board_a), (arms_b, board_b) = (
        (Arms(frame), ranked(frame, study).set_index(["setting", "setup"]))
        for frame, study in ((a, study_a), (b, study_b))
    )
    contrasts = [_contrast(one, arms_a, two, arms_b) for one, two in named]
    found = verdict.verdicts(contrasts, *([_side(board.loc[key]) for key in common] for board in (board_b, board_a)))
    rows = []
    for key, pair, one, said in zip(common, named, contrasts, found):
        first, second = board_a.loc[key], board_b.loc[key]
        word, reason = said.word, remedy.reason(_known(said, one, first, second, len(common)))
        same = _same_bits(a, pair[0], b, pair[1])
        if same and said.why == "lr":  # no other rate can part what is the same run by run
            word, reason = "equivalent", ""
        if not shared[pair] and len(_rates(a, pair[0]) | _rates(b, pair[1])):
            word, reason = "undecided", "no learning rate is in both"
        open_ = min(first["share"], second["share"]) >= GATE
        logs = (one.estimate, *one.interval()) if open_ else (np.nan,) * 3
        rows.append(
            [
                *key, word, reason,
                *(round(float(np.exp(x)), 12) for x in logs), said.p, said.p_holm, said.test, one.paired, one.n,
                one.p_faster[0], first["steps"], second["steps"], first["reached"], first["n"], second["reached"],
                second["n"], first["lr"], second["lr"], first["loss_train"], second["loss_train"],
                same, "; ".join(unlike[pair]),
            ]
        )  # fmt: skip
    return pd.DataFrame(rows, columns=STUDY_COLUMNS)


def _known(
    said: verdict.Verdict, one: verdict.Contrast, first: pd.Series, second: pd.Series, family: int
) -> dict[str, Any]:
    """What `remedy.reason` asks of a comparison."""
    low, high = np.exp(one.interval(0.90))
    return {
        "why": said.why, "test": said.test, "p": said.p, "p_holm": said.p_holm, "family": family, "pairs": one.n,
        "paired": one.paired, "equal_low": low, "equal_high": high, "reached": second["reached"], "n": second["n"],
        "reached_baseline": first["reached"], "n_baseline": first["n"], "reached_pairs": int(one.reached.sum()),
        "reached_pairs_baseline": int(one.reached_base.sum()),
    }  # fmt: skip


def _rates(runs: pd.DataFrame, arm: str) -> set[float]:
    return set(runs.loc[runs["arm"].astype(str) == arm, "optim.lr"].astype(float)) if len(runs) else set()


def _at_rates(runs: pd.DataFrame, rates: Mapping[str, set[float]]) -> pd.DataFrame:
    """The runs of arms that are compared at the rates both sides have; an arm without one keeps its own."""
    if not len(runs):
        return runs
    pairs = zip(runs["arm"].astype(str), runs["optim.lr"].astype(float))
    return runs[[not rates.get(arm) or lr in rates[arm] for arm, lr in pairs]]


def differences(
    a: pd.DataFrame,
    arm_a: str,
    study_a: Mapping[str, Any] | None,
    b: pd.DataFrame,
    arm_b: str,
    study_b: Mapping[str, Any] | None,
) -> list[str]:
    """What differs between the two arms of one name, beside their outcome, in words."""
    out = []
    one, two = _rates(a, arm_a), _rates(b, arm_b)
    if one and two and one != two:
        both = ", ".join(f"{lr:g}" for lr in sorted(one & two))
        out.append(f"learning rates: judged at {both}" if both else "learning rates: none in common")
    seeds = [set(frame.loc[frame["arm"].astype(str) == arm, "seed"]) if len(frame) else set()
             for frame, arm in ((a, arm_a), (b, arm_b))]  # fmt: skip
    if all(seeds) and seeds[0] != seeds[1]:
        out.append(f"seeds: {len(seeds[0])} and {len(seeds[1])}, {len(seeds[0] & seeds[1])} in both")
    configs = [_config(study, arm) for study, arm in ((study_a, arm_a), (study_b, arm_b))]
    if all(configs):
        names = sorted({*configs[0], *configs[1]})
        keys = [name for name in names if configs[0].get(name) != configs[1].get(name)]
        out += [f"{key}: {configs[0].get(key)} and {configs[1].get(key)}" for key in keys[:MOST_KEYS]]
        out += [f"{len(keys) - MOST_KEYS} more keys"] if len(keys) > MOST_KEYS else []
    return out


MOST_KEYS = 4
# neither what a run is made of nor how it is judged; rates and seeds are told apart from the runs themselves
NOT_COMPARED = ("seeds", "optim.lr", "optim.lrs", "train.target", "train.rerun", "train.dry_run", "engine.", "report.",
                "track.", "outputs", "study", "name")  # fmt: skip


def _config(study: Mapping[str, Any] | None, label: str) -> dict[str, str]:
    """The configuration of an arm, flat, without what two studies may differ in; empty where it is not known."""
    arms = (study or {}).get("arms") or []
    config = next((arm.get("config") for arm in arms if str(arm.get("label")) == label), None)
    return {key: str(value) for key, value in dotted(config or {}).items() if not key.startswith(NOT_COMPARED)}


def common_evaluations(
    a: pd.DataFrame, history_a: History, b: pd.DataFrame, history_b: History, target: tuple[str, float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of both with T at the evaluations that both have, so that a coarser grid does not look slower.

    By (setting, setup). Beyond the last evaluation of one of them the other's own count: it trained longer.
    """
    grids = [_grids(frame, history, target[0]) for frame, history in ((a, history_a), (b, history_b))]
    kept: dict[tuple[str, str], np.ndarray] = {}
    for key in grids[0].keys() & grids[1].keys():
        one, two = grids[0][key], grids[1][key]
        end = min(one[-1], two[-1])
        if not np.array_equal(one[one <= end], two[two <= end]):
            union = np.union1d(one, two)
            kept[key] = np.union1d(np.intersect1d(one, two), union[union > end])
    if not kept:
        return a, b
    return _retimed(a, history_a, kept, target), _retimed(b, history_b, kept, target)


def _keys(runs: pd.DataFrame) -> pd.Series:
    return pd.Series(list(zip(runs["setting"].astype(str), runs["setup"].astype(str))), index=runs.index)


def _grids(runs: pd.DataFrame, history: History, metric: str) -> dict[tuple[str, str], np.ndarray]:
    """{(setting, setup): every step at which one of its runs was evaluated}"""
    rows = select(history, metric)
    of_run = dict(zip(runs["run"].astype(str), _keys(runs)))
    pairs = (
        rows.assign(key=rows["run"].astype(str).map(of_run)).dropna(subset=["key"])[["key", "step"]].drop_duplicates()
    )
    return {key: np.unique(part.to_numpy(float)) for key, part in pairs.groupby("key")["step"]}  # type: ignore[misc]


def _retimed(
    runs: pd.DataFrame, history: History, kept: Mapping[tuple[str, str], np.ndarray], target: tuple[str, float]
) -> pd.DataFrame:
    rows, keys, out = select(history, target[0]), _keys(runs), runs.copy()
    for key, steps in kept.items():
        own = runs[keys == key]
        part = rows[rows["run"].astype(str).isin(set(own["run"].astype(str))) & rows["step"].isin(steps)]
        out.loc[own.index, "steps_to_target"] = steps_to_target(part, own, *target)
    return out


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
