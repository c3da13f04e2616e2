"""Does an initializer keep its contract? Draws of it at one case against every statement of the contract.

Random statements are interval tests at fixed seeds: a mean over K independent matrices against its expectation by a t
statistic over the matrices (so entries may depend on each other), a law by Kolmogorov-Smirnov. LEVEL is so small that a
true statement practically never fails, while a 5% error of a constant does.
"""

import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.config.groups import LayerSpec
from initbench.errors import InputError, NotApplicable, refusal
from initbench.initializers.calling import call_, options
from initbench.initializers.contract import Case, Contract
from initbench.initializers.registry import Entry
from initbench.startup.late import stats

LEVEL = 1e-6
ENTRIES = 10000  # drawn a case: the mean square of 10,000 normal draws is known to 1.4%, a 5% error of the scale is 10%
MATRICES = 400  # at most, where matrices are small
DEPTH = 5
# (fan_out, fan_in): square, wide, tall, odd, m = 2n, one unit, one input, narrow, a single weight
SHAPES = ((32, 32), (20, 48), (48, 20), (33, 17), (17, 33), (64, 32), (1, 20), (20, 1), (6, 2), (1, 1))
FEW_SHAPES = ((32, 32), (20, 48), (20, 1))
INDEX = {"first": 0, "hidden": 2, "last": DEPTH}

Function = Callable[..., Any]


def case(
    shape: tuple[int, int],
    args: Mapping[str, Any],
    *,
    position: str = "hidden",
    activation: str = "relu",
) -> Case:
    """A case at a shape (fan_out, fan_in), at a place in a net of DEPTH hidden layers.

    >>> case((2, 3), {}, position="last").layer.last
    True
    """
    m, n = shape
    return Case(LayerSpec(INDEX[position], DEPTH, n, m, activation), args)


def cases(function: Function, contract: Contract, shapes: tuple = SHAPES) -> Iterator[Case]:
    """All cases a contract is tested at: defaults at every shape and place; variants and other nets at a few shapes.

    >>> from initbench.initializers.registry import REGISTRY
    >>> entry = REGISTRY["zeros"]
    >>> len(list(cases(entry.function, entry.contract)))
    10
    """
    defaults = options(function)
    few = tuple(shape for shape in FEW_SHAPES if shape in shapes) or shapes[:1]
    for position in contract.positions:
        for shape in shapes:
            yield case(shape, defaults, position=position, activation=contract.activations[0])
        for shape in few:
            for variant in contract.variants:
                for activation in contract.activations:
                    yield case(shape, {**defaults, **variant}, position=position, activation=activation)
            for activation in contract.activations[1:]:
                yield case(shape, defaults, position=position, activation=activation)


def draw(
    function: Function, c: Case, seed: int, dtype: torch.dtype, passed: Mapping[str, Any] | None = None
) -> tuple[Tensor, Tensor]:
    """One draw: weight `(fan_out, fan_in)` and bias `(fan_out,)`, whose rule was the constant 1."""
    weight = torch.full(c.layer.shape, math.nan, dtype=dtype)
    bias = torch.ones(c.m, dtype=dtype)
    args = dict(c.args if passed is None else passed)
    returned = call_(function, weight, bias, args=args, layer=c.layer, generator=torch.Generator().manual_seed(seed))
    if returned is not weight:
        raise refusal(
            f"init={function.__name__.removesuffix('_')}",
            "it returned another tensor than the weight it was given",
            "return that weight",
        )
    return weight, bias


