"""Theory of one arm: the laws of its weights, and from them what every layer's signals should be at step 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from initbench.config.arm import ArmConfig
from initbench.config.groups import LayerSpec
from initbench.data import Dataset, inputs_of, split
from initbench.errors import InputError, NotApplicable
from initbench.initializers import Case, Contract, Initializer, options
from initbench.initializers.bias import parse_rule
from initbench.initializers.gains import activation, gaussian_nodes
from initbench.initializers.registry import entry_of
from initbench.measure.probe import PROBE_SAMPLES
from initbench.nets.relative import relative_factors
from initbench.sharing import Scheme
from initbench.theory.loss import cross_entropy_at_start
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
    tied = any(len(slot.layers) > 1 or slot.origin != slot.layers[0] for slot in scheme.weights + scheme.biases)
    if tied or scheme.formulas or scheme.bias_formulas or scheme.injections or scheme.own:
        return None
    start = Initializer.of(arm.init.target, arm.init.args, arm.init.bias)
    laws = [weight_law(arm, start, layer) for layer in layers]
    if not all(laws):
        return None
    scales = relative_factors(arm.init.relative, layers)
    return [
        replace(law, variance=law.variance * w**2, bias_variance=law.bias_variance * b**2)
        for law, (w, b) in zip(laws, scales)
        if law is not None
    ]


def weight_law(arm: ArmConfig, start: Initializer, layer: LayerSpec) -> WeightLaw | None:
    """The law of one layer's weight and bias, or None."""
    entry = entry_of(start.function)
    if entry is None or entry.name in WRAPPERS or start.needs != "nothing":
        return None
    contract = entry.contract
    case = Case(layer, {**options(start.function), **start.args})
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


def _bias_variance(arm: ArmConfig, layer: LayerSpec, contract: Contract, case: Case) -> float | None:
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
    return np.square(inputs_of(data, s, s.train[:PROBE_SAMPLES])).sum(1)


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
    by_group, shares = grouped(arm, layers, laws, data)
    found: dict[str, list[float | None]] = {
        name: [float(shares @ np.broadcast_to(column, shares.shape)) for column in columns]
        for name, columns in by_group.items()
    }
    return {**found, "jacobian_sv_square_var": _scatter(arm, layers, laws, found["preactivation_msq"])}


def start_loss(arm: ArmConfig, layers: Sequence[LayerSpec], scheme: Scheme, data: Dataset) -> float | None:
    """Expected cross-entropy at step 0, averaged over the lengths of the probe's samples; None where no theory holds for
    the arm, or it has another loss."""
    laws = weight_laws(arm, layers, scheme)
    if laws is None or data.classes is None or arm.train.loss == "squared_error":
        return None
    by_group, shares = grouped(arm, layers, laws, data)
    qs = np.broadcast_to(by_group["preactivation_msq"][-1], shares.shape)
    return float(shares @ [cross_entropy_at_start(float(q), data.classes) for q in qs])


def grouped(
    arm: ArmConfig, layers: Sequence[LayerSpec], laws: Sequence[WeightLaw], data: Dataset
) -> tuple[Mapping[str, Sequence[np.ndarray]], np.ndarray]:
    """The signals of groups of probe samples of like length, and the share of each group."""
    squares = np.sort(probe_squares(data, arm.seeds[0]))
    parts = np.array_split(squares, min(GROUPS, len(squares)))
    shares = np.array([len(part) / len(squares) for part in parts])
    return path(arm.model.activation, layers, laws, np.array([part.mean() for part in parts])), shares


def path(
    name: str, layers: Sequence[LayerSpec], laws: Sequence[WeightLaw], squares: np.ndarray
) -> Mapping[str, Sequence[np.ndarray]]:
    """Signals of samples with |x|^2 = squares (G,) through the layers: by metric, (G,) a layer."""
    phi, slope = activation(name).phi, activation(name).slope
    z, weights = gaussian_nodes()
    out: dict[str, list[np.ndarray]] = {
        "preactivation_msq": [laws[0].variance * squares + laws[0].bias_variance],
        "activation_msq": [],
        "activation_mean": [],
        "backward_factor": [],
        "jacobian_sv_mean_square": [],
    }
    width = layers[0].fan_out
    frobenius = np.full_like(squares, width)  # of J = 1
    for layer, law in zip(layers[1:], laws[1:]):
        u = np.sqrt(out["preactivation_msq"][-1])[:, None] * z  # (G, nodes)
        h = phi(u)
        energy, growth = h**2 @ weights, layer.fan_out * law.variance * (slope(u) ** 2 @ weights)
        frobenius = frobenius * growth
        out["activation_msq"].append(energy)
        out["activation_mean"].append(np.round(h @ weights, 15))
        out["backward_factor"].append(growth)
        out["jacobian_sv_mean_square"].append(frobenius / min(layer.fan_out, width))
        out["preactivation_msq"].append(layer.fan_in * law.variance * energy + law.bias_variance)
    out["activation_msq"].append(out["preactivation_msq"][-1])  # the output layer is linear
    out["activation_mean"].append(np.zeros_like(squares))
    return out


def _scatter(
    arm: ArmConfig, layers: Sequence[LayerSpec], laws: Sequence[WeightLaw], qs: Sequence[float | None]
) -> list[float | None]:
    """Scatter of the Jacobian's squared singular values, for layers as wide as the first and of one kind of law."""
    kinds = {law.orthogonal for law in laws[1:]}
    total, out = 0.0, list[float | None]()
    for layer, q in zip(layers[1:], qs):
        if layer.fan_out != layers[0].fan_out or len(kinds) != 1 or not q or out[-1:] == [None]:
            out.append(None)
        else:
            total += jacobian_square_scatter(arm.model.activation, [q], kinds == {True})
            out.append(total)
    return out
