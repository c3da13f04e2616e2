"""Each setup against the baseline of its setting, paired by seed; and the leaderboard that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from initbench.errors import InputError
from initbench.stats.intervals import ratio_interval
from initbench.stats.ranking import LEADERBOARD_COLUMNS, ranked
from initbench.stats.rates import GATE, MIN_SEEDS, at_chosen_lr, log_outcome

COMPARISON_COLUMNS = [
    "setting", "setup", "arm", "baseline", "ratio_of", "ratio", "ratio_low", "ratio_high", "pairs", "n",
    "n_baseline", "reached", "reached_baseline", "lr", "lr_baseline", "lr_at_edge", "note",
]  # fmt: skip


def leaderboard(
    runs: pd.DataFrame, study: Mapping[str, Any] | None = None, baseline: str | None = None
) -> pd.DataFrame:
    """One row per arm at its chosen learning rate, ranked inside its setting. Columns: LEADERBOARD_COLUMNS.

    Rank: arms that arrive in at least 80% of their seeds first, by mean log steps; then by share arrived,
    then by final train loss. `steps` is the median over all seeds with its bootstrap interval (inf = never);
    `ratio` is ``exp(mean over paired seeds of log min(T, tau) - the baseline's)``, NaN below the gate, or the
    ratio of the final train losses where nobody in the setting arrives (`ratio_of` says which). `gap` is the
    median of val - train loss at the target (inf: fewer than half arrived), or at the end where nobody
    arrives. Arms of `study` that failed before they had a run are the last rows.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "arm": ["slow", "fast"], "setup": ["slow", "fast"],
    ...     "setting": "s", "optim.lr": 0.1, "seed": 0, "status": "completed", "train.steps": 100,
    ...     "steps_to_target": [80.0, 40.0]})
    >>> leaderboard(runs, baseline="slow")[["rank", "setup", "steps", "ratio"]].values.tolist()
    [[1, 'fast', 40.0, 0.5], [2, 'slow', 80.0, 1.0]]
    """
    board = ranked(runs, study)
    against = _compared(runs, board, _wanted(board, study, baseline)).set_index("arm")
    for name in ("ratio", "ratio_low", "ratio_high", "pairs", "ratio_of", "baseline"):
        board[name] = board["arm"].map(against[name])
    return board[LEADERBOARD_COLUMNS]


def comparisons(
    runs: pd.DataFrame,
    baseline: str | None = None,
    study: Mapping[str, Any] | None = None,
    *,
    board: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Each setup against the baseline of its setting, paired by seed, each at its chosen learning rate.

    Columns: COMPARISON_COLUMNS. `ratio_of` is "steps" or "loss" (nobody in the setting arrives); `pairs` are
    the seeds both have; `board`: the leaderboard of these runs, if it is at hand. No verdict words: `note` says what would stand in the way of one.
    """
    board = ranked(runs, study) if board is None else board
    return _compared(runs, board, _wanted(board, study, baseline))


def reference_setups(board: pd.DataFrame, baseline: str | None = None) -> dict[str, str]:
    """The setup each setting's ratios refer to: `baseline`, a setup's label or an initializer's name.

    An initializer's name means its setup without sharing where there is one. The first of the ranking stands
    in where the baseline is absent, or below the gate while another setup is above it. Raises InputError if
    `baseline` names nothing on the whole board.

    >>> board = pd.DataFrame({"setting": "s", "setup": ["a · none", "b · none"], "init": ["a", "b"],
    ...                       "sharing": "none", "share": [1.0, 1.0]})
    >>> reference_setups(board, "b")
    {'s': 'b · none'}
    """
    if baseline is not None and not _named(board, baseline).any():
        raise InputError(f"baseline {baseline!r}: allowed are {', '.join(sorted(set(board['setup'])))}")
    found = {}
    for setting, part in board.groupby("setting", sort=False):
        named = part[_named(part, baseline)]
        named = named.iloc[np.lexsort((named["sharing"] != "none", named["setup"] != baseline))].head(1)
        some_arrive = bool((part["share"] >= GATE).any())
        if named.empty or (some_arrive and not (named["share"] >= GATE).all()):
            named = part.head(1)
        found[str(setting)] = str(named["setup"].iloc[0])
    return found


def _named(board: pd.DataFrame, baseline: str | None) -> pd.Series:
    return (board["setup"] == baseline) | (board["init"] == baseline)


def _wanted(board: pd.DataFrame, study: Mapping[str, Any] | None, baseline: str | None) -> str | None:
    """The baseline typed, else the study's own; the latter may name an arm that this sweep left out."""
    own = (study or {}).get("baseline")
    if baseline is not None or own is None:
        return baseline
    return own if _named(board, own).any() else None


def _compared(runs: pd.DataFrame, board: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    reference = reference_setups(board, baseline)
    at = at_chosen_lr(runs, board.set_index("arm")) if len(runs) else runs
    logs = {of: _outcomes(at, of) for of in ("steps", "loss")}
    nothing = pd.Series(dtype=float)
    rows = []
    for setting, part in board.groupby("setting", sort=False):
        base = part[part["setup"] == reference[str(setting)]].iloc[0]
        of = "steps" if (part["reached"] > 0).any() else "loss"
        theirs = logs[of].get(base["arm"], nothing)
        base_open = _open(base, of, theirs)
        for _, row in part.iterrows():
            ours = logs[of].get(row["arm"], nothing)
            both = (ours - theirs.reindex(ours.index)).dropna().to_numpy()
            closed = not (base_open and _open(row, of, ours))
            ratio = (float("nan"),) * 3 if closed else ratio_interval(both)
            rows.append(
                {
                    "setting": setting,
                    "setup": row["setup"],
                    "arm": row["arm"],
                    "baseline": base["setup"],
                    "ratio_of": of,
                    "ratio": ratio[0],
                    "ratio_low": ratio[1],
                    "ratio_high": ratio[2],
                    "pairs": len(both),
                    "n": row["n"],
                    "n_baseline": base["n"],
                    "reached": row["reached"],
                    "reached_baseline": base["reached"],
                    "lr": row["lr"],
                    "lr_baseline": base["lr"],
                    "lr_at_edge": row["lr_at_edge"],
                    "note": "baseline" if row["arm"] == base["arm"] else _note(row, base, of, len(both), closed),
                }
            )
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _outcomes(at: pd.DataFrame, of: str) -> dict[str, pd.Series]:
    """{arm: log outcome indexed by seed}"""
    if at.empty:
        return {}
    logs = pd.Series(log_outcome(at, of), index=at["seed"].to_numpy())
    return {str(arm): part for arm, part in logs.groupby(at["arm"].astype(str).to_numpy(), sort=False)}


def _open(row: pd.Series, of: str, logs: pd.Series) -> bool:
    """Past the gate: at least 80% arrived; for a ratio of losses, a finite loss in every run."""
    return bool(row["share"] >= GATE) if of == "steps" else bool(len(logs) and logs.notna().all())


def _note(row: pd.Series, base: pd.Series, of: str, pairs: int, closed: bool) -> str:
    notes = []
    if closed and of == "steps":
        arrived = f"{row['reached']}/{row['n']} against {base['reached']}/{base['n']}"
        notes.append(f"no ratio: arrived {arrived}, at least {GATE:.0%} needed")
    elif closed:
        notes.append("no ratio: some final loss is not finite")
    if pairs < MIN_SEEDS:
        notes.append(f"n={pairs}, at least {MIN_SEEDS}")
    if {"low", "high"} & {row["lr_at_edge"], base["lr_at_edge"]}:
        notes.append("lr at the edge of its grid")
    return "; ".join(notes)
