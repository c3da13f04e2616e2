"""Metric points as flat arrays: from the long history frame to what MLflow stores. No mlflow needed."""

from __future__ import annotations

import colorsys
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from initbench.stats.curves import grouped_quantiles

QUANTILES: tuple[tuple[str, float], ...] = (("", 0.5), ("p10", 0.1), ("p90", 0.9))
MEDIAN = QUANTILES[:1]
ENDS = ("first", "middle", "last")  # layers of a net that stand for all
HIGHER_IS_BETTER = ("accuracy",)  # a diverged run ranks as -inf there, as +inf elsewhere
HEADLINE = ("loss/", "accuracy/")  # of the whole net: what the record of a run shows
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Points:
    """Points of one run: three arrays (P,), sorted by key, then step; values finite, no (key, step) twice."""

    key: np.ndarray  # (P,) str objects
    step: np.ndarray  # (P,) int64
    value: np.ndarray  # (P,) float64

    def __len__(self) -> int:
        return len(self.key)

    def digest(self) -> str:
        """A hash of the content, whatever the frame it was cut from."""
        new = np.flatnonzero(np.r_[True, self.key[1:] != self.key[:-1]]) if len(self) else np.array([], int)
        hashed = hashlib.blake2b(digest_size=16)
        hashed.update("\n".join(self.key[new]).encode())
        for array in (new.astype(np.int64), self.step, self.value):
            hashed.update(array.tobytes())
        return hashed.hexdigest()

    @staticmethod
    def scalars(values: dict[str, Any], step: int = 0) -> Points:
        """Single values at one step; missing and infinite ones are left out."""
        kept = {k: float(v) for k, v in sorted(values.items()) if not pd.isna(v) and np.isfinite(float(v))}
        keys = np.array(list(kept), dtype=object)
        return Points(keys, np.full(len(kept), step, np.int64), np.array(list(kept.values()), float))

    @staticmethod
    def concat(parts: Iterable[Points]) -> Points:
        """All points of parts that share no key."""
        parts = [p for p in parts if len(p)]
        if not parts:
            return Points.scalars({})
        return Points(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("key", "step", "value")))


