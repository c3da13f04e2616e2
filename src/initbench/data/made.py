"""Data from a formula: a random teacher net, a linear map with known modes, points of set length and correlation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from initbench import rng
from initbench.config.checks import check_choice, check_number, check_whole
from initbench.data.dataset import Dataset
from initbench.errors import refusal, shown
from initbench.memory import check_fits


def teacher(
    samples: int = 2000,
    inputs: int = 20,
    outputs: int = 1,
    depth: int = 2,
    width: int = 32,
    classes: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Targets of a random tanh net: y = teacher(x) + noise N(0, 1), x ~ N(0, 1); `classes`: argmax instead.

    >>> teacher(samples=10).y.shape, teacher(samples=50, classes=3).classes
    ((10, 1), 3)
    """
    sizes = {"samples": samples, "inputs": inputs, "outputs": outputs, "depth": depth, "width": width}
    for name, value in sizes.items():
        check_whole(f"data.{name}", value, low=5 if name == "samples" else 1)
    if classes is not None:
        check_whole("data.classes", classes, low=2, note=" or null for regression")
    check_number("data.noise", noise, low=0.0)
    widest = max(inputs, width, classes or outputs)
    check_size(sizes, 3 * samples * widest + 2 * width * widest)
    draw = rng.numpy_stream(seed, "teacher")
    x = draw.standard_normal((samples, inputs))
    h = x
    for _ in range(depth):
        # gain 1.5 keeps the tanh units away from the linear regime, so that the teacher is not a linear map
        h = np.tanh(h @ draw.standard_normal((h.shape[1], width)) * 1.5 / np.sqrt(h.shape[1]))
    y = h @ draw.standard_normal((width, classes or outputs)) / np.sqrt(width)
    y = y + noise * draw.standard_normal(y.shape)
    return Dataset(x, y.argmax(axis=1) if classes else y)


def linear(
    modes: Sequence[float] = (4.0, 2.0, 1.0, 0.5),
    samples: int = 256,
    inputs: int = 16,
    outputs: int = 8,
    noise: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Whitened inputs and targets of a linear map with known singular modes: y = U diag(s) V^T x + noise N(0, 1).

    On the training part (the first 80%, for every seed) exactly X^T 1 = 0, X^T X / N = I, so without noise
    Y^T X / N = U diag(s) V^T: `modes` are the singular values s of the input-output correlation (Saxe et al. 2013),
    the others are 0. The other 20% are whitened too. Used as they are, not standardized. U and V are uniform among
    matrices of orthonormal columns, their signs too: with one input and one output the map is s or -s by the seed of the
    data, and how soon a net that starts at positive weights learns it depends on which.

    >>> found = [linear(modes=1.0, samples=50, inputs=1, outputs=1, seed=seed) for seed in (0, 2)]
    >>> [round(float((d.x * d.y)[d.train].mean()), 9) for d in found]
    [-1.0, 1.0]

    >>> d = linear(modes=(3.0, 2.0), samples=50, inputs=4, outputs=3)
    >>> x, y = d.x[d.train], d.y[d.train]
    >>> np.linalg.svd(y.T @ x / len(x), compute_uv=False).round(9)
    array([3., 2., 0.])
    """
    sizes = {"samples": samples, "inputs": inputs, "outputs": outputs}
    for name, value in sizes.items():
        check_whole(f"data.{name}", value, low=1)
    check_size(sizes, 4 * samples * (inputs + outputs))
    s = [modes] if isinstance(modes, (int, float)) and not isinstance(modes, bool) else list(modes)
    for mode in s:
        check_number("data.modes", mode, low=0.0, note=" or a list of them, e.g. [4,2,1]")
    if not 1 <= len(s) <= min(inputs, outputs):
        raise refusal(
            f"data.modes={shown(s)}",
            f"{len(s)} modes for data.inputs={inputs} and data.outputs={outputs}",
            f"list 1 to {min(inputs, outputs)} modes",
        )
    check_number("data.noise", noise, low=0.0)
    validation = samples // 5
    if validation < inputs + 1:
        raise refusal(
            f"data.samples={samples}",
            f"too few to whiten {inputs} inputs in the 20% for validation",
            f"must be at least {5 * (inputs + 1)}",
        )
    draw = rng.numpy_stream(seed, "linear")
    x = np.concatenate([whitened(draw, samples - validation, inputs), whitened(draw, validation, inputs)])
    u, v = orthonormal(draw, outputs, len(s)), orthonormal(draw, inputs, len(s))
    y = x @ v @ np.diag(s) @ u.T
    y = y + noise * draw.standard_normal(y.shape)
    return Dataset(x, y, train=np.arange(samples - validation), standardized=False)


def check_size(sizes: Mapping[str, int], numbers: int) -> None:
    """Refuse, before anything is drawn, more numbers than the memory holds."""
    check_fits(" ".join(f"data.{name}={value}" for name, value in sizes.items()), 8 * numbers, "make them smaller")


def whitened(draw: np.random.Generator, samples: int, inputs: int) -> np.ndarray:
    """(samples, inputs) with column means 0 and X^T X / samples = I, up to rounding."""
    x = draw.standard_normal((samples, inputs))
    return np.linalg.qr(x - x.mean(0))[0] * np.sqrt(samples)


def orthonormal(draw: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) with orthonormal columns, uniformly distributed."""
    q, r = np.linalg.qr(draw.standard_normal((rows, columns)))
    return q * np.sign(np.diag(r))


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "identity": lambda x: x,
    "square": np.square,
    "sin": np.sin,
}


