"""From frames to the tests of a claim, one entry a test: a race to the target, a difference of values, a level, an exact ratio.

Races follow the procedure of every report (stats/): learning rate chosen on other seeds than it is judged on, the whole
procedure bootstrapped, never arrived = the budget. Values that are not times (gaps, correlations) are taken at the
learning rates by which the seeds are judged in the race, so no value takes part in a choice either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from initbench.claims.costs import UNKNOWN, Costs, costs
from initbench.stats import Arms, remedy
from initbench.stats.crossfit import at_rates
from initbench.stats.ranking import ranked
from initbench.stats.verdict import Contrast, Side

NAN = float("nan")
NOWHERE = Side(NAN, "")


class Entry(NamedTuple):
    """A test of one part of a claim in one cell, before the correction for many tests.

    `claims`: below, above, or not above: where the claim puts the ratio to the baseline. `earlier`: the race with every
    time one evaluation earlier. `exact`: a ratio without chance. `bound`: what a level is compared with. `costs`: of a race,
    what a step takes beside time.
    """

    part: str
    cell: str
    setup: str
    baseline: str
    claims: str
    quantity: str
    contrast: Contrast | None = None
    side: Side = NOWHERE
    base: Side = NOWHERE
    earlier: Contrast | None = None
    exact: float = NAN
    bound: float = NAN
    lr: float = NAN
    lr_baseline: float = NAN
    note: str = ""
    costs: Costs = UNKNOWN


@dataclass(frozen=True)
class Frames:
    """The frames of a claim with what the tests need of them, computed once."""

    runs: pd.DataFrame
    history: pd.DataFrame
    arms: Arms
    earlier: Arms
    board: Mapping[tuple[str, str], Mapping[str, Any]]  # (cell, setup) -> its row of the leaderboard

    @property
    def cells(self) -> list[str]:
        return list(dict.fromkeys(self.runs["setting"]))

    def at_best(self, cell: str, setup: str) -> pd.DataFrame:
        """The runs of a setup at the learning rate that trains it fastest."""
        arm = self.runs[self.runs["arm"] == arm_name(cell, setup)]
        best = arm[arm["optim.lr"] == self.board[cell, setup]["lr"]]
        return best if len(best) else arm

    def setups(self, cell: str) -> list[str]:
        return list(dict.fromkeys(self.runs.loc[self.runs["setting"] == cell, "setup"]))


def cell_of(runs: pd.DataFrame) -> pd.Series:
    """Data, activation and depth of each run, in words: "digits, relu, depth 3"."""
    depth = runs["model.depth"].astype(int).astype(str)
    return runs["data.name"].astype(str) + ", " + runs["model.activation"].astype(str) + ", depth " + depth


def framed(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    setup: pd.Series,
    metric: str = "accuracy/train",
    cell: pd.Series | None = None,
) -> Frames:
    """Frames whose arms are named by cell and `setup`; `metric`: what the target is of; `cell`: by default `cell_of`."""
    if cell is None:
        cell = cell_of(runs)
        data, activation = (pd.factorize(runs[name])[0] for name in ("data.name", "model.activation"))
        order = np.lexsort((runs["model.depth"].to_numpy(int), activation, data))
    else:
        order = np.argsort(pd.factorize(cell)[0], kind="stable")
    named = runs.assign(setting=cell, setup=setup.astype(str), arm=cell + " · " + setup.astype(str))
    named = named.iloc[order].reset_index(drop=True)
    grids = remedy.evaluation_grids(named, history, metric)
    # runs that leave at the target have short histories: the grid is the one of the run that stayed longest
    dense = history[history["metric"] == metric].groupby("run")["step"].agg(list)
    arm_of = dict(zip(named["run"].astype(str), named["arm"]))
    for run, steps in dense.items():
        arm = arm_of.get(str(run))
        if arm is not None and len(steps) > len(grids.get(arm, ())):
            grids[arm] = np.unique(np.asarray(steps, dtype=float))
    rows: list[dict[str, Any]] = ranked(named).to_dict("records")  # type: ignore[assignment]
    board = {(row["setting"], row["setup"]): row for row in rows}
    return Frames(named, history, Arms(named), Arms(remedy.one_evaluation_earlier(named, grids)), board)


def sharing_role(runs: pd.DataFrame) -> pd.Series:
    """The scheme, none (untied, same width), or narrow (untied, as many stored numbers: `sharing.controls`)."""
    narrow = runs["setup"].astype(str).str.contains("parameters of|weights of")
    return runs["sharing.name"].astype(str).mask(narrow, "narrow")


def arm_name(cell: str, setup: str) -> str:
    return f"{cell} · {setup}"


def sides(frames: Frames, cell: str, setup: str, baseline: str) -> dict[str, Any]:
    """Share that arrived, and learning rate, of both setups."""
    one, other = frames.board[cell, setup], frames.board[cell, baseline]
    return {
        "side": Side(float(one["share"]), str(one["lr_at_edge"])),
        "base": Side(float(other["share"]), str(other["lr_at_edge"])),
        "lr": float(one["lr"]),
        "lr_baseline": float(other["lr"]),
        "note": f"{int(one['reached'])}/{int(one['n'])} against {int(other['reached'])}/{int(other['n'])} arrive",
    }


def race(frames: Frames, part: str, cell: str, setup: str, baseline: str, claims: str, bound: float = NAN) -> Entry:
    """Ratio of steps to the target of two setups in one cell; `bound`: what the ratio is compared with instead of 1."""
    ours, theirs = arm_name(cell, setup), arm_name(cell, baseline)
    shift = 0.0 if np.isnan(bound) else float(np.log(bound))
    one, other = (
        given._replace(estimate=given.estimate - shift)
        for given in (frames.arms.contrast(ours, theirs), frames.earlier.contrast(ours, theirs))
    )
    return Entry(
        part, cell, setup, baseline, claims, "steps", contrast=one, earlier=other, bound=bound,
        costs=costs(frames.at_best(cell, setup), frames.at_best(cell, baseline)),
        **sides(frames, cell, setup, baseline),
    )  # fmt: skip


def races(frames: Frames, part: str, setup: str, baseline: str, claims: str, bound: float = NAN) -> list[Entry]:
    """A race in every cell that has both setups."""
    cells = [cell for cell in frames.cells if {setup, baseline} <= set(frames.setups(cell))]
    return [race(frames, part, cell, setup, baseline, claims, bound) for cell in cells]


def by_layer(history: pd.DataFrame, metric: str, step: int = 0) -> pd.DataFrame:
    """One row per run and one column per layer: a measure at one step.

    >>> rows = [("a", 0, "m", 0, 1.0), ("a", 0, "m", 1, 2.0), ("a", 5, "m", 0, 9.0)]
    >>> by_layer(pd.DataFrame(rows, columns=["run", "step", "metric", "layer", "value"]), "m").values.tolist()
    [[1.0, 2.0]]
    """
    rows = history[(history["metric"] == metric) & (history["step"] == step)]
    return rows.pivot_table(index="run", columns="layer", values="value", aggfunc="first", observed=True, dropna=False)


def exact(part: str, cell: str, setup: str, baseline: str, claims: str, quantity: str, ratio: float) -> Entry:
    """A ratio that does not depend on seeds, such as of stored numbers."""
    return Entry(part, cell, setup, baseline, claims, quantity, exact=ratio)


def values_judged(frames: Frames, arm: str, seeds: np.ndarray, values: pd.Series) -> np.ndarray:
    """(n,) value of each seed at the learning rates chosen without it, averaged over halvings; NaN if one has none.

    values: one number per run of `frames.runs`, indexed by run.
    """
    panel, fit = frames.arms.on(arm, seeds)
    part = frames.runs[frames.runs["arm"] == arm]
    table = part.assign(value=part["run"].map(values).astype(float)).pivot_table(
        index="optim.lr", columns="seed", values="value", aggfunc="first", dropna=False
    )
    grid = table.reindex(index=panel.lrs, columns=panel.seeds).to_numpy(float)
    return np.asarray(at_rates(grid, fit.rates).mean(axis=0))


def difference(
    frames: Frames, part: str, cell: str, setup: str, baseline: str, claims: str, quantity: str, values: pd.Series,
    log: bool = True,
) -> Entry:  # fmt: skip
    """Values of two setups in one cell, paired by seed: mean log ratio, or (`log=False`) log of the ratio of their means.

    A seed without a value on one side makes no pair; below 80% of the seeds no word is said.
    """
    ours, theirs = arm_name(cell, setup), arm_name(cell, baseline)
    seeds = frames.arms.seeds(ours, theirs)
    if not len(seeds):
        return Entry(part, cell, setup, baseline, claims, quantity, contrast=sampled(np.zeros(0)))
    a, b = (values_judged(frames, arm, seeds, values) for arm in (ours, theirs))
    known = (log_ratios if log else log_ratio_of_means)(a, b)
    rest = sides(frames, cell, setup, baseline)
    share = Side(len(known) / len(seeds), "")
    rest |= {"side": share, "base": share, "note": f"{len(known)} of {len(seeds)} seeds have a value on both sides"}
    return Entry(part, cell, setup, baseline, claims, quantity, contrast=sampled(known), **rest)


def log_ratios(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """log(a / b) of the seeds that have both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        d = np.log(a) - np.log(b)
    return np.asarray(d[np.isfinite(d)])