@dataclass(frozen=True)
class History:
    """The history frame as arrays over its H rows; runs are numbered as the rows of the runs frame (R)."""

    run: np.ndarray  # (H,) int32, -1 = a run that the runs frame does not have
    name: np.ndarray  # (H,) int32 into names
    step: np.ndarray  # (H,) int64
    value: np.ndarray  # (H,) float64
    names: np.ndarray  # (N,) MLflow metric names, sorted
    headline: np.ndarray  # (N,) bool: a loss or accuracy of the whole net

    @staticmethod
    def of(history: pd.DataFrame, runs: pd.DataFrame, name: Callable[[str, int], str] | None = None) -> History:
        """Dictionary-code the frame; one pass of numpy, no loop over rows. `name`: of a metric and its layer, -1 = none."""
        name = name or metric_name
        run, metric = history["run"].astype("category"), history["metric"].astype("category")
        where = pd.Index(runs["run"].astype(str)).get_indexer(run.cat.categories.astype(str))
        metrics = list(metric.cat.categories.astype(str))
        layer = history["layer"].to_numpy(dtype=np.int32, na_value=-1)
        layers = int(layer.max(initial=-1)) + 2  # with the whole net
        pair = metric.cat.codes.to_numpy(np.int64) * layers + (layer + 1)
        used = np.flatnonzero(np.bincount(pair, minlength=1))
        named = [name(metrics[p // layers], int(p % layers) - 1) for p in used]
        order = np.argsort(named, kind="stable")
        code = np.zeros(int(used.max(initial=0)) + 1, np.int32)
        code[used[order]] = np.arange(len(used), dtype=np.int32)
        names = np.array([named[i] for i in order], dtype=object)
        whole = [p % layers == 0 and metrics[p // layers].startswith(HEADLINE) for p in used[order]]
        return History(
            run=np.append(where, -1).astype(np.int32)[run.cat.codes.to_numpy(np.int64)],
            name=code[pair],
            step=history["step"].to_numpy(np.int64),
            value=history["value"].to_numpy(np.float64, na_value=np.nan),
            names=names,
            headline=np.array(whole, bool),
        )

    @staticmethod
    def concat(parts: Sequence[History]) -> History:
        """The rows of parts whose runs are numbered alike."""
        names, code = np.unique([name for part in parts for name in part.names], return_inverse=True)
        codes = np.split(code.astype(np.int32), np.cumsum([len(part.names) for part in parts])[:-1])
        headline = np.zeros(len(names), bool)
        for part, own in zip(parts, codes):
            headline[own] |= part.headline

        def joined(arrays: Iterable[np.ndarray], dtype: type) -> np.ndarray:
            return np.concatenate([np.empty(0, dtype), *arrays])

        return History(
            joined((part.run for part in parts), np.int32),
            joined((own[part.name] for part, own in zip(parts, codes)), np.int32),
            joined((part.step for part in parts), np.int64),
            joined((part.value for part in parts), np.float64),
            names.astype(object),
            headline,
        )

    @cached_property
    def span(self) -> int:
        return int(self.step.max(initial=0)) + 1

    def where(self, mask: np.ndarray) -> History:
        """The rows of the mask."""
        cut = (self.run[mask], self.name[mask], self.step[mask], self.value[mask])
        return History(*cut, self.names, self.headline)


def metric_name(metric: str, layer: int = -1) -> str:
    """The name in MLflow.

    >>> metric_name("grad_norm", 3), metric_name("loss/train")
    ('grad_norm/layer_03', 'loss/train')
    """
    return clean(metric if layer < 0 else f"{metric}/layer_{layer:02d}")


def end_name(metric: str, end: int = -1) -> str:
    """The name of one of ENDS: the same in nets of any depth.

    >>> end_name("grad_norm", 2), end_name("loss/train")
    ('grad_norm/last_layer', 'loss/train')
    """
    return clean(metric if end < 0 else f"{metric}/{ENDS[end]}_layer")


def ends(rows: pd.DataFrame, runs: pd.DataFrame, group: np.ndarray) -> pd.DataFrame:
    """Rows of one metric, of layers those of ENDS only, numbered by their place there (-1 = the whole net).

    group (R,): arm of each run. Of the layers at which an arm has the metric, the first, the last, and the one in the
    middle (of an even number the earlier): two or one where there are not three.
    """
    layer = rows["layer"].to_numpy(dtype=np.int64, na_value=-1)
    whole = layer < 0
    if whole.all():
        return rows
    run = rows["run"].astype("category").cat
    where = pd.Index(runs["run"].astype(str)).get_indexer(run.categories.astype(str))
    owner = np.append(group, -1)[where][run.codes.to_numpy(np.int64)]
    width = int(layer.max()) + 1
    cell = np.where(whole | (owner < 0), -1, owner * width + layer)
    cells = np.unique(cell[cell >= 0])
    first, after = (np.searchsorted(cells // width, cells // width, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    place, last = np.arange(len(cells)) - first, after - first - 1
    end = np.select([place == 0, place == last, place == last // 2], [0, 2, 1], -1)
    found = np.full(len(rows), -1)
    found[cell >= 0] = end[np.searchsorted(cells, cell[cell >= 0])]
    keep = whole | (found >= 0)
    return rows[keep].assign(layer=found[keep])


def with_quantile(name: str, quantile: str) -> str:
    """The quantile goes to the quantity, so that its section of a page stays one quantity.

    >>> with_quantile("grad_norm/layer_03", "p10")
    'grad_norm_p10/layer_03'
    """
    head, slash, tail = name.partition("/")
    return f"{head}_{quantile}{slash}{tail}" if quantile else name


def clean(name: str) -> str:
    """A name MLflow accepts: letters, digits, ``_ - . space /``; no empty part, no part of dots.

    >>> clean("my metric?/../x:1"), clean("loss/train")
    ('my metric_/_/x_1', 'loss/train')
    """
    parts = (re.sub(r"[^\w\-. ]", "_", part, flags=re.ASCII) for part in name.split("/"))
    return "/".join("_" if part.strip(". ") == "" else part for part in parts)[:250]


def colour_of(place: int) -> str:
    """The colour of an arm, by its place in the study: neighbours are far apart.

    >>> colour_of(0), colour_of(1)
    ('#ae2a2a', '#4871d3')
    """
    hue, light = place * 0.618034 % 1, (0.425, 0.555, 0.30)[place % 3]
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, light, 0.61))


def thin(index: np.ndarray, length: np.ndarray, points: int) -> np.ndarray:
    """Which places of curves stay if about `points` are wanted: evenly in number, first and last included.

    Args:
        index: (P,) place of each point in its curve, from 0.
        length: (P,) number of points of its curve.

    >>> np.flatnonzero(thin(np.arange(11), np.full(11, 11), 3)).tolist()
    [0, 5, 10]
    """
    spacing = np.maximum(length - 1, 1) / (points - 1)
    return (length <= points) | (np.round(np.round(index / spacing) * spacing) == index)


def shortened(points: Points, most: int = 40) -> Points:
    """Each curve with about `most` of its points, the first and the last among them."""
    first = np.flatnonzero(np.r_[True, points.key[1:] != points.key[:-1]]) if len(points) else np.zeros(0, int)
    length = np.diff(np.append(first, len(points)))
    index = np.arange(len(points)) - np.repeat(first, length)
    keep = thin(index, np.repeat(length, length), most)
    return Points(points.key[keep], points.step[keep], points.value[keep])


def thinned(history: History, points: int = 20) -> History:
    """Losses and accuracies, thinned to about `points` a curve.

    The last finite point of a curve is always kept, so that the value a table shows is the last one.
    """
    keep = history.run >= 0
    if len(history.names):
        keep &= history.headline[history.name]
    rows = _sorted(history.where(keep))
    if not len(rows.run):
        return rows
    finite = np.isfinite(rows.value)
    curve = rows.run.astype(np.int64) * len(rows.names) + rows.name
    first = np.flatnonzero(np.r_[True, curve[1:] != curve[:-1]])
    length = np.diff(np.append(first, len(curve)))
    index = np.arange(len(curve)) - np.repeat(first, length)
    place = np.where(finite, np.arange(len(curve)), -1)
    stays = thin(index, np.repeat(length, length), points)
    stays[np.maximum(np.maximum.reduceat(place, first), 0)] = True
    return rows.where(stays & finite)


def per_run(history: History, runs: int) -> list[Points]:
    """The finite points of each of the `runs` runs."""
    rows = _sorted(history.where(history.run >= 0))
    rows = rows.where(np.isfinite(rows.value))
    bounds = np.searchsorted(rows.run, np.arange(runs + 1))
    keys = rows.names[rows.name] if len(rows.names) else np.array([], dtype=object)
    cut = [slice(a, b) for a, b in pairwise(bounds)]
    return [Points(keys[s], rows.step[s], rows.value[s]) for s in cut]


def _sorted(rows: History) -> History:
    """By run, name, step; of a doubled row the last stands."""
    key = (rows.run.astype(np.int64) * max(len(rows.names), 1) + rows.name) * rows.span + rows.step
    order = np.argsort(key, kind="stable")
    key = key[order]
    return rows.where(order[np.r_[key[1:] != key[:-1], True]] if len(key) else order)


def bands(
    history: History,
    group: np.ndarray,
    groups: int,
    diverged_at: np.ndarray,
    quantiles: Sequence[tuple[str, float]] = QUANTILES,
) -> list[Points]:
    """Quantiles over the runs of each group, by metric and step.

    A value of a run that diverged by that step is the worst there is; NaN before that is missing. The
    quantile q of n values is the one of rank ceil(q n), as in ``np.quantile(method="inverted_cdf")``; it is
    left out if not finite.

    Args:
        group: (R,) group of each run, -1 = none.
        diverged_at: (R,) step, NEVER if it did not.

    Returns:
        Points of each group, each sorted by key and step.
    """
    known = history.run >= 0
    rows = history.where(known & (np.append(group, -1)[history.run] >= 0))
    gone = np.isnan(rows.value) & (rows.step >= diverged_at[rows.run])
    better = np.array([n.startswith(HIGHER_IS_BETTER) for n in rows.names], bool)
    value = np.where(gone, np.where(better[rows.name], -np.inf, np.inf), rows.value) if len(better) else rows.value
    there = ~np.isnan(value)
    rows, value = rows.where(there), value[there]
    cell = (group[rows.run].astype(np.int64) * max(len(rows.names), 1) + rows.name) * rows.span + rows.step
    (cells,), _, _, found = grouped_quantiles([cell], pd.Series(value), [q for _, q in quantiles])
    where, step = cells // rows.span, cells % rows.span
    owner, name = where // max(len(rows.names), 1), where % max(len(rows.names), 1)
    parts: list[list[Points]] = [[] for _ in range(groups)]
    for (label, _), at in zip(quantiles, found.T):
        finite = np.isfinite(at)
        keys = np.array([with_quantile(n, label) for n in rows.names], dtype=object)
        keys = keys[name[finite]] if len(keys) else np.array([], dtype=object)
        bounds = np.searchsorted(owner[finite], np.arange(groups + 1))
        steps, values = (
            step[finite],
            at[finite],
        )  # once: a copy for each of a thousand groups would be kept whole by its slice
        for g, (a, b) in enumerate(pairwise(bounds)):
            parts[g].append(Points(keys[a:b], steps[a:b], values[a:b]))
    return [Points.concat(p) for p in parts]


def trained_share(steps: np.ndarray, grid: np.ndarray) -> Points:
    """Share of all seeds that have reached the target by each step of the grid; NaN (never, failed) never counts.

    Without the points between two alike: a line goes through them.
    """
    if not len(steps) or not len(grid):
        return Points.scalars({})
    share = (steps[:, None] <= grid[None, :]).mean(axis=0)  # (seeds, steps) -> (steps,); NaN <= x is False
    changes = np.diff(share) != 0
    keep = np.r_[True, changes] | np.r_[changes, True]
    return Points(np.full(keep.sum(), "trained_share", dtype=object), grid[keep], share[keep])
