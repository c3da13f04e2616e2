"""The block "Why": how signals flow through the layers, theory beside it, what shared uses pull at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from initbench import stats
from initbench.report.block import Block, Draw, Item, n_of, not_drawn, settings_of
from initbench.report.figures import why as figures
from initbench.report.figures.common import picked
from initbench.report.figures.why import FLOW
from initbench.report.source import Source
from initbench.report.words import Bold, Sentence, html, say
from initbench.stats import student

JACOBIAN = ("jacobian_sv_min", "jacobian_sv_max", "jacobian_sv_mean_square")


def why(source: Source, draw: Draw) -> Block:
    """Flow with theory, alignment of uses, Jacobian spectra: what of it was measured."""
    block = Block("why", "Why", "Why? How signals travel", [
        "Left: mean square of each layer's preactivations; right: of the loss gradient with respect to them. Dots: step 0, "
        "mean over seeds with its 95% interval (on the log scale). Dashed: theory (mean field, independent or orthogonal weights), drawn only "
        "where one holds (not for shared layers); backward it starts from the measured top layer. Thin lines: medians at "
        "later steps, at the chosen learning rate.",
        "Alignment: norm of a shared weight's gradient divided by the sum of the norms of its uses' gradients. 1: all "
        "layers pull the same way; dotted: 1/sqrt(uses), unrelated directions; 0: they cancel.",
        "Jacobian: singular values of the derivative of each layer's preactivations with respect to the first layer's, at "
        "step 0; the band is smallest to largest, the line the root of their mean square. All near 1: an isometry. Needs measure=full.",
    ])  # fmt: skip
    runs = source.chosen[source.chosen["status"] != "failed"]
    for setting, board, heading in settings_of(source):
        names = {arm: draw.names[arm] for arm in picked(board) if arm in set(runs["arm"])}
        part = runs[runs["arm"].isin(list(names))]
        panels = flow_panels(source, part, names)
        aligned, chance = alignment_of(source, part)
        spectra = spectrum_panels(source, part, names)
        rest = not_drawn(len(board) - len(names))
        shown: list[tuple[str, str, Figure, Sentence]] = []
        if panels:
            shown.append(("flow", "Signals by layer", figures.flow(panels), about_flow(panels)))
        if len(aligned):
            title = "Do the uses of a shared weight agree?"
            sentence = about_alignment(names, aligned, chance)
            shown.append(("alignment", title, figures.alignment(names, aligned, chance), sentence))
        if spectra:
            title = "Jacobian spectra at step 0"
            shown.append(("spectra", title, figures.spectra(spectra), about_spectra(spectra)))
        for name, title, figure, sentence in shown:
            svg = draw.svg(figure, name, setting, title, sentence)
            block.items.append(Item(html(sentence), svg, n_of(board) + rest, heading))
    return block


def flow_panels(source: Source, runs: pd.DataFrame, names: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """(name, flow) of the arms of these runs, in order of `names`, that were measured."""
    found = [(name, flow_of(source, runs[runs["arm"] == arm])) for arm, name in names.items()]
    return [(name, one) for name, one in found if one]


def spectrum_panels(
    source: Source, runs: pd.DataFrame, names: Mapping[str, str]
) -> list[tuple[str, pd.DataFrame, Sequence[float | None] | None]]:
    """(name, frame, theory) of the arms whose Jacobians were measured."""
    if all(by_layer(source, runs, metric).empty for metric in JACOBIAN):  # as by default: no need to ask arm by arm
        return []
    found = [(name, *spectrum_of(source, runs[runs["arm"] == arm])) for arm, name in names.items()]
    return [one for one in found if len(one[1])]


def theory_of(source: Source, runs: pd.DataFrame) -> Mapping[str, Sequence[float | None]]:
    """Predictions stored with the arm of these runs; empty where no theory holds."""
    label = str(runs["arm"].iloc[0]) if len(runs) else ""
    found = next((arm.get("theory") for arm in source.arms if arm.get("label") == label), None)
    return found or {}


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds of (S, k), all positive, and its 95% interval, (k,) each; NaN are left out, one seed has no interval.

    mean exp(+-t SE / mean): the t interval of the log of the mean, by the delta method, so that no end is below 0.

    >>> [round(float(x[0]), 3) for x in mean_interval(np.array([[1.0], [1.5], [2.0]]))]
    [1.5, 0.655, 3.433]
    """
    known = np.isfinite(values)
    n = known.sum(0)
    with np.errstate(all="ignore"):
        filled = np.where(known, values, 0.0)
        mean = filled.sum(0) / n
        deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / (n - 1))
        half = student.ppf(0.975, np.maximum(n - 1, 1)) * deviation / np.sqrt(n)
        times = np.where(n > 1, np.exp(half / mean), np.nan)
    return mean, mean / times, mean * times


def predicted_backward(factors: Sequence[float | None] | None, measured: np.ndarray) -> list[float | None] | None:
    """Backward mean squares from the measured top layer down: delta_l = factor_l delta_{l+1}.

    >>> predicted_backward([0.5, 0.5], np.array([9.0, 9.0, 4.0]))
    [1.0, 2.0, 4.0]
    """
    if factors is None or not len(measured) or not np.isfinite(measured[-1]):
        return None
    out: list[float | None] = [float(measured[-1])]
    for factor in reversed(list(factors)):
        above = out[0]
        out.insert(0, None if factor is None or above is None else factor * above)
    return out


