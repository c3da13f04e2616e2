"""From the signals of some seeds at step 0 to one line that names the trouble; plain arrays in, words out.

A size is the root of a mean square, its median over seeds. Thresholds are rules of thumb, not theory: a signal below
LOST of its size reaches nobody within a usual budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

LOST = 0.01  # share of its size below which a signal counts as gone
FLOODED = 100.0  # and above which it counts as exploded
ALIKE = 0.999  # cosine above which all samples look the same
AGAINST = -0.5  # cosine of outputs and targets below which the start has to be undone
WORSE = 3.0  # times the loss of a guess
IDENTICAL = 1e-6


@dataclass(frozen=True)
class Signals:
    """What one arm shows at step 0: `values` metric -> (seeds, k) with the `layers` (k,) it speaks of."""

    values: Mapping[str, np.ndarray]
    layers: Mapping[str, Sequence[int]]
    loss: np.ndarray  # (seeds,)
    guess: float  # loss of the best constant answer, about: ln classes, or the targets' mean square
    targets: float | None = None  # mean square of the targets; None for classes
    theory: Mapping[str, Sequence[float | None]] | None = field(default=None)

    def median(self, metric: str) -> dict[int, float]:
        """layer -> median over seeds; empty where it was not measured."""
        if metric not in self.values:
            return {}
        with np.errstate(all="ignore"):
            return dict(zip(self.layers[metric], median(self.values[metric])))

    def mean(self, metric: str) -> dict[int, float]:
        """layer -> mean over seeds."""
        return dict(zip(self.layers[metric], self.values[metric].mean(0))) if metric in self.values else {}

    def size(self, metric: str) -> dict[int, float]:
        """layer -> root of the median mean square."""
        return {layer: math.sqrt(value) for layer, value in self.median(metric).items()}


def median(values: np.ndarray) -> np.ndarray:
    """Median over seeds (S, k) -> (k,), NaN left out unless there is nothing else.

    >>> median(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
    [2.0, nan]
    """
    known = ~np.isnan(values).all(0)
    out = np.full(values.shape[1], np.nan)
    out[known] = np.nanmedian(values[:, known], axis=0)
    return out


def diagnose(s: Signals) -> tuple[bool, str]:
    """(whether something is wrong, one line): the first trouble of RULES that is there, and the second unless it only
    follows from the first.
    """
    found: list[str] = []
    for rule, final in RULES:
        text = rule(s)
        if text:
            found.append(text)
            if final or len(found) == 2:
                break
    return (True, "; ".join(found)) if found else (False, fine(s))


def no_numbers(s: Signals) -> str | None:
    """Signals that are NaN or infinite, forwards or else backwards."""
    for what, metric, turn in (("output", "preactivation_msq", 1), ("gradient", "backward_msq", -1)):
        if metric not in s.values:
            continue
        gone = ~np.isfinite(s.values[metric])
        layers = [layer for layer, lost in zip(s.layers[metric], gone.any(0)) if lost][::turn]
        if layers:
            seeds = f" in {gone.any(1).sum()} of {len(gone)} seeds" if len(gone) > 1 else ""
            return f"numbers are lost: the {what} of layer {layers[0]} is NaN or infinite{seeds}"
    return None


def silent(s: Signals) -> str | None:
    """A layer whose preactivations are exactly zero, although the signal before it is not small."""
    sizes = s.size("preactivation_msq")
    gone = next((layer for layer, size in sizes.items() if size == 0), None)
    if gone is None:
        return None
    if gone == min(sizes):
        return f"no signal at all: every preactivation is 0 from layer {gone} on, so no hidden weight gets a gradient"
    shares = s.values.get("dead_fraction")
    faded = sizes[gone - 1] < LOST * sizes[min(sizes)]
    if faded or (shares is not None and (shares == 1).any(1).mean() > 0.5):
        return None  # other rules say it better
    return f"no signal beyond layer {gone - 1}: every preactivation of layer {gone} is 0"


def identical(s: Signals) -> str | None:
    """Units of a hidden layer that cannot be told apart, and never will be."""
    spread = s.median("unit_spread")
    last = max(spread, default=0)
    same = [layer for layer, value in spread.items() if layer < last and value < IDENTICAL]
    if not same:
        return None
    return f"all units of {spell(same)} are identical and stay so: this start breaks no symmetry"


def dead(s: Signals) -> str | None:
    """Seeds with a hidden layer that passes nothing, or many units that do not."""
    shares = s.values.get("dead_fraction")
    if shares is None:
        return None
    whole = (shares == 1).any(1)
    if whole.any():
        where = s.layers["dead_fraction"][int(np.bincount((shares[whole] == 1).argmax(1)).argmax())]
        if len(whole) == 1:
            return f"dead: nothing passes layer {where}"
        return f"dead at birth: {whole.sum()} of {len(whole)} seeds pass nothing on (from layer {where}, mostly)"
    worst = s.median("dead_fraction")
    layer = max(worst, key=lambda k: worst[k])
    if worst[layer] < 0.5:
        return None
    return f"{worst[layer]:.0%} of the units of layer {layer} are dead on the probe"


def forward(s: Signals) -> str | None:
    """The forward signal's way from the first hidden layer to the output."""
    return travel("forward", list(s.size("preactivation_msq").items()))


def backward(s: Signals) -> str | None:
    """The backward signal's way from the output to the first layer."""
    return travel("backward", list(s.size("backward_msq").items())[::-1])


def travel(what: str, sizes: Sequence[tuple[int, float]]) -> str | None:
    """Where a signal that starts at sizes[0] falls below LOST, or rises above FLOODED, of its first size.

    >>> travel("backward", [(3, 1.0), (2, 0.1), (1, 0.01), (0, 0.001)])
    'backward signal shrinks .1 a layer: below .01 of its size at layer 0'
    """
    if len(sizes) < 2 or not sizes[0][1] > 0:
        return None
    first = sizes[0][1]
    steps, last = max((i, size) for i, (_, size) in enumerate(sizes) if size > 0)
    rate = (last / first) ** (1 / steps) if steps else 0.0
    for verb, word, bound, beyond in (
        ("shrinks", "below", LOST, lambda x: x < LOST),
        ("grows", "above", FLOODED, lambda x: x > FLOODED),
    ):
        layer = next((layer for layer, size in sizes if beyond(size / first)), None)
        if layer is not None:
            steadily = f" {short(rate)} a layer" if 0 < rate < math.inf and (rate < 1) == (bound < 1) else ""
            return f"{what} signal {verb}{steadily}: {word} {short(bound)} of its size at layer {layer}"
    return None


def saturated(s: Signals) -> str | None:
    """Activations at the ends of their range."""
    shares = s.median("saturated_fraction")
    layer = max(shares, key=lambda k: shares[k], default=None)
    if layer is None or shares[layer] < 0.5:
        return None
    return f"{shares[layer]:.0%} of the activations of layer {layer} sit at their bounds"


def against(s: Signals) -> str | None:
    """Outputs that point away from the targets: f.y/(|f||y|), from loss = |f|^2 - 2 f.y + |y|^2 (means)."""
    if s.targets is None or "activation_msq" not in s.values:
        return None
    outputs = s.values["activation_msq"][:, -1]
    with np.errstate(all="ignore"):
        cosine = float(np.median((outputs + s.targets - s.loss) / 2 / np.sqrt(outputs * s.targets)))
    if not cosine < AGAINST:
        return None
    return f"outputs point against the targets (cosine {short(cosine)}): training first has to undo the start"


def alike(s: Signals) -> str | None:
    """Samples that the last hidden layers cannot tell apart."""
    cosines = s.median("preactivation_cosine")
    layer = next((layer for layer, value in cosines.items() if value > ALIKE), None)
    if layer is None:
        return None
    return f"all samples look alike from layer {layer} on (mean cosine {cosines[layer]:.4f})"


def loud(s: Signals) -> str | None:
    """A start much worse than a guess."""
    loss = float(np.median(s.loss)) if len(s.loss) else math.nan
    if not loss > WORSE * s.guess:
        return None
    return f"starts at loss {loss:.3g}, a guess has {s.guess:.3g}: outputs are too large"


def mostly_dead(s: Signals) -> str | None:
    """Most seeds are dead at birth: nothing else is worth saying of them."""
    shares = s.values.get("dead_fraction")
    return dead(s) if shares is not None and (shares == 1).any(1).mean() > 0.5 else None


# in order of gravity; after a final one the others only follow from it
RULES: tuple[tuple[Callable[[Signals], str | None], bool], ...] = (
    *((no_numbers, True), (silent, True), (mostly_dead, True), (identical, False), (forward, False), (backward, False)),
    *((dead, False), (saturated, False), (against, False), (alike, False), (loud, False)),
)


def fine(s: Signals) -> str:
    """What a start without trouble keeps."""
    parts = []
    for name, sizes in (("forward", s.size("preactivation_msq")), ("backward", s.size("backward_msq"))):
        values = [value for value in sizes.values() if value > 0]
        if len(values) > 1:
            parts.append(f"{name} signals stay within a factor {max(values) / min(values):.2g}")
    return f"no trouble seen: {', '.join(parts)}" if parts else "no trouble seen"


def flags(s: Signals, layer: int) -> str:
    """Words about one layer of the table."""
    words = []
    for name, metric, first in (("signal", "preactivation_msq", min), ("gradient", "backward_msq", max)):
        sizes = s.size(metric)
        start = sizes[first(sizes)] if sizes else 0.0
        if layer in sizes and start > 0:
            ratio = sizes[layer] / start
            words += [f"{name} lost"] * (ratio < LOST) + [f"{name} exploded"] * (ratio > FLOODED)
    for word, metric in (("dead", "dead_fraction"), ("saturated", "saturated_fraction")):
        if s.median(metric).get(layer, 0.0) >= 0.5:
            words.append(word)
    spread = s.median("unit_spread")
    if layer in spread and layer < max(spread) and spread[layer] < IDENTICAL:
        words.append("identical units")
    return ", ".join(words)


def spell(layers: Sequence[int]) -> str:
    """Layer numbers as a person would say them.

    >>> spell([2]), spell([0, 1, 2]), spell([0, 3])
    ('layer 2', 'layers 0 to 2', 'layers 0, 3')
    """
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def short(x: float) -> str:
    """Two digits, no leading zero.

    >>> short(0.5731), short(0.01), short(100.0), short(-1.0)
    ('.57', '.01', '100', '-1')
    """
    return f"{x:.2g}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.3g}"
