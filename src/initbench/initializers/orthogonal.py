"""Orthogonal matrices and their relatives: what keeps lengths, or nearly."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal
from initbench.initializers._draw import fans, gaussian, put_, signs
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import gain_value
from initbench.initializers.laws import sphere_entry
from initbench.initializers.registry import catalogued
from initbench.startup.late import linalg

Generator = torch.Generator | None


@catalogued(
    formula="W = gain Q, Q uniform among the (semi-)orthogonal matrices",
    source="Saxe et al. 2013; torch, keras",
    meant_for="deep linear and tanh nets: learning time that does not grow with depth",
    contract=Contract(
        "W^T W = gain^2 I (or W W^T); each entry like a coordinate of a uniform point on the sphere (Haar)",
        isometry=lambda c: c.gain(),
        law=lambda c: sphere_entry(max(c.n, c.m), c.gain()),
        independent="one",
        variants=({"gain": 2.0}, {"gain": "auto"}),
    ),
)
def orthogonal_(
    weight: Tensor, *, generator: Generator = None, layer: LayerSpec | None = None, gain: float | str = 1.0
) -> Tensor:
    """Uniform (Haar) semi-orthogonal matrix times gain, shape (fan_out, fan_in).

    Q of the QR of a Gaussian, columns times sign(diag R): W^T W = gain^2 I if m >= n, else W W^T = gain^2 I.
    Source: Saxe et al. 2013. Same numbers as torch.nn.init.orthogonal_ from the same generator.

    >>> w = orthogonal_(torch.empty(2, 2))
    >>> torch.allclose(w @ w.T, torch.eye(2), atol=1e-6)
    True
    """
    with torch.no_grad():
        return torch_init.orthogonal_(weight, gain_value(gain, layer), generator=generator)


def _scaled_isometry(promise: str, factor) -> Contract:
    return Contract(
        promise,
        isometry=factor,
        law=lambda c: sphere_entry(max(c.n, c.m), factor(c)),
        independent="one",
    )


@catalogued(
    formula="W = U (m >= n) or V^T (m < n) of the SVD U S V^T of a Gaussian matrix",
    source="Lasagne Orthogonal; ducha-aiki/LSUV-pytorch svd_orthonormal",
    meant_for="what lsuv starts from; the isometry of orthogonal, by another factorization",
    contract=Contract("W^T W = I (or W W^T)", isometry=lambda c: 1.0),
)
def orthogonal_svd_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Semi-orthogonal factor of the SVD of a Gaussian matrix, shape (fan_out, fan_in).

    G = U S V^T, G_ij ~ N(0, 1); W = U if m >= n, else V^T. Signs are LAPACK's, so the law need not be Haar; that of
    `orthogonal_` is. Source: Lasagne; LSUV-pytorch.

    >>> w = orthogonal_svd_(torch.empty(2, 2))
    >>> torch.allclose(w @ w.T, torch.eye(2), atol=1e-6)
    True
    """
    n, m = fans(weight)
    u, _, vh = torch.linalg.svd(gaussian(weight, generator=generator), full_matrices=False)
    return put_(weight, u if m >= n else vh)


@catalogued(
    formula="W = max(1, sqrt(m/n)) Q, Q orthogonal",
    source="google-deepmind/dks (2110.01765)",
    meant_for="tanh-like nets: the mean square of a layer is kept whether it widens or narrows",
    contract=_scaled_isometry("isometry times max(1, sqrt(m/n))", lambda c: math.sqrt(c.m / c.n) if c.m > c.n else 1.0),
)
def suo_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Scaled uniform orthogonal: orthogonal times max(1, sqrt(m/n)), shape (fan_out, fan_in); bias 0.

    Keeps q = |x|^2 / width (in expectation where the layer narrows).
    Source: google-deepmind/dks, 2110.01765.

    >>> w = suo_(torch.empty(8, 2))
    >>> torch.allclose(w.T @ w, 4 * torch.eye(2), atol=1e-5)
    True
    """
    n, m = fans(weight)
    return orthogonal_(weight, generator=generator, gain=max(1.0, math.sqrt(m / n)))


@catalogued(
    formula="W = sqrt(m/n) Q, Q orthogonal",
    source="jxbz/modula",
    meant_for="RMS-to-RMS operator norm 1, the scale of spectral parametrizations",
    contract=_scaled_isometry("isometry times sqrt(m/n)", lambda c: (c.m / c.n) ** 0.5),
)
def orthogonal_spectral_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Orthogonal times sqrt(m/n): RMS-to-RMS operator norm 1, shape (fan_out, fan_in).

    Source: jxbz/modula, modula/atom.py (there the factor sits in the forward pass).

    >>> round(float(torch.linalg.matrix_norm(orthogonal_spectral_(torch.empty(2, 8)), 2)), 5)
    0.5
    """
    n, m = fans(weight)
    return orthogonal_(weight, generator=generator, gain=math.sqrt(m / n))