def by_layer(source: Source, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Values of one metric of these runs: run x (step, layer)."""
    part = stats.select(source.history, metric, runs["run"])
    part = part[part["layer"].notna()]
    return part.assign(layer=part["layer"].astype(int), run=part["run"].astype(str))


def flow_of(source: Source, runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What `figures.why.flow` draws of one arm; empty without its measures."""
    theory = theory_of(source, runs)
    out: dict[str, dict[str, Any]] = {}
    for metric, _ in FLOW:
        part = by_layer(source, runs, metric)
        start = part[part["step"] == 0]
        if start.empty:
            continue
        table = start.pivot(index="run", columns="layer", values="value")
        mean, low, high = mean_interval(table.to_numpy(float))
        later = part[part["step"].isin(later_steps(part["step"].unique()))]
        medians = later.groupby(["step", "layer"])["value"].median().unstack("layer")
        backward = metric == "backward_msq"
        out[metric] = {
            "layer": [int(layer) for layer in table.columns],
            "mean": mean,
            "low": low,
            "high": high,
            "theory": predicted_backward(theory.get("backward_factor"), mean) if backward else theory.get(metric),
            "later": {int(step): medians.loc[step].to_numpy(float) for step in medians.index},
        }
    return out


def later_steps(steps: np.ndarray) -> list[int]:
    """Two steps after the first: about the middle of those measured, and the last.

    >>> later_steps(np.array([0, 1, 4, 17, 72, 300])), later_steps(np.array([0]))
    ([17, 300], [])
    """
    after = sorted(int(step) for step in steps if step > 0)
    return sorted({after[len(after) // 2], after[-1]}) if after else []


def alignment_of(source: Source, runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Median `use_grad_alignment` by arm and step, over runs and slots; and 1/sqrt(uses) of each arm's largest slot."""
    part = by_layer(source, runs, "use_grad_alignment")
    if part.empty:
        return pd.DataFrame(columns=["arm", "step", "median"]), {}
    arm_of = dict(zip(runs["run"].astype(str), runs["arm"].astype(str)))
    part = part.assign(arm=part["run"].map(arm_of))
    frame = part.groupby(["arm", "step"], sort=True)["value"].median().rename("median").reset_index()
    uses = {str(arm["label"]): max((int(layer.get("uses") or 1) for layer in arm.get("layers") or []), default=1)
            for arm in source.arms}  # fmt: skip
    return frame, {arm: 1 / math.sqrt(uses.get(arm, 1)) for arm in frame["arm"].unique()}


def spectrum_of(source: Source, runs: pd.DataFrame) -> tuple[pd.DataFrame, Sequence[float | None] | None]:
    """Median smallest and largest singular value and root mean square by layer at step 0, and theory's mean square."""
    columns = {}
    for name, metric in zip(("low", "high", "mean_square"), JACOBIAN):
        part = by_layer(source, runs, metric)
        columns[name] = part[part["step"] == 0].groupby("layer")["value"].median()
    frame = pd.DataFrame(columns)
    frame = frame.assign(rms=np.sqrt(frame["mean_square"].astype(float))).rename_axis("layer").reset_index()
    return frame, theory_of(source, runs).get("jacobian_sv_mean_square")


# ---------------------------------------------------------------------------------------------- sentences


def about_flow(panels: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> Sentence:
    """How much of the backward signal reaches the first layer, at best and at worst."""
    reach = {}
    for name, one in panels:
        mean = one.get("backward_msq", {}).get("mean")
        if mean is not None and len(mean) > 1 and mean[-1] > 0 and np.isfinite(mean).all():
            reach[name] = math.sqrt(mean[0] / mean[-1])
    if not reach:
        return say("Mean squares of signals by layer at the start, and later.")
    best = max(reach, key=lambda name: reach[name])
    worst = min(reach, key=lambda name: reach[name])
    text = "At the start the root mean square of the gradient at the first layer is {} of that at the output for {}"
    if best == worst:
        return say(text + ".", f"{reach[best]:.2g}", Bold(best))
    return say(text + ", {} for {}.", f"{reach[best]:.2g}", Bold(best), f"{reach[worst]:.2g}", worst)


def about_alignment(names: Mapping[str, str], frame: pd.DataFrame, chance: Mapping[str, float]) -> Sentence:
    """Alignment at the start and at the end, for the arm where it moves most."""
    ends = frame.sort_values("step").groupby("arm")["median"].agg(["first", "last"]).dropna()
    if ends.empty:
        return say("Alignment of the uses of shared weights.")
    arm = str((ends["last"] - ends["first"]).abs().idxmax())
    start, end = ends.loc[arm]
    text = "Uses of a shared weight: alignment goes from {} to {} in {} ({} would be independent directions)."
    return say(text, f"{start:.2f}", f"{end:.2f}", Bold(names[arm]), f"{chance[arm]:.2f}")


def about_spectra(spectra: Sequence[tuple[str, pd.DataFrame, Any]]) -> Sentence:
    """Spread of the end-to-end Jacobian where it is smallest and largest."""
    spread = {}
    for name, frame, _ in spectra:
        last = frame.iloc[-1]
        if last["low"] > 0 and np.isfinite(last["high"]):
            spread[name] = float(last["high"] / last["low"])
    if not spread:
        return say("Singular values of each layer's derivative with respect to the first, at the start.")
    best = min(spread, key=lambda name: spread[name])
    text = "End to end, the largest singular value is {} times the smallest for {}"
    worst = max(spread, key=lambda name: spread[name])
    if best == worst:
        return say(text + ".", f"{spread[best]:.3g}", Bold(best))
    return say(text + ", {} times for {}.", f"{spread[best]:.3g}", Bold(best), f"{spread[worst]:.3g}", worst)