def log_ratio_of_means(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One number a seed whose mean is ``log(mean a / mean b)`` and whose spread is its error by the delta method.

    For values of which single ones may be 0 or negative; none if a mean is.

    >>> log_ratio_of_means(np.array([1.0, 3.0]), np.array([2.0, 2.0])).tolist()
    [-0.5, 0.5]
    >>> log_ratio_of_means(np.array([2.0, 6.0]), np.array([1.0, 3.0])).round(3).tolist()
    [0.693, 0.693]
    """
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if not len(a) or a.mean() <= 0 or b.mean() <= 0:
        return np.zeros(0)
    return np.asarray(np.log(a.mean() / b.mean()) + a / a.mean() - b / b.mean())


def level(
    frames: Frames, part: str, cell: str, setup: str, claims: str, quantity: str, values: pd.Series, bound: float
) -> Entry:
    """Values of one setup in one cell against a bound: mean log of value / bound."""
    arm = arm_name(cell, setup)
    seeds = frames.arms.seeds(arm)
    own = values_judged(frames, arm, seeds, values) if len(seeds) else np.zeros(0)
    known = np.log(own[np.isfinite(own)]) - np.log(bound)
    side = Side(len(known) / max(1, len(seeds)), "")
    note = f"{len(known)} of {len(seeds)} seeds have a value"
    lr = float(frames.board[cell, setup]["lr"])
    return Entry(
        part, cell, setup, f"bound {bound:g}", claims, quantity,
        contrast=sampled(known), side=side, base=side, bound=bound, lr=lr, note=note,
    )  # fmt: skip


def sampled(d: np.ndarray) -> Contrast:
    """A contrast from one number per seed: their mean, and its standard error."""
    n = len(d)
    error = float(d.std(ddof=1) / np.sqrt(n)) if n >= 3 else NAN
    all_in = np.ones(n, bool)
    return Contrast(n, float(d.mean()) if n else NAN, error, all_in, all_in, (d < 0).astype(float))
