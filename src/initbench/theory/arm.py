"""Theory of one arm: the laws of its weights, and from them what every layer's signals should be at step 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from initbench.config import ArmConfig, LayerSpec
from initbench.data import Dataset, split
from initbench.errors import InputError, NotApplicable
from initbench.initializers import REGISTRY, Case, needs, options, resolve
from initbench.initializers.activations import activation, gaussian_mean
from initbench.initializers.bias import parse_rule
from initbench.measure.probe import PROBE_SAMPLES
from initbench.sharing import Scheme
from initbench.theory.moments import jacobian_square_scatter

WRAPPERS = ("per_layer", "edited", "zero_head", "literal")  # other laws by layer or entry than their contract states
GROUPS = 16  # lengths of the probe's samples are grouped so many ways


@dataclass(frozen=True)
class WeightLaw:
    """Independent entries of mean 0 (or an orthogonal matrix), and an independent bias of mean 0."""

    variance: float  # of a weight
    bias_variance: float
    orthogonal: bool = False


def weight_laws(arm: ArmConfig, layers: Sequence[LayerSpec], scheme: Scheme) -> list[WeightLaw] | None:
    """The law of each layer's weight, or None: shared, sparse, structured, data-dependent, or not of the catalogue.

    From the contract that stands beside each initializer of the catalogue.
    """
    if arm.model.name != "mlp" or arm.model.parametrization != "standard":
        return None
    if any(len(slot.layers) > 1 for slot in scheme.slots) or len(scheme.weights) != len(layers):
        return None
    laws = [weight_law(arm, layer) for layer in layers]
    return [law for law in laws if law is not None] if all(laws) else None


def weight_law(arm: ArmConfig, layer: LayerSpec) -> WeightLaw | None:
    """The law of one layer's weight and bias, or None."""
    function = resolve(arm.init.target)
    entry = next((e for e in REGISTRY.values() if e.function is function), None)
    if entry is None or entry.name in WRAPPERS or needs(function) != "nothing":
        return None
    contract = entry.contract
    case = Case(layer, {**options(function), **arm.init.args})
    haar = contract.independent == "one" and contract.isometry is not None
    if contract.law is None or not (contract.independent == "all" or haar) or contract.deterministic:
        return None
    if contract.zeros or contract.zero_share or not contract.moments:
        return None
    try:
        law = contract.law(case)
        bias = _bias_variance(arm, layer, contract, case)
    except (KeyError, ValueError, InputError, NotApplicable):
        return None
    if law is None or bias is None or not math.isfinite(law.var()) or abs(law.mean()) > 1e-12:
        return None
    return WeightLaw(float(law.var()), bias, haar)


def _bias_variance(arm: ArmConfig, layer: LayerSpec, contract: Any, case: Case) -> float | None:
    if not arm.model.bias:
        return 0.0
    if contract.fills_bias:
        law = contract.bias_law(case) if contract.bias_law else None
        if law is None:
            # a contract with a bias law that is None here promises zeros (edge_of_chaos of relu)
            return 0.0 if contract.bias_law else None
        return float(law.var()) if abs(law.mean()) < 1e-12 else None
    return rule_variance(arm.init.bias, layer)


def rule_variance(rule: Any, layer: LayerSpec) -> float | None:
    """Variance of a bias rule of mean 0, else None.

    >>> rule_variance("torch", LayerSpec(0, 1, fan_in=3, fan_out=4)), rule_variance(0.1, LayerSpec(0, 1, 3, 4))
    (0.1111111111111111, None)
    """
    function, args = parse_rule(rule)
    name = function.__name__.strip("_")
    if name == "zeros" or (name == "constant" and args.get("value", 0.0) == 0):
        return 0.0
    if name == "torch":
        return 1 / (3 * layer.fan_in)
    if name == "normal" and args.get("mean", 0.0) == 0:
        return float(args.get("std", 1e-6)) ** 2
    if name == "uniform":
        low, high = args.get("a", -0.05), args.get("b", 0.05)
        return (high - low) ** 2 / 12 if low == -high else None
    return None