def points(
    samples: int = 256,
    inputs: int = 1,
    length: float = 1.0,
    correlation: float | None = None,
    function: str = "abs",
    seed: int = 0,
) -> Dataset:
    """Points of a set length, and y = f(x) elementwise. Used as they are, not standardized.

    `length` is the mean square |x|^2 / n. One input: x ~ U(-sqrt(3 length), sqrt(3 length)), so that it holds on
    average. More: each |x_i|^2 / n = length exactly, directions uniform. With a `correlation` c every PAIR of points
    has x_i . x_j / n = c length exactly; needs inputs >= samples and c >= -1 / (samples - 1).

    >>> x = points(samples=5, inputs=8, length=2.0, correlation=0.25).x
    >>> (x @ x.T / 8).round(9)[0]
    array([2. , 0.5, 0.5, 0.5, 0.5])
    """
    check_whole("data.samples", samples, low=5)
    check_whole("data.inputs", inputs, low=1)
    check_number("data.length", length, above=0.0)
    check_choice("data.function", function, tuple(FUNCTIONS))
    pairs = samples**2 if correlation is not None and inputs >= samples else 0
    check_size({"samples": samples, "inputs": inputs}, 4 * (samples * inputs + pairs))
    draw = rng.numpy_stream(seed, "points")
    if correlation is not None:
        check_number("data.correlation", correlation)
        if not -1 / (samples - 1) <= correlation <= 1:
            raise refusal(
                f"data.correlation={correlation}",
                f"{samples} points cannot all have it in pairs",
                f"must be {-1 / (samples - 1):.4g} to 1, or null for independent points",
            )
        if inputs < samples:
            raise refusal(
                f"data.inputs={inputs}",
                f"too few for {samples} points with one correlation for every pair",
                f"must be at least {samples}",
            )
        # the root a I + b 1 1^T of the Gram matrix, not its eigenvectors: of equal eigenvalues each processor gives others
        a, all_alike = np.sqrt(1 - correlation), np.sqrt(max(1 + (samples - 1) * correlation, 0.0))
        directions = orthonormal(draw, inputs, samples).T
        x = a * directions + (all_alike - a) * directions.mean(0)
        x *= np.sqrt(inputs * length)
    elif inputs == 1:
        x = draw.uniform(-1.0, 1.0, (samples, 1)) * np.sqrt(3 * length)
    else:
        x = draw.standard_normal((samples, inputs))
        x *= np.sqrt(inputs * length) / np.linalg.norm(x, axis=1, keepdims=True)
    return Dataset(x, FUNCTIONS[function](x), standardized=False)