def violations(
    function: Function,
    contract: Contract,
    c: Case,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    entries: int = ENTRIES,
    passed: Mapping[str, Any] | None = None,
) -> list[str]:
    """What of the contract does not hold at this case, in words; an empty list if all holds.

    `entries`: how many entries to draw, at least. `passed`: the arguments to call with, where they shall
    differ from those the contract is told (tests of the defaults).

    >>> from initbench.initializers.registry import REGISTRY
    >>> entry = REGISTRY["eye"]
    >>> violations(entry.function, entry.contract, case((3, 2), {}))
    []
    """
    words = contract.refuses(c) if contract.refuses else None
    if words is not None:
        return _refusal(function, c, dtype, words, passed)
    fixed = _is_fixed(contract, c)
    count = 3 if fixed else min(max(MATRICES, entries // 20), max(40, math.ceil(entries / (c.n * c.m))))
    before = _global_states()
    drawn = [draw(function, c, seed + k, dtype, passed) for k in range(count)]
    found = [] if before == _global_states() else ["a global random generator was used"]
    found += _use_of_generator(function, c, seed, dtype, passed, drawn, fixed)
    weights = torch.stack([w for w, _ in drawn]).double()  # (K, fan_out, fan_in)
    biases = torch.stack([b for _, b in drawn]).double()  # (K, fan_out)
    if not (torch.isfinite(weights).all() and torch.isfinite(biases).all()):
        return [*found, "NaN or infinity"]
    if not contract.fills_bias and bool((biases != 1).any()):
        found.append("the bias was changed")
    tolerance = max(contract.tolerance, 1e-9 if dtype == torch.float64 else 2e-5)
    found += _exact(contract, c, weights[:40], biases[:40], tolerance)
    found += _random(contract, c, weights, biases, tolerance)
    return [f"{statement} at {_where(c)}" for statement in found]


def _is_fixed(contract: Contract, c: Case) -> bool:
    """Whether the matrix is the same for every seed in this case: its values are stated, or all are 0."""
    stated = contract.values is not None and contract.values(c) is not None
    nothing = contract.zeros is not None and contract.zeros(c) == c.n * c.m
    return contract.deterministic or stated or nothing


def check(
    entry: Entry,
    *,
    dtype: torch.dtype = torch.float64,
    shapes: tuple = SHAPES,
    args: Mapping[str, Any] | None = None,
) -> list[str]:
    """All violations of an entry's contract over its cases; with `args`, only with those arguments.

    >>> from initbench.initializers.registry import REGISTRY
    >>> check(REGISTRY["ones"])
    []
    """
    if args:
        return draw_all(entry.function, entry.contract, args, dtype=dtype, shapes=shapes)
    found = cases(entry.function, entry.contract, shapes)
    return [words for c in found for words in violations(entry.function, entry.contract, c, dtype=dtype)]


def draw_all(
    function: Function,
    contract: Contract,
    args: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float64,
    shapes: tuple = SHAPES,
) -> list[str]:
    """All violations of a contract by a function with these arguments, at every shape and place it speaks of.

    >>> draw_all(torch.nn.init.xavier_normal_, Contract("nothing but to be an initializer"), {"gain": 2.0})
    []
    """
    own = {k: v for k, v in options(function).items() if v is not inspect.Parameter.empty}
    return [
        words
        for position in contract.positions
        for shape in shapes
        for words in violations(
            function,
            contract,
            case(shape, {**own, **args}, position=position, activation=contract.activations[0]),
            dtype=dtype,
        )
    ]


def _where(c: Case) -> str:
    args = ", ".join(f"{k}={v}" for k, v in c.args.items())
    place = "first" if c.layer.first else "last" if c.layer.last else "hidden"
    return f"{c.m} x {c.n}, {place} layer, {c.layer.activation}" + (f" ({args})" if args else "")


def _global_states() -> tuple:
    state: Any = np.random.get_state()
    numpys = (state[0], state[1].tobytes(), *state[2:])
    return random.getstate(), numpys, torch.get_rng_state().numpy().tobytes()


def _refusal(function: Function, c: Case, dtype: torch.dtype, words: str, passed: Any) -> list[str]:
    try:
        draw(function, c, 0, dtype, passed)
    except (NotApplicable, InputError) as error:
        message = str(error)
        good = words in message and "\n" not in message
        return [] if good else [f"refused with '{message}', without '{words}', at {_where(c)}"]
    return [f"did not refuse ('{words}') at {_where(c)}"]


def _use_of_generator(
    function: Function, c: Case, seed: int, dtype: torch.dtype, passed: Any, drawn: list, fixed: bool
) -> list[str]:
    again = draw(function, c, seed, dtype, passed)
    if not all(torch.equal(a, b) for a, b in zip(drawn[0], again)):
        return ["the same generator state gave other numbers"]
    alike = all(torch.equal(drawn[0][0], weight) for weight, _ in drawn[1:])
    if fixed and not alike:
        return ["said to be deterministic, but differs from seed to seed"]
    return ["the generator is not used: every seed gives the same weights"] if alike and not fixed else []


# ------------------------------------------------------------ statements about every single draw


def _exact(contract: Contract, c: Case, weights: Tensor, biases: Tensor, tolerance: float) -> list[str]:
    found = []
    values = contract.values(c) if contract.values else None
    if values is not None:
        size = max(1e-300, float(np.abs(values).max()))
        if not np.allclose(weights.numpy(), values, rtol=0, atol=tolerance * size):
            found.append("not the stated matrix")
    zeros = contract.zeros(c) if contract.zeros else None
    if zeros is not None and bool(((weights == 0).sum((1, 2)) != zeros).any()):
        found.append(f"not exactly {zeros} zeros")
    numbers = {
        "isometry": (contract.isometry, _isometry_error),
        "row norm": (contract.row_norm, lambda w, g: (w.norm(dim=2) / g - 1).abs().max()),
        "spectral norm": (
            contract.spectral_norm,
            lambda w, g: (torch.linalg.matrix_norm(w, 2) / g - 1).abs().max(),
        ),
    }
    for name, (stated, error) in numbers.items():
        value = stated(c) if stated else None
        if value is not None and not float(error(weights, value)) <= tolerance:
            found.append(f"{name} is not {value:.6g}")
    rank = contract.rank(c) if contract.rank else None
    if rank is not None and bool((torch.linalg.matrix_rank(weights, rtol=1e-4) != rank).any()):
        found.append(f"rank is not {rank}")
    for words, holds in contract.checks.items():
        if not all(holds(c, w, b) for w, b in zip(weights, biases)):
            found.append(f"not true: {words}")
    return found


def _isometry_error(weights: Tensor, gain: float) -> Tensor:
    small = weights if weights.shape[1] <= weights.shape[2] else weights.transpose(1, 2)
    gram = small @ small.transpose(1, 2) / gain**2
    return (gram - torch.eye(gram.shape[1], dtype=gram.dtype)).abs().max()


# ------------------------------------------------------------ statements about the law of the draws


def _random(contract: Contract, c: Case, weights: Tensor, biases: Tensor, tolerance: float) -> list[str]:
    found = []
    law = contract.law(c) if contract.law else None
    share = _zero_share(contract, c)
    if contract.zero_share is not None:
        zeros = (weights == 0).double().mean((1, 2)).numpy()
        found += _mean_test("share of zeros", zeros, share, tolerance)
    mean, square = _moments(contract, c, law, share)
    if mean is not None:
        scale = math.sqrt(square) if square else 1.0
        found += _mean_test("mean", weights.mean((1, 2)).numpy(), mean, tolerance, scale)
    if square is not None:
        found += _mean_test("mean square", weights.square().mean((1, 2)).numpy(), square, tolerance)
    if law is not None:
        found += _law_test("law of the weights", _sample(weights, contract.independent, share > 0), law)
    bias_law = contract.bias_law(c) if contract.bias_law else None
    if bias_law is not None:
        found += _law_test("law of the bias", biases.flatten().numpy(), bias_law)
        second = float(bias_law.var() + bias_law.mean() ** 2)
        found += _mean_test("mean square of the bias", biases.square().mean(1).numpy(), second, tolerance)
    for words, (number, expectation) in contract.statistics.items():
        expected = expectation(c)
        if expected is not None:
            got = np.array([number(c, w, b) for w, b in zip(weights, biases)])
            found += _mean_test(words, got, expected, tolerance)
    return found


def _zero_share(contract: Contract, c: Case) -> float:
    if contract.zero_share is not None:
        return contract.zero_share(c)
    zeros = contract.zeros(c) if contract.zeros else None
    return 0.0 if zeros is None else zeros / (c.n * c.m)


def _moments(contract: Contract, c: Case, law: Any, share: float) -> tuple[float | None, float | None]:
    """Expected mean and mean square of all entries, zeros included; stated, or those of the law."""
    mean = contract.mean(c) if contract.mean else None
    square = contract.mean_square(c) if contract.mean_square else None
    if law is not None and contract.moments:
        mean = float(law.mean()) * (1 - share) if mean is None else mean
        square = float(law.var() + law.mean() ** 2) * (1 - share) if square is None else square
    return mean, square


def _mean_test(words: str, got: np.ndarray, expected: float, tolerance: float, scale: float | None = None) -> list[str]:
    """Is `expected` inside the t interval of the mean over matrices `(K,)`? A number without spread must be equal."""
    scale = max(abs(expected), 1e-300) if scale is None else scale
    error = float(got.mean()) - expected
    spread = float(got.std(ddof=1)) / math.sqrt(len(got))
    allowed = spread * float(stats.t.isf(LEVEL / 2, len(got) - 1)) + tolerance * scale
    return [] if abs(error) <= allowed else [f"{words} is {got.mean():.6g}, not {expected:.6g}"]


def _sample(weights: Tensor, independent: str, skip_zeros: bool) -> np.ndarray:
    """Entries that are independent draws: all, one random entry of each row, or one of each matrix."""
    count, m, n = weights.shape
    pick = np.random.default_rng(0)  # which entries to look at, fixed
    if independent == "all":
        sample = weights.flatten()
    elif independent == "rows":
        sample = weights.reshape(count * m, n)[torch.arange(count * m), pick.integers(n, size=count * m)]
    else:
        sample = weights.reshape(count, m * n)[torch.arange(count), pick.integers(m * n, size=count)]
    return (sample[sample != 0] if skip_zeros else sample).numpy()


def _law_test(words: str, sample: np.ndarray, law: Any) -> list[str]:
    """Kolmogorov-Smirnov, for laws with atoms too: both distribution functions just below and above each draw."""
    if len(sample) < 20:
        return []
    ordered = np.sort(sample)
    nudge = 1e-6 * math.sqrt(float(law.var()))  # floating point spreads an atom a little
    points = np.concatenate([ordered - nudge, ordered + nudge])
    empirical = np.searchsorted(ordered, points, side="right") / len(ordered)
    distance = float(np.abs(empirical - law.cdf(points)).max())
    p = float(stats.kstwobign.sf(distance * math.sqrt(len(sample))))
    return [] if p > LEVEL else [f"{words} (Kolmogorov-Smirnov distance {distance:.3g}, p = {p:.1g})"]