@catalogued(
    formula="W = sqrt(2/L) Q, L = hidden layers",
    source="EleutherAI/gpt-neox",
    meant_for="residual branches; in a plain deep net the signal shrinks",
    contract=_scaled_isometry("isometry times sqrt(2/L)", lambda c: (2 / c.layer.depth) ** 0.5),
)
def scaled_orthogonal_(weight: Tensor, *, layer: LayerSpec, generator: Generator = None) -> Tensor:
    """Orthogonal with gain sqrt(2/L), L = number of hidden layers, shape (fan_out, fan_in).

    Source: EleutherAI/gpt-neox, megatron/model/init_functions.py. Made for residual branches.

    >>> w = scaled_orthogonal_(torch.empty(2, 2), layer=LayerSpec(1, 8, 2, 2))
    >>> torch.allclose(w @ w.T, torch.eye(2) / 4, atol=1e-6)
    True
    """
    if layer.depth < 1:
        raise inapplicable(
            "init=scaled_orthogonal",
            "a net without hidden layers has no depth to divide by",
            "use a net with hidden layers",
        )
    return orthogonal_(weight, generator=generator, gain=math.sqrt(2 / layer.depth))


@catalogued(
    formula="orthogonal, each row standardized (mean 0, unbiased variance 1), times n^-1/2",
    source="GemNet, fairchem",
    meant_for="SiLU-like nets of chemistry; row variance 1/n without a ReLU's sqrt 2",
    contract=Contract(
        "every row has mean 0 and unbiased variance 1/n; not orthogonal any more",
        checks={"row means 0, row variances 1/n": lambda c, w, b: _standard_rows(w, 1 / c.n)},
        refuses=lambda c: "fan_in of at least 2" if c.n == 1 else None,
        mean_square=lambda c: (c.n - 1) / c.n**2,
        tolerance=1e-3,
    ),
)
def he_orthogonal_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Orthogonal, then each row standardized, times n^-1/2; shape (fan_out, fan_in), n >= 2.

    W_i <- (W_i - mean_i) / sqrt(var_i + 1e-6) / sqrt n, var unbiased. Not orthogonal any more.
    Source: GemNet and fairchem initializers. Raises NotApplicable for fan_in 1, where a row has no variance.

    >>> w = he_orthogonal_(torch.empty(5, 40))
    >>> torch.allclose(w.var(1) * 40, torch.ones(5), atol=1e-3)
    True
    """
    n, _ = fans(weight)
    if n < 2:
        raise inapplicable(
            "init=he_orthogonal", f"it needs a fan_in of at least 2 to standardize rows, got {n}", "use wider layers"
        )
    q = orthogonal_(torch.empty_like(weight), generator=generator).double()
    var, mean = torch.var_mean(q, dim=1, keepdim=True)
    return put_(weight, (q - mean) / (var + 1e-6).sqrt() / math.sqrt(n))


def _standard_rows(w: Tensor, variance: float) -> bool:
    # the guard 1e-6 under the root takes up to n 1e-6 of a row's variance, more of an unlucky short row
    good = (w.var(1) / variance - 1).abs() < 5e-3
    return bool((w.mean(1).abs() < 1e-6).all() and (w.shape[1] < 4 or good.double().mean() > 0.9))


@catalogued(
    formula="orthogonal times sqrt(scale/((n+m) var W)), var unbiased over all entries",
    source="DimeNet, PyTorch Geometric",
    meant_for="Glorot's variance exactly, in every draw",
    contract=Contract(
        "the unbiased variance of the entries is exactly scale/(n+m)",
        checks={
            "var W = scale/(n+m)": lambda c, w, b: math.isclose(float(w.var()), c["scale"] / (c.n + c.m), rel_tol=1e-5),
            "W is a multiple of an isometry": lambda c, w, b: _is_isometry(w, float(w.norm()) ** 2 / min(w.shape)),
        },
        refuses=lambda c: "at least 2 entries" if c.n * c.m == 1 else None,
        variants=({"scale": 1.0},),
    ),
)
def glorot_orthogonal_(weight: Tensor, *, generator: Generator = None, scale: float = 2.0) -> Tensor:
    """Orthogonal, rescaled so that the empirical variance of its entries is scale/(n+m); (fan_out, fan_in).

    W <- W sqrt(scale / ((n+m) var W)), var unbiased over all entries.
    Source: DimeNet and PyTorch Geometric. Raises NotApplicable for a single weight, which has no variance.

    >>> round(float(glorot_orthogonal_(torch.empty(6, 10)).var()), 5)
    0.125
    """
    n, m = fans(weight)
    if n * m < 2:
        raise inapplicable(
            "init=glorot_orthogonal", "it needs at least 2 entries to have a variance, got 1", "use wider layers"
        )
    q = orthogonal_(torch.empty_like(weight), generator=generator)
    return put_(weight, q * (scale / ((n + m) * q.var())).sqrt())


def _is_isometry(w: Tensor, square: float) -> bool:
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    return torch.allclose(gram, square * torch.eye(len(gram), dtype=w.dtype), atol=1e-5 * square)


@catalogued(
    formula="W = cut of prod_k (I - 2 v_k v_k^T/|v_k|^2), v_k Gaussian of size max(m, n)",
    source="derived here",
    meant_for="orthogonal matrices from near the identity (k small) to uniform ones (k large)",
    contract=Contract(
        "an isometry; E trace = min(m,n) (1 - 2/d)^k, d = max(m,n); square: W - I has rank k at most",
        isometry=lambda c: 1.0,
        statistics={
            "trace": (
                lambda c, w, b: float(w.trace()),
                lambda c: min(c.n, c.m) * (1 - 2 / max(c.n, c.m)) ** c["k"],
            )
        },
        checks={
            "rank(W - I) <= k if square": lambda c, w, b: (
                c.n != c.m or int(torch.linalg.matrix_rank(w - torch.eye(c.n, dtype=w.dtype), atol=1e-4)) <= c["k"]
            )
        },
        variants=({"k": 5},),
    ),
)
def householder_(weight: Tensor, *, generator: Generator = None, k: int = 1) -> Tensor:
    """A product of k random reflections of size max(m, n), cut to (fan_out, fan_in): an isometry.

    Q = prod_k (I - 2 v v^T / |v|^2), v ~ N(0, I). Small k stays near the identity. Source: derived here.

    >>> w = householder_(torch.empty(4, 4), k=3)
    >>> torch.allclose(w @ w.T, torch.eye(4), atol=1e-5)
    True
    """
    if k < 0:
        raise refusal(f"init.k={k}", "not allowed", "must be a whole number, 0 or more")
    n, m = fans(weight)
    q = torch.eye(max(n, m), dtype=weight.dtype, device=weight.device)
    for _ in range(k):
        v = gaussian(weight, max(n, m), generator=generator)
        q = q - torch.outer(q @ v, v) * (2 / (v @ v))
    return put_(weight, q[:m, :n])


def sylvester(size: int) -> Tensor:
    """The Sylvester Hadamard matrix of the next power of two, `(p, p)` entries +-1: H_2p = [[H, H], [H, -H]].

    >>> sylvester(2)
    tensor([[ 1.,  1.],
            [ 1., -1.]], dtype=torch.float64)
    """
    matrix = torch.ones(1, 1, dtype=torch.float64)
    step = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.kron(step, matrix)
    return matrix


def _power(size: int) -> int:
    return 2 ** math.ceil(math.log2(size))


def _signed_hadamard(c: Case, w: Tensor) -> bool:
    p = _power(max(c.n, c.m))
    expected = linalg.hadamard(p)[: c.m, : c.n] / np.sqrt(p)
    return np.allclose((w * torch.sign(w[0])).numpy(), expected, rtol=1e-6)  # the first row of H is all ones


@catalogued(
    formula="W = first m rows, n columns of H_p D / sqrt p, D random signs, p = next power of two",
    source="derived here (randomized Hadamard transform)",
    meant_for="an orthogonal matrix of equal entry sizes from n random bits",
    contract=Contract(
        "|W_ij| = p^-1/2; Hadamard up to the signs of columns; an isometry if max(m,n) is a power of two",
        checks={"Hadamard times column signs": lambda c, w, b: _signed_hadamard(c, w)},
        isometry=lambda c: 1.0 if _power(max(c.n, c.m)) == max(c.n, c.m) else None,
        mean=lambda c: 0.0,
    ),
)
def hadamard_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Randomized Hadamard matrix, cut to (fan_out, fan_in): W = H_p D / sqrt p with random column signs D.

    p = 2^ceil(log2 max(m, n)). An isometry if max(m, n) = p. Source: derived here.

    >>> hadamard_(torch.empty(2, 2)).abs()
    tensor([[0.7071, 0.7071],
            [0.7071, 0.7071]])
    """
    n, m = fans(weight)
    h = sylvester(max(n, m)).to(weight)
    return put_(weight, h[:m, :n] * signs(weight, n, generator=generator) / math.sqrt(len(h)))
