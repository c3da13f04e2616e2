"""Matrices with a structure that can be written down: identities, stacked identities, Hadamard, sines."""

import math

import numpy as np
import torch
from torch import Tensor

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable
from initbench.initializers._draw import fans, gaussian, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import gain_value
from initbench.initializers.orthogonal import sylvester
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import MODES, xavier_uniform_
from initbench.startup.late import linalg, stats

Generator = torch.Generator | None


@catalogued(
    formula="W_ij = 1 if i = j else 0",
    source="torch",
    meant_for="deep nets that should start as the identity; partial when the shape changes",
    contract=Contract(
        "the identity, as much as fits",
        deterministic=True,
        values=lambda c: np.eye(c.m, c.n),
        isometry=lambda c: 1.0,
        zeros=lambda c: c.n * c.m - min(c.n, c.m),
    ),
)
def eye_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """The identity, padded with zeros: I_{m,n}, shape (fan_out, fan_in).

    Source: torch.nn.init.eye_.

    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    return put_(weight, torch.eye(*weight.shape, dtype=weight.dtype))


@catalogued(
    formula="hidden: scale I_{m,n}; first and last: N(0, std^2)",
    source="Le et al. 2015 (1504.00941)",
    meant_for="ReLU matrices applied many times (shared layers)",
    note="not confirmed: the law of the other matrices is from memory",
    contract=Contract(
        "hidden: scale times the identity; first and last N(0, std^2)",
        values=lambda c: None if c.layer.first or c.layer.last else c["scale"] * np.eye(c.m, c.n),
        law=lambda c: stats.norm(0, c["std"]) if c.layer.first or c.layer.last else None,
        variants=({"scale": 0.01, "std": 1.0},),
        positions=("first", "hidden", "last"),
    ),
)
def irnn_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    scale: float = 1.0,
    std: float = 0.001,
) -> Tensor:
    """IRNN: hidden matrices scale I_{m,n}, the first and last N(0, std^2); shape (fan_out, fan_in), bias 0.

    Source: Le et al. 2015 (not confirmed: the other matrices' law). For ReLU; .01 I for short-range tasks.

    >>> irnn_(torch.empty(2, 2), scale=0.5)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """
    if layer is not None and (layer.first or layer.last):
        return put_(weight, std * gaussian(weight, generator=generator))
    return put_(weight, scale * torch.eye(*weight.shape, dtype=weight.dtype))


@catalogued(
    formula="W = scale I_{m,n} + N(0, std^2)",
    source="IDSIA/brainstorm Identity",
    meant_for="an identity whose symmetry is broken",
    contract=Contract(
        "off the diagonal N(0, std^2), the diagonal shifted by scale",
        mean=lambda c: c["scale"] * min(c.n, c.m) / (c.n * c.m),
        mean_square=lambda c: c["std"] ** 2 + c["scale"] ** 2 * min(c.n, c.m) / (c.n * c.m),
        statistics={
            "mean of the diagonal": (lambda c, w, b: float(w.diag().mean()), lambda c: c["scale"]),
            "sum of squares off the diagonal": (
                lambda c, w, b: float((w**2).sum() - (w.diag() ** 2).sum()),
                lambda c: c["std"] ** 2 * (c.n * c.m - min(c.n, c.m)),
            ),
        },
        variants=({"scale": 0.5, "std": 0.2},),
    ),
)
def identity_noise_(weight: Tensor, *, generator: Generator = None, scale: float = 1.0, std: float = 0.01) -> Tensor:
    """scale I_{m,n} plus N(0, std^2) on every entry, shape (fan_out, fan_in).

    Source: IDSIA/brainstorm, Identity.

    >>> identity_noise_(torch.empty(2, 2), std=0.0)
    tensor([[1., 0.],
            [0., 1.]])
    """
    eye = torch.eye(*weight.shape, dtype=weight.dtype)
    return put_(weight, scale * eye + std * gaussian(weight, generator=generator))


def _hadamard_cut(c: Case) -> np.ndarray:
    if c.m <= c.n:
        return np.eye(c.m, c.n)
    p = 1 << (c.m - 1).bit_length()
    return linalg.hadamard(p)[: c.m, : c.n] / math.sqrt(p)


@catalogued(
    formula="m <= n: I_{m,n}; m > n: first m rows, n columns of H_p/sqrt p, p = 2^ceil(log2 m)",
    source="ZerO, 2110.12661 (the authors' code; transcriptions of the paper have sqrt 2 more)",
    meant_for="deterministic start of ReLU nets, residual ones above all",
    note="the constant of the paper's Algorithm 1 is not confirmed",
    contract=Contract(
        "deterministic; partial identity, or Hadamard of entries +-p^-1/2 when widening",
        deterministic=True,
        values=_hadamard_cut,
        isometry=lambda c: 1.0 if c.m <= c.n or c.m & (c.m - 1) == 0 else None,
        rank=lambda c: min(c.n, c.m),
    ),
)
def zero_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """ZerO: the partial identity, or where the layer widens a cut Hadamard matrix; (fan_out, fan_in), bias 0.

    m <= n: I_{m,n}. m > n: p = 2^ceil(log2 m), first m rows and n columns of the Sylvester H_p over sqrt p;
    an isometry only if m = p. Source: jiaweizzhao/ZerO-initialization (2110.12661). Not `zeros_`.

    >>> zero_(torch.empty(2, 1))
    tensor([[0.7071],
            [0.7071]])
    """
    n, m = fans(weight)
    if m <= n:
        return eye_(weight)
    h = sylvester(m)
    return put_(weight, h[:m, :n] / math.sqrt(len(h)))


def stacked_identity(m: int, n: int) -> Tensor:
    """IDI_1: ones where i = j modulo n, `(m, n)`: the identity stacked downwards when m > n.

    >>> stacked_identity(3, 2)
    tensor([[1., 0.],
            [0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    rows, columns = torch.arange(m)[:, None], torch.arange(n)
    return ((rows - columns) % n == 0).double()


def _tiled(c: Case) -> np.ndarray:
    return np.tile(np.eye(min(c.m, c.n), c.n), (-(-c.m // c.n), 1))[: c.m]


@catalogued(
    formula="W_ij = tau if i = j (mod n) else 0, plus noise N(0, noise^2)",
    source="IDInit, 2503.04626",
    meant_for="identity start of nets whose width changes; needs momentum to break the symmetry",
    note="not confirmed: Eq. 3 as quoted in reviews; tau per activation is open",
    contract=Contract(
        "the identity stacked downwards, times tau (plus tiny noise)",
        values=lambda c: c["tau"] * _tiled(c) if c["noise"] == 0 else None,
        statistics={
            "noise variance": (
                lambda c, w, b: float(((w - c["tau"] * torch.from_numpy(_tiled(c))) ** 2).mean()),
                lambda c: c["noise"] ** 2,
            )
        },
        variants=({"tau": 0.5}, {"noise": 0.01}),
        rank=lambda c: min(c.n, c.m),  # of full rank: widening, the identity is stacked
        zeros=lambda c: c.m * (c.n - 1) if c["noise"] == 0 else None,
    ),
)
def idinit_(weight: Tensor, *, generator: Generator = None, tau: float = 1.0, noise: float = 0.0) -> Tensor:
    """IDInit: tau on i = j modulo n, the identity stacked downwards when m > n; (fan_out, fan_in), bias 0.

    `noise` > 0 is the "loose" form: N(0, noise^2) added, 1e-6 in the paper. Source: 2503.04626, Eq. 3 (not
    confirmed: as quoted in reviews).

    >>> idinit_(torch.empty(3, 2), tau=0.5)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000],
            [0.5000, 0.0000]])
    """
    n, m = fans(weight)
    values = tau * stacked_identity(m, n)
    if noise:
        values = values + noise * gaussian(weight, generator=generator).to(values)
    return put_(weight, values)


def _branch(c: Case) -> np.ndarray:
    w, eps = c["eps"] * _tiled(c), c["eps"]
    if c.m < c.n:
        rest = np.tile(np.eye(min(c.m, c.n - c.m), c.n - c.m), (-(-c.m // (c.n - c.m)), 1))[: c.m]
        w[:, c.m :] = -eps * rest
    else:
        w[np.arange(c.m), (np.arange(c.m) + 1) % c.n] = -eps
    return w


@catalogued(
    formula="IDI_eps and, of opposite sign, W[:, m:] = IDI_-eps (m < n) or W[i, (i+1) mod n] = -eps",
    source="IDInit, 2503.04626 (IDIZ)",
    meant_for="the last matrix of a residual branch: nearly 0, full rank",
    note="not confirmed: one implementation and reviews",
    contract=Contract(
        "the stated matrix; every row sums to 0 if n > 1",
        deterministic=True,
        values=_branch,
        checks={"rows sum to 0 if n > 1": lambda c, w, b: c.n == 1 or float(w.sum(1).abs().max()) < 1e-12},
        variants=({"eps": 1.0},),
    ),
)
def idinit_branch_(weight: Tensor, *, generator: Generator = None, eps: float = 1e-6) -> Tensor:
    """IDIZ: tiny, rows summing to 0, for the last matrix of a residual branch; shape (fan_out, fan_in).

    W = IDI_eps; if m < n, W[:, m:] = IDI_-eps of shape (m, n-m), else W[i, (i+1) mod n] = -eps.
    Source: IDInit, 2503.04626 (not confirmed).

    >>> idinit_branch_(torch.empty(2, 3), eps=1.0)
    tensor([[ 1.,  0., -1.],
            [ 0.,  1., -1.]])
    """
    n, m = fans(weight)
    values = eps * stacked_identity(m, n)
    if m < n:
        values[:, m:] = -eps * stacked_identity(m, n - m)
    else:
        rows = torch.arange(m)
        values[rows, (rows + 1) % n] = -eps
    return put_(weight, values)


@catalogued(
    formula="W = IDI_1 + N(0, .085^2/N), N = fan_out (or fan_in by mode); last layer xavier_uniform",
    source="Lee et al. 2024 (2410.02242); 1HyunwooLee/Tanh-Init",
    meant_for="tanh, deep and narrow, sizes that vary",
    note="not confirmed: the code divides by fan_out, the paper by fan_in (from memory)",
    contract=Contract(
        "stacked identity plus N(0, std^2/N); the last layer Glorot's uniform",
        mean=lambda c: 0.0 if c.layer.last else float(_tiled(c).mean()),
        mean_square=lambda c: 2 / (c.n + c.m) if c.layer.last else c["std"] ** 2 / _noise_fan(c) + _tiled(c).mean(),
        statistics={
            "noise variance": (
                lambda c, w, b: float(((w - torch.from_numpy(_tiled(c))) ** 2).mean()),
                lambda c: None if c.layer.last else c["std"] ** 2 / _noise_fan(c),
            )
        },
        variants=({"mode": "fan_in"}, {"std": 1.0}),
        positions=("first", "hidden", "last"),
        activations=("tanh",),
    ),
)
def tanh_identity_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    std: float = 0.085,
    mode: str = "fan_out",
) -> Tensor:
    """Stacked identity plus N(0, std^2/N), N = fan_out or fan_in by `mode`; the last layer Glorot; bias 0.

    Source: 1HyunwooLee/Tanh-Init (2410.02242), whose Keras code takes N = fan_out (not confirmed: the paper's
    sigma_z^2/N is fan_in). Shape (fan_out, fan_in).

    >>> tanh_identity_(torch.empty(2, 2), std=0.0)
    tensor([[1., 0.],
            [0., 1.]])
    """
    if layer is not None and layer.last:
        return xavier_uniform_(weight, generator=generator)
    n, m = fans(weight)
    noise = std / math.sqrt(MODES[mode](n, m)) * gaussian(weight, generator=generator)
    return put_(weight, stacked_identity(m, n).to(weight) + noise)


def _noise_fan(c: Case) -> int:
    return c.m if c["mode"] == "fan_out" else c.n


def _sines(c: Case) -> np.ndarray:
    i, j = np.meshgrid(np.arange(1, c.m + 1), np.arange(c.n), indexing="ij")
    w = np.sin(i * (2 * np.pi * j / c.n + 2 * np.pi / c.m))
    fan = c.n if c["mode"] == "fan_in" else c.m
    return c.gain() * w / np.sqrt(fan * np.var(w, ddof=1))


@catalogued(
    formula="W_ij = A sin((i+1)(2 pi j/n + 2 pi/m)), A = gain/sqrt(v fan), v = variance of the sines",
    source="Fernandez-Hernandez et al. 2025 (2505.12909); jmiravet/Sinusoidal-Initialization",
    meant_for="a deterministic start with Glorot-like variance; rank-deficient, and some rows are constant",
    contract=Contract(
        "deterministic sines, sample variance gain^2/fan",
        deterministic=True,
        values=_sines,
        refuses=lambda c: "all sines are 0" if c.n * c.m <= 2 else None,
        checks={
            "unbiased sample variance gain^2/fan": lambda c, w, b: math.isclose(
                float(w.var()), c.gain() ** 2 / (c.n if c["mode"] == "fan_in" else c.m), rel_tol=1e-5
            ),
            # row i is constant where i + 1 is a multiple of n
            "rows sum to 0 but for the constant ones": lambda c, w, b: bool(
                (w.sum(1).abs()[torch.arange(1, c.m + 1) % c.n != 0] < 1e-5).all()
            ),
        },
        variants=({"mode": "fan_out", "gain": 1.0},),
    ),
)
def sinusoidal_(
    weight: Tensor, *, generator: Generator = None, gain: float | str = "relu", mode: str = "fan_in"
) -> Tensor:
    """Deterministic sines, sample variance gain^2/n (or /m by `mode`); shape (fan_out, fan_in), bias 0.

    W_ij = A sin((i+1)(2 pi j/n + 2 pi/m)), 0-based, A = gain/sqrt(v fan), v the unbiased variance of the
    sines.
    Rank-deficient (64 x 64: rank 31), and a row i with i+1 a multiple of n is constant: for m = 2n a dead
    unit.
    Source: 2505.12909. NotApplicable for 1 or 2 weights, whose sines are all 0.

    >>> round(float(sinusoidal_(torch.empty(20, 10), gain=1.0).var() * 10), 5)
    1.0
    """
    n, m = fans(weight)
    i = torch.arange(1, m + 1, dtype=torch.float64)[:, None]
    j = torch.arange(n, dtype=torch.float64)
    sines = torch.sin(i * (2 * math.pi * j / n + 2 * math.pi / m))
    if sines.numel() < 2 or float(sines.var()) < 1e-20:
        raise inapplicable(
            "init=sinusoidal", f"all sines are 0 for a {m} x {n} matrix (fan_out x fan_in)", "use other widths"
        )
    return put_(weight, gain_value(gain) * sines / (sines.var() * MODES[mode](n, m)).sqrt())
