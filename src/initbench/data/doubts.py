"""Traps in data and splits that make results mean less than they seem: one Caution each, with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from initbench.config.arm import resolve_target
from initbench.config.cautions import Caution
from initbench.config.groups import Target
from initbench.data.dataset import Dataset, parts
from initbench.data.frame import blocks, standardizer
from initbench.data.labels import doubtful_numbers

ROWS = 5000  # so many samples, evenly spaced, are looked at where there are more
SEEDS = 20  # so many seeds' splits are looked at
NEARLY_ALL = 0.99  # a share of the inputs' mean square
ALIKE = 0.01  # a share of the validation part
Parts = tuple[np.ndarray, np.ndarray]  # sample numbers of training and validation
FLOAT32 = 2.0**-24  # relative rounding


def doubts(data: Dataset, target: Target | None, seeds: Sequence[int], loss: str, single: bool) -> tuple[Caution, ...]:
    """What to know of an arm's data, its seeds' splits and its target. `single`: the arm computes in float32.

    >>> constant = Dataset(np.ones((10, 2)), np.arange(10) % 2)
    >>> [one.title for one in doubts(constant, None, (0,), "cross_entropy", True)]
    ['The inputs are constant']
    """
    found = data.noted
    key = (target, tuple(seeds), loss, single)
    if key not in found:
        found[key] = tuple(dict.fromkeys((*of_inputs(data), *of_targets(data), *of_splits(data, seeds, target, loss))))
        found[key] += lost(data) if single else ()
    return found[key]


def of_inputs(data: Dataset) -> list[Caution]:
    """Constant inputs; a feature, or a sample, that carries nearly all that differs."""
    rows = data.x_frame(data.x[spaced(len(data.x))])
    squares = np.square(rows - rows.mean(axis=0))
    total = squares.sum()
    if total == 0:
        if data.x_frame(data.x[:1]).any() or len(rows) < len(data.x):
            return []
        return [
            Caution(
                "The inputs are constant",
                f"all {len(data.x)} rows of x are the same, so no net can tell the samples apart.",
            )
        ]
    out = []
    by_feature, by_sample = squares.sum(axis=0) / total, squares.sum(axis=1) / total
    j, i = int(by_feature.argmax()), int(by_sample.argmax())
    if by_sample[i] > 0.9 and len(rows) >= 20:
        text = f"one row of x carries {share(by_sample[i])} of the inputs' mean square, so a net can hardly tell the others apart"
        out.append(Caution("One sample outweighs all others", f"{text}; look at row {spaced(len(data.x))[i]}."))
    elif data.inputs > 1 and by_feature[j] > NEARLY_ALL:
        text = (
            f"feature {j} carries {share(by_feature[j])} of the mean square of {data.inputs} inputs: x is divided by one "
            "number for all features"
        )
        out.append(
            Caution(
                "One feature outweighs all others",
                f"{text}; divide each feature by its std if all of them should count.",
            )
        )
    return out


def of_targets(data: Dataset) -> list[Caution]:
    """Class numbers without samples; constant values."""
    if data.classes is not None:
        return list(doubtful_numbers(data.y))
    if (data.y == data.y[0]).all():
        value = ", ".join(f"{v:g}" for v in data.y[0][:4])
        return [
            Caution("The targets are constant", f"all {len(data.y)} rows of y are {value}, so any net can learn them.")
        ]
    return []


def of_splits(data: Dataset, seeds: Sequence[int], target: Target | None, loss: str) -> list[Caution]:
    """A class that a part lacks, samples in both parts, and a target that a constant answer meets."""
    splits = [parts(data, seed) for seed in seeds[:SEEDS]]
    found = [no_validation(data), missing_class(data, splits), alike(data, splits)]
    return [one for one in (*found, constant_answer(data, splits, target, loss)) if one is not None]


def no_validation(data: Dataset) -> Caution | None:
    """The training part is all there is."""
    if data.train is None or len(data.train) < len(data.x):
        return None
    return Caution("No validation part", f"train holds all {len(data.x)} samples, so loss/val is the training loss.")


def missing_class(data: Dataset, splits: Sequence[Parts]) -> Caution | None:
    """Seeds whose training or validation part lacks a class that the data have."""
    if data.classes is None or len(present := np.unique(data.y)) < 2:
        return None
    lacking = {
        name: [np.setdiff1d(present, data.y[one[part]]) for one in splits]
        for name, part in (("training", 0), ("validation", 1))
    }
    said = [
        f"the {name} part of {sum(len(one) > 0 for one in classes)} of {len(splits)} seeds has no sample of "
        f"class {next(one for one in classes if len(one))[0]}"
        for name, classes in lacking.items()
        if any(len(one) for one in classes)
    ]
    rare = int(np.bincount(data.y)[present].min())
    text = f"{' and '.join(said)}; the rarest class has {rare} of {len(data.y)} samples"
    return (
        Caution("A part lacks a class", f"{text}: add samples, or fix the parts with an array train.") if said else None
    )


def alike(data: Dataset, splits: Sequence[Parts]) -> Caution | None:
    """Rows of the validation part that the training part holds too."""
    numbers = row_numbers(data.x)
    if len(np.unique(numbers)) == 1 or len(splits[0][0]) == len(data.x):
        return None
    shares = [float(np.isin(numbers[val], numbers[train]).mean()) for train, val in splits]
    if max(shares) <= ALIKE:
        return None
    text = f"{share(float(np.mean(shares)))} of the validation rows of x also occur in the training part"
    return Caution(
        "Validation rows are training rows",
        f"{text}, so loss/val looks better than it is; put equal rows into one part, with an array train.",
    )


def row_numbers(x: np.ndarray) -> np.ndarray:
    """A number (N,) of each row; equal rows have equal ones, and others hardly ever."""
    found = []
    for block in blocks(x):
        held = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1)
        padded = np.pad(held, ((0, 0), (0, -held.shape[1] % 8)))
        bits = padded.view(np.uint64)
        odd = np.random.default_rng(0).integers(1, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        found.append((bits ^ (bits >> np.uint64(29))) @ odd)  # the digits of round floats are in their upper bits only
    return np.concatenate(found)


def constant_answer(data: Dataset, splits: Sequence[Parts], target: Target | None, loss: str) -> Caution | None:
    """A target that is met without looking at the inputs."""
    if target is None:
        return None
    target = resolve_target(target, data.classes is not None)
    assert target is not None
    assert target.value is not None
    judged = 0 if target.metric.endswith("train") else 1
    reached = [without_inputs(data, one[0], one[judged], target.metric, loss) for one in splits]
    met = sum(bool(target.met(value)) for value in reached)
    # one class, constant targets: said already
    if not met or (data.y == data.y[0]).all():
        return None
    text = (
        f"the best constant answer reaches {target.metric} {np.mean(reached):.3g}, and the target is {target.value:g}"
    )
    harder = "a higher" if target.metric.startswith("accuracy") else "a lower"
    return Caution(
        "A constant answer meets the target",
        f"{text} (it is met in {met} of {len(splits)} seeds); set {harder} train.target.value.",
    )


def without_inputs(data: Dataset, train: np.ndarray, judged: np.ndarray, metric: str, loss: str) -> float:
    """The metric, on the samples `judged`, of the best constant answer to the training part."""
    if data.classes is None:
        answer, scale = standardizer(data.y, data.y_frame, train)
        scale = scale if data.standardized else 1.0
        return float(np.mean(((data.y_frame(data.y[judged]) - answer) / scale) ** 2))
    p = np.bincount(data.y[train], minlength=data.classes) / len(train)
    q = np.bincount(data.y[judged], minlength=data.classes) / len(judged)
    if metric.startswith("accuracy"):
        return float(q[p.argmax()])
    if loss in ("squared_error", "sigmoid_squared_error"):
        return float(np.mean(q * (1 - p) ** 2 + (1 - q) * p**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        of_class = np.where(q > 0, q * np.log(p), 0.0)
        if loss == "sigmoid_cross_entropy":
            return float(-np.mean(of_class + np.where(q < 1, (1 - q) * np.log1p(-p), 0.0)))
        return float(-np.sum(of_class))


def lost(data: Dataset) -> tuple[Caution, ...]:
    """Numbers that are used as they are and whose differences float32 loses."""
    if data.standardized:
        return ()
    rows = data.x[spaced(len(data.x))].astype(np.float64)
    spread = rows.std(axis=0)
    few = (spread > 0) & (np.abs(rows).max(axis=0) * FLOAT32 > 1e-3 * spread)
    if not few.any():
        return ()
    j = int(few.argmax())
    text = f"{int(few.sum())} of {data.inputs} features, first {j}, differ by {spread[j]:.3g} at a size of {np.abs(rows[:, j]).max():.3g}"
    return (Caution("float32 loses digits of x", f"{text}; data.standardize=true or model.dtype=float64 keeps them."),)


def spaced(samples: int) -> np.ndarray:
    """Numbers of up to ROWS samples, evenly spaced."""
    return np.linspace(0, samples - 1, min(samples, ROWS)).astype(np.int64)


def share(value: float) -> str:
    """A share in percent, never rounded to 100.

    >>> share(0.99999), share(0.25)
    ('99.9%', '25%')
    """
    return f"{min(100 * value, 99.9):.3g}%"
