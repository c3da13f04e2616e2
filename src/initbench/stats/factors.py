"""Factors, not only arms: what a level of init, sharing, depth ... costs on average, and where it does not.

A level is compared with the reference level of its factor in matched cells: pairs of arms that differ in this factor
alone. The main effect is the mean over cells of the difference of cross-fitted mean log steps; an effect `given` a
level of another factor is the mean over the cells at that level. Standard errors come from the same bootstrap draws
of the seeds for every arm, so pairing by seed is kept. Where fewer than half of the cells have both arms above the
gate, log steps would speak of a chosen few: then effects are differences of mean rank (0 first, 1 last, never = last).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from initbench.startup.late import stats as sps
from initbench.stats import student
from initbench.stats.compare import Arms
from initbench.stats.intervals import standard_error
from initbench.stats.rates import GATE

EFFECT_COLUMNS = [
    "factor", "level", "reference", "given", "scale", "effect", "low", "high", "p", "cells", "open_cells", "seeds",
    "interaction", "interaction_low", "interaction_high",
]  # fmt: skip
CANDIDATES = ("init.name", "sharing.name", "model.parametrization", "model.depth", "model.width", "model.activation",
              "data.name", "optim.name", "optim.batch_size")  # fmt: skip
FEWEST_OPEN = 0.5  # of the cells: below it ranks are compared, not steps


class Cells(NamedTuple):
    """Matched pairs of one level with the reference: (C,) arms each, and the other factors' levels."""

    arms: list[tuple[str, str]]
    others: list[dict[str, str]]


def factors_of(runs: pd.DataFrame) -> dict[str, list[str]]:
    """{factor: its levels in the frame's order} for the columns that vary."""
    first = runs.drop_duplicates("arm")
    levels = {name: [str(v) for v in first[name].drop_duplicates()] for name in CANDIDATES if name in first}
    return {name: values for name, values in levels.items() if len(values) > 1}


def effects(
    runs: pd.DataFrame, board: pd.DataFrame, references: dict[str, str] | None = None, arms: Arms | None = None
) -> pd.DataFrame:
    """Main effects (`given` empty) and effects within levels of the other factors. Columns: EFFECT_COLUMNS.

    `effect` on scale "steps" is a ratio (above 1: more steps than the reference), on scale "rank" a difference of
    mean ranks. `interaction`: how the effect here differs from the mean over the other levels of that factor (ratio
    of ratios, or difference). `references`: {factor: level}, else the level met first ("none" for sharing.name).

    >>> runs = pd.DataFrame([{"run": f"{i}{s}{k}", "arm": f"{i}{s}", "setup": f"{i}{s}", "setting": "d",
    ...     "init.name": i, "sharing.name": s, "optim.lr": 0.1, "seed": k, "status": "completed", "train.steps": 100,
    ...     "steps_to_target": 10.0 * (2 if s == "all" else 1)} for i in "ab" for s in ("none", "all") for k in range(8)])
    >>> from initbench.stats import ranked
    >>> effects(runs, ranked(runs)).query("factor == 'sharing.name' and given == ''")[["level", "effect"]].values.tolist()
    [['all', 2.0]]
    """
    arms = Arms(runs) if arms is None else arms
    levels = factors_of(runs)
    table = runs.drop_duplicates("arm").set_index("arm")[list(levels)].astype(str)
    share = dict(zip(board["arm"], board["share"].astype(float)))
    rows: list[dict[str, Any]] = []
    ranks = Ranks(arms)
    for factor in levels:
        reference = (references or {}).get(factor) or _reference(factor, levels[factor])
        others = [name for name in levels if name != factor]
        groups = _groups(table, factor, others)
        for level in levels[factor]:
            if level == reference:
                continue
            cells = _matched(groups, others, level, reference)
            if cells.arms:
                rows += _of_level(factor, level, reference, cells, share, ranks, list(levels))
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


def _reference(factor: str, levels: Sequence[str]) -> str:
    return "none" if factor == "sharing.name" and "none" in levels else levels[0]


Groups = dict[tuple[str, ...], dict[str, str]]  # levels of the other factors -> {level of this one: arm}


def _groups(table: pd.DataFrame, factor: str, others: Sequence[str]) -> Groups:
    groups: Groups = {}
    for arm, row in zip(table.index, table.to_dict("records")):
        groups.setdefault(tuple(row[name] for name in others), {}).setdefault(row[factor], str(arm))
    return groups


def _matched(groups: Groups, others: Sequence[str], level: str, reference: str) -> Cells:
    pairs = [(key, cell) for key, cell in groups.items() if level in cell and reference in cell]
    return Cells([(cell[level], cell[reference]) for _, cell in pairs], [dict(zip(others, key)) for key, _ in pairs])