def probe_squares(data: Dataset, seed: int) -> np.ndarray:
    """|x|^2 of the standardized probe samples of a seed's split, (P,)."""
    s = split(data, seed)
    x = (data.x[s.train[:PROBE_SAMPLES]] - s.mean) / s.scale
    return np.square(x).sum(1)


def predictions(
    arm: ArmConfig, layers: Sequence[LayerSpec], scheme: Scheme, data: Dataset
) -> dict[str, list[float | None]] | None:
    """Expected signals of each layer at step 0, by metric; None where no theory holds for the arm.

    `preactivation_msq`, `activation_msq`, `activation_mean` (depth + 1 numbers), `backward_factor` (depth numbers: mean
    square of the loss's gradient by z_l over that by z_{l+1}), `jacobian_sv_mean_square` and `jacobian_sv_square_var`
    (depth numbers, of layers 1 .. depth). Mean field, averaged over the lengths of the probe's samples.
    """
    laws = weight_laws(arm, layers, scheme)
    if laws is None:
        return None
    squares = np.sort(probe_squares(data, arm.seeds[0]))
    parts = np.array_split(squares, min(GROUPS, len(squares)))
    groups, shares = [float(part.mean()) for part in parts], [len(part) / len(squares) for part in parts]
    paths = [path(arm.model.activation, layers, laws, square) for square in groups]

    def averaged(name: str) -> list[float | None]:
        return [float(np.dot(shares, column)) for column in zip(*(one[name] for one in paths))]

    found = {name: averaged(name) for name in paths[0]}
    return {**found, "jacobian_sv_square_var": _scatter(arm, layers, laws, found["preactivation_msq"])}


def path(
    name: str, layers: Sequence[LayerSpec], laws: Sequence[WeightLaw], square: float
) -> Mapping[str, Sequence[float]]:
    """Signals of a sample with |x|^2 = square through the layers."""
    phi, slope = activation(name)
    q = laws[0].variance * square + laws[0].bias_variance
    out: dict[str, list[float]] = {
        "preactivation_msq": [q],
        "activation_msq": [],
        "activation_mean": [],
        "backward_factor": [],
        "jacobian_sv_mean_square": [],
    }
    frobenius = width = float(layers[0].fan_out)  # of J = 1
    for layer, law in zip(layers[1:], laws[1:]):
        q = out["preactivation_msq"][-1]
        energy = gaussian_mean(lambda u: phi(u) ** 2, variance=q)
        steepness = gaussian_mean(lambda u: slope(u) ** 2, variance=q)
        out["activation_msq"].append(energy)
        out["activation_mean"].append(gaussian_mean(phi, variance=q))
        out["backward_factor"].append(layer.fan_out * law.variance * steepness)
        frobenius *= layer.fan_out * law.variance * steepness
        out["jacobian_sv_mean_square"].append(frobenius / min(layer.fan_out, width))
        out["preactivation_msq"].append(layer.fan_in * law.variance * energy + law.bias_variance)
    out["activation_msq"].append(out["preactivation_msq"][-1])  # the output layer is linear
    out["activation_mean"].append(0.0)
    return out


def _scatter(
    arm: ArmConfig, layers: Sequence[LayerSpec], laws: Sequence[WeightLaw], qs: Sequence[float | None]
) -> list[float | None]:
    """Scatter of the Jacobian's squared singular values, for layers as wide as the first and of one kind of law."""
    out: list[float | None] = []
    kinds = {law.orthogonal for law in laws[1:]}
    for k in range(1, len(layers)):
        square = all(layer.fan_out == layers[0].fan_out for layer in layers[1 : k + 1])
        known = [q for q in qs[:k] if q is not None]
        if square and len(kinds) == 1 and len(known) == k and min(known) > 0:
            out.append(jacobian_square_scatter(arm.model.activation, known, kinds == {True}))
        else:
            out.append(None)
    return out