def _of_level(
    factor: str, level: str, reference: str, cells: Cells, share: dict[str, float], ranks: Ranks, names: list[str]
) -> list[dict[str, Any]]:
    open_ = np.array([min(share.get(a, 0.0), share.get(b, 0.0)) >= GATE for a, b in cells.arms])
    scale = "steps" if open_.mean() >= FEWEST_OPEN else "rank"
    used = open_ if scale == "steps" else np.ones(len(open_), bool)
    pairs = [pair for pair, use in zip(cells.arms, used) if use]
    others = [other for other, use in zip(cells.others, used) if use]
    seeds = ranks.arms.seeds(*{arm for pair in pairs for arm in pair})
    if not len(seeds):
        return []
    points, draws = _differences(pairs, seeds, scale, ranks)  # (C,), (C, resamples)
    whole = np.ones(len(pairs), bool)
    where: list[tuple[str, np.ndarray]] = [("", whole)]
    for name in names:
        if name != factor:
            for value in dict.fromkeys(other[name] for other in others):
                at = np.array([other[name] == value for other in others])
                if not at.all():
                    where.append((f"{name}={value}", at))
    rows = []
    for given, at in where:
        rest = ~at
        effect, low, high, p = _interval(points[at].mean(), draws[at].mean(axis=0), len(seeds))
        inter = (np.nan,) * 4
        if rest.any():
            inter = _interval(
                points[at].mean() - points[rest].mean(), draws[at].mean(0) - draws[rest].mean(0), len(seeds)
            )
        shown = np.exp if scale == "steps" else (lambda x: np.clip(x, -1, 1))  # ranks differ by 1 at most
        rows.append(
            {
                "factor": factor, "level": level, "reference": reference, "given": given, "scale": scale,
                "effect": round(float(shown(effect)), 12), "low": round(float(shown(low)), 12),
                "high": round(float(shown(high)), 12), "p": p, "cells": int(at.sum()),
                "open_cells": int((at & open_[used]).sum()), "seeds": len(seeds),
                "interaction": float(shown(inter[0])), "interaction_low": float(shown(inter[1])),
                "interaction_high": float(shown(inter[2])),
            }
        )  # fmt: skip
    return rows


class Ranks:
    """Ranks among all arms with these seeds, 0 first, 1 last: of the data and of each bootstrap draw. The last are kept:
    nearly all levels of a study have the same seeds."""

    def __init__(self, arms: Arms) -> None:
        self.arms = arms
        self._last: tuple[bytes, dict[str, float], dict[str, np.ndarray]] = (b"none", {}, {})

    def on(self, seeds: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """{arm: rank} and {arm: ranks by draw}."""
        if self._last[0] != seeds.tobytes():
            names = [arm for arm in self.arms.panels if np.isin(seeds, self.arms.seeds(arm)).all()]
            fits = [self.arms.on(arm, seeds)[1] for arm in names]
            mean = np.array([fit.mean for fit in fits]).round(10)
            drawn = np.stack([fit.draws for fit in fits]).round(10)
            most = max(1, len(names) - 1)
            points = dict(zip(names, (sps.rankdata(mean) - 1) / most))
            self._last = seeds.tobytes(), points, dict(zip(names, (sps.rankdata(drawn, axis=0) - 1) / most))
        return self._last[1:]


def _differences(
    pairs: list[tuple[str, str]], seeds: np.ndarray, scale: str, ranks: Ranks
) -> tuple[np.ndarray, np.ndarray]:
    """Level minus reference in each cell: (C,) of the data and (C, resamples) of the bootstrap draws."""
    if scale == "rank":
        points, draws = ranks.on(seeds)
    else:
        fits = {arm: ranks.arms.on(arm, seeds)[1] for pair in pairs for arm in pair}
        points, draws = {a: fit.mean for a, fit in fits.items()}, {a: fit.draws for a, fit in fits.items()}
    return np.array([points[a] - points[b] for a, b in pairs]), np.stack([draws[a] - draws[b] for a, b in pairs])


def _interval(estimate: float, draws: np.ndarray, n: int) -> tuple[float, float, float, float]:
    """Estimate, 95% interval and p with t(n-1); NaN below three seeds."""
    if n < 3:
        return float(estimate), float("nan"), float("nan"), float("nan")
    error = standard_error(draws, n)
    half = float(student.ppf(0.975, n - 1)) * error
    p = float(2 * student.sf(abs(estimate) / error, n - 1)) if error > 1e-12 else float(abs(estimate) < 1e-9)
    return float(estimate), float(estimate - half), float(estimate + half), p
