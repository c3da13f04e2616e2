"""Initializers that look at a batch: they run it forward layer by layer and rescale what comes out."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from initbench.config.checks import unknown
from initbench.errors import inapplicable, refusal
from initbench.initializers._draw import put_
from initbench.initializers.contract import Contract, NetDraw
from initbench.initializers.orthogonal import orthogonal_svd_
from initbench.initializers.passes import gradients
from initbench.initializers.registry import catalogued
from initbench.initializers.whole_net import Batch, all_linears, linears, output_of

Generator = torch.Generator | None

NULL = 1e-9  # of the largest mode: below, the data lack it
KINDS = ("elwise", "pca", "zca", "kmeans", "rand")


def _spread(values: Tensor, name: str, index: int) -> Tensor:
    """Standard deviation over all samples `(units,)` or of everything `()`; NotApplicable where it is 0."""
    s = values.std(0, correction=0) if values.ndim > 1 else values.std(correction=0)
    if bool((s < 1e-12).any()):
        raise inapplicable(
            f"init={name}",
            f"layer {index} has a unit of constant pre-activation on the batch",
            "use an initializer that sees no data, e.g. init=kaiming_normal",
        )
    return s


@catalogued(
    formula="orthonormal W, b = 0; then per layer, in forward order: W /= std(pre-activation) until |std - 1| <= tol",
    source="Mishkin & Matas 2016; ducha-aiki/LSUV-pytorch",
    meant_for="any activation: every layer's pre-activation starts at std 1",
    note="not confirmed: whether the paper means std or variance, and its tolerance",
    needs="data",
    contract=Contract(
        "on that batch the std of every layer's pre-activations is within tol of 1; W stays orthogonal up to scale",
        net={
            "every std within tol of 1": lambda d: all(
                abs(float(z.std(correction=0)) - 1) <= d.args["tol"] for z in d.preactivations()
            ),
            "W is a multiple of an isometry": lambda d: all(_is_isometry(part.weight) for part in d.linears),
        },
        variants=({"tol": 0.01}, {"center": True}),
    ),
)
def lsuv_(
    module: nn.Module,
    *,
    batch: Batch,
    generator: Generator = None,
    tol: float = 0.1,
    iterations: int = 10,
    center: bool = False,
) -> nn.Module:
    """Layer-sequential unit variance on one batch, last layer included; gives up after iterations + 1 corrections.

    W orthonormal by SVD, b = 0; s, mu = std and mean of all pre-activations of the layer; while |s - 1| > tol:
    W /= s + 1e-8, and with `center` (the PyTorch code, not the paper) b -= mu/s. The tolerance is on the
    STANDARD DEVIATION. Source: ducha-aiki/LSUV-pytorch LSUV.py; Mishkin & Matas 2016.

    >>> net = lsuv_(nn.Sequential(nn.Linear(3, 5)), batch=(torch.randn(100, 3) * 7, torch.zeros(100)))
    """
    inputs = batch[0]
    for part in linears(module):
        orthogonal_svd_(part.weight, generator=generator)
        if part.bias is not None:
            put_(part.bias, torch.zeros_like(part.bias))
    for index, part in enumerate(linears(module)):
        for _ in range(iterations + 1):
            z = output_of(module, part, inputs)[1].flatten()
            s = _spread(z, "lsuv", index)
            if abs(float(s) - 1) <= tol:
                break
            put_(part.weight, part.weight / (s + 1e-8))
            if center and part.bias is not None:
                put_(part.bias, part.bias - z.mean() / s)
    return module


def _is_isometry(weight: Tensor) -> bool:
    s = torch.linalg.svdvals(weight.detach().double())
    return bool(s.max() / s.min() < 1 + 1e-4)


def standardize_units_(module: nn.Module, part: nn.Linear, inputs: Tensor, shift: float, index: int) -> None:
    """Rescale each unit of one layer to std 1 and mean `shift` of its pre-activation on the batch.

    W_i /= s_i, b_i = -mu_i/s_i + shift, where mu_i, s_i belong to W_i x alone.
    """
    if part.bias is not None:
        put_(part.bias, torch.zeros_like(part.bias))
    z = output_of(module, part, inputs)[1]  # (samples, fan_out)
    s = _spread(z, "standardizing", index)
    put_(part.weight, part.weight / s[:, None])
    if part.bias is not None:
        put_(part.bias, shift - z.mean(0) / s)


def _unit_statistics(d: NetDraw) -> bool:
    shift = d.args.get("beta", 0.0)
    return all(
        bool(((z.std(0, correction=0) - 1).abs() < 1e-4).all() and ((z.mean(0) - shift).abs() < 1e-4).all())
        for z in d.preactivations()
    )


@catalogued(
    formula="W_i = v_i/s_i, b_i = -mu_i/s_i, v ~ N(0, .05^2), mu_i, s_i over the batch, layer by layer",
    source="Salimans & Kingma 2016; TimSalimans/weight_norm",
    meant_for="every unit starts at mean 0, std 1 on the data (weight normalization's g folded into W)",
    needs="data",
    contract=Contract(
        "on that batch every unit's pre-activation has mean 0 and std 1",
        net={"unit means 0, stds 1": _unit_statistics},
    ),
)
def weight_norm_ddi_(module: nn.Module, *, batch: Batch, generator: Generator = None) -> nn.Module:
    """Weight normalization's data-dependent start, as a plain initializer: g folded into W.

    v ~ N(0, .05^2); layer by layer on the already normalized input: W_i = v_i/s_i, b_i = -mu_i/s_i; equal in
    law to `krahenbuhl_` elwise with beta 0. Source: TimSalimans/weight_norm nn.py.

    >>> net = weight_norm_ddi_(nn.Sequential(nn.Linear(3, 5)), batch=(torch.randn(100, 3), torch.zeros(100)))
    """
    for index, part in enumerate(linears(module)):
        with torch.no_grad():
            part.weight.normal_(0, 0.05, generator=generator)
        standardize_units_(module, part, batch[0], 0.0, index)
    return module


@catalogued(
    formula="within a layer: W by kind, then W_i /= s_i, b_i = -mu_i/s_i + beta; between layers (option): equal "
    "relative gradients",
    source="Krahenbuhl et al. 2016; philkr/magic_init",
    meant_for="all units alive and equally strong on the data; with `between` all layers learn at one rate",
    needs="data",
    contract=Contract(
        "on that batch every unit's pre-activation has mean beta and std 1 (before the second phase)",
        net={"unit means beta, stds 1": lambda d: d.args["between"] or _unit_statistics(d)},
        variants=(*({"kind": kind} for kind in KINDS), {"beta": 0.0}, {"between": True}),
    ),
)
def krahenbuhl_(
    module: nn.Module,
    *,
    batch: Batch,
    generator: Generator = None,
    kind: str = "elwise",
    beta: float = 0.1,
    between: bool = False,
    iterations: int = 10,
) -> nn.Module:
    """Data-dependent initialization of Krahenbuhl et al.: unit statistics, then (option) layer rates.

    `kind` of W before its rescale: elwise N(0,1); pca, zca rows of the whitening; rand, kmeans: normalized
    whitened samples or centroids mapped back (as many as there are; further units elwise). Then W_i /= s_i,
    b_i = -mu_i/s_i + beta. `between`: up to `iterations` times, scale W_l by sqrt(r_l/r), r_l the relative
    gradient size for random output gradients. Source: philkr/magic_init. InputError for an unknown kind.

    >>> net = krahenbuhl_(nn.Sequential(nn.Linear(3, 5)), batch=(torch.randn(100, 3), torch.zeros(100)))
    """
    if kind not in KINDS:
        raise unknown("init.kind", kind, KINDS)
    inputs = batch[0]
    for index, part in enumerate(linears(module)):
        fill_directions_(module, part, inputs, kind, generator)
        standardize_units_(module, part, inputs, beta, index)
    if between:
        _equal_rates_(module, inputs, generator, iterations)
    return module


def fill_directions_(module: nn.Module, part: nn.Linear, inputs: Tensor, kind: str, generator: Generator) -> None:
    """W of one layer by kind, from the layer's own inputs; further units, and all of elwise, N(0, 1)."""
    with torch.no_grad():
        part.weight.normal_(generator=generator)
        if kind != "elwise":
            rows = _directions(kind, output_of(module, part, inputs)[0], part.out_features, generator)
            part.weight[: len(rows)] = rows.to(part.weight)


def _directions(kind: str, x: Tensor, units: int, generator: Generator) -> Tensor:
    """Rows of W from the data `(rows <= units, fan_in)`; x is the layer's input `(samples, fan_in)`.

    Directions in which the data do not vary are left out.
    """
    x = x.double()
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))  # ascending
    scale = (values + 1e-3).rsqrt()
    whitening = vectors * scale @ vectors.T
    if kind in ("pca", "zca"):
        rows = (vectors * scale).T.flip(0) if kind == "pca" else whitening
    else:
        white = centred @ whitening
        if len(x) < units:
            raise inapplicable(
                f"rows by {kind}",
                f"it needs at least {units} samples (units of the layer), got {len(x)}",
                "use more samples, or a smaller model.width",
            )
        picked = white[torch.randperm(len(x), generator=generator)[:units]]
        if kind == "kmeans":
            picked = _centroids(white, picked)
        rows = picked / picked.norm(dim=1, keepdim=True).clamp_min(1e-12) @ whitening
    return rows[(centred @ rows.T).std(0, correction=0) > 1e-6][:units]


def _centroids(x: Tensor, centres: Tensor, rounds: int = 10) -> Tensor:
    """Lloyd's algorithm; an empty cluster keeps its centre. x `(samples, d)`, centres `(k, d)`."""
    for _ in range(rounds):
        nearest = torch.cdist(x, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, x)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
    return centres


def _equal_rates_(module: nn.Module, inputs: Tensor, generator: Generator, iterations: int) -> None:
    """Second phase: scale the layers until r = sqrt(mean dW^2 / mean W^2) is the same in all, damping 1/2.

    Target: the geometric mean of r times (output std)^(1/layers). A layer's bias follows its own factor, and how much
    the layer's input has grown.
    """
    parts = linears(module)
    scales = [float(output_of(module, part, inputs)[0].abs().mean()) for part in parts]
    for _ in range(iterations):
        output = module(inputs)
        noise = torch.empty_like(output).normal_(generator=generator)
        grads = torch.autograd.grad((output * noise).sum(), [part.weight for part in parts])
        gradients(module, len(inputs))
        rates = [
            float((g.square().mean() / part.weight.detach().square().mean()).sqrt()) for g, part in zip(grads, parts)
        ]
        if min(rates) <= 0:
            raise inapplicable(
                "init=krahenbuhl_between", "a layer gets no gradient on the batch", "use init=krahenbuhl"
            )
        spread = float(output.detach().std(0, correction=0).mean())
        log_target = (sum(map(math.log, rates)) + math.log(spread)) / len(rates)
        if all(abs(math.log(rate) / log_target - 1) < 0.01 for rate in rates):
            return
        for k, (rate, part) in enumerate(zip(rates, parts)):
            before, scales[k] = scales[k], float(output_of(module, part, inputs)[0].abs().mean())
            factor = math.sqrt(rate / math.exp(log_target))
            put_(part.weight, part.weight * factor)
            if part.bias is not None:
                put_(part.bias, part.bias * (factor * scales[k] / before))


def _white_rows(d: NetDraw) -> bool:
    """Of the first layer: pre-activations without correlation, variances lambda/(lambda + 1e-3)."""
    centred = d.inputs.double() - d.inputs.double().mean(0)
    rows = d.linears[0].weight.detach().double()[: centred.shape[1]]
    found = rows @ (centred.T @ centred / len(centred)) @ rows.T
    values = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).flip(0)[: len(rows)]
    return torch.allclose(found, torch.diag(values / (values + 1e-3)), atol=1e-5)


@catalogued(
    formula="rows of W = eigenvectors of the layer's centred second moments over sqrt(lambda + 1e-3), largest first; b = 0",
    source="Krahenbuhl et al. 2016; philkr/magic_init (before its rescale)",
    meant_for="units that look along the main directions of the data; further units N(0, 1)",
    needs="data",
    contract=Contract(
        "the first layer's units are uncorrelated on the batch, of variance lambda/(lambda + 1e-3)",
        net={"white units": _white_rows, "b = 0": lambda d: not any(bool(part.bias.any()) for part in d.linears)},
    ),
)
def pca_(module: nn.Module, *, batch: Batch, generator: Generator = None) -> nn.Module:
    """Whitening directions of each layer's inputs as rows, layer by layer; bias 0. No rescale: see `krahenbuhl_`.

    W_i = v_i/sqrt(lambda_i + 1e-3) for the largest eigenvalues lambda_i of the centred second-moment matrix; units
    beyond the number of directions are N(0, 1). Source: philkr/magic_init.

    >>> net = pca_(nn.Sequential(nn.Linear(3, 5)), batch=(torch.randn(100, 3), torch.zeros(100)))
    """
    return _by_directions_(module, "pca", batch[0], generator)


def _unit_in_white(d: NetDraw) -> bool:
    """Of the first layer: rows times the square root of (second moments + 1e-3) have norm 1."""
    centred = d.inputs.double() - d.inputs.double().mean(0)
    moments = centred.T @ centred / len(centred) + 1e-3 * torch.eye(centred.shape[1], dtype=torch.float64)
    rows = d.linears[0].weight.detach().double()
    return bool((((rows @ moments) * rows).sum(1) - 1).abs().max() < 1e-5)


@catalogued(
    formula="rows of W = normalized k-means centroids of the layer's whitened inputs, mapped back; b = 0",
    source="Krahenbuhl et al. 2016; philkr/magic_init (before its rescale)",
    meant_for="units that each stand for a cluster of the data",
    needs="data",
    contract=Contract(
        "every row of the first layer is a unit vector of the whitened inputs",
        net={"unit rows": _unit_in_white, "b = 0": lambda d: not any(bool(part.bias.any()) for part in d.linears)},
    ),
)
def kmeans_(module: nn.Module, *, batch: Batch, generator: Generator = None) -> nn.Module:
    """k-means centroids of each layer's whitened inputs as rows, layer by layer; bias 0. No rescale.

    Whitening A = (C + 1e-3)^(-1/2), C the centred second-moment matrix; W_i = A c_i/|c_i|, c_i the centroids (Lloyd,
    10 rounds, started at random samples). NotApplicable with fewer samples than units. Source: philkr/magic_init.

    >>> net = kmeans_(nn.Sequential(nn.Linear(3, 5)), batch=(torch.randn(100, 3), torch.zeros(100)))
    """
    return _by_directions_(module, "kmeans", batch[0], generator)


def _by_directions_(module: nn.Module, kind: str, inputs: Tensor, generator: Generator) -> nn.Module:
    for part in linears(module):
        if part.bias is not None:
            put_(part.bias, torch.zeros_like(part.bias))
        fill_directions_(module, part, inputs, kind, generator)
    return module


def _modes_of_equal_strength(d: NetDraw) -> bool:
    weights = [part.weight.detach().double() for part in d.linears]
    product = torch.linalg.multi_dot(list(reversed(weights))) if len(weights) > 1 else weights[0]
    return bool(((torch.linalg.svdvals(product) / d.args["strength"] - 1).abs() < 1e-3).all())


def _is_balanced(d: NetDraw) -> bool:
    weights = [part.weight.detach().double() for part in d.linears]
    scale = d.args["strength"] ** (2 / len(weights))
    return all(torch.allclose(b.T @ b, a @ a.T, rtol=0, atol=1e-4 * scale) for a, b in pairwise(weights))


@catalogued(
    formula="Y^T X / N = U S V^T; W_l = u0^(1/L) Q_{l+1} Q_l^T, Q_0 = V, Q_L = U, others orthonormal",
    source="Saxe, McClelland & Ganguli 2013",
    meant_for="deep linear nets on whitened inputs: every mode is learned by itself, on a curve known in closed form",
    needs="data",
    contract=Contract(
        "balanced, and the product of all weights is u0 U V^T; modes that the data lack at null_strength, if given",
        net={"balanced": _is_balanced, "all modes at strength": _modes_of_equal_strength},
        variants=({"strength": 0.5}, {"null_strength": 0.0}),
    ),
)
def decoupled_(
    module: nn.Module,
    *,
    batch: Batch,
    generator: Generator = None,
    strength: float = 0.001,
    null_strength: float | None = None,
) -> nn.Module:
    """Decoupled start of a deep linear net: the product of all L weights is `strength` U V^T, with the singular vectors of
    the input-output correlation Y^T X / N = U S V^T of the batch; biases as by their rule.

    W_l = strength^(1/L) Q_{l+1} Q_l^T with Q_0 = V (n, r), Q_L = U (m, r), random orthonormal (width, r) between,
    r = min(n, m). Classes count as one-hot targets. NotApplicable if a hidden width is below r.
    A null mode, s = 0, starts at `strength` too and hardly leaves it: u' = u (0 - u) 2/tau, so 1/u grows by 2t/tau. Its
    singular vectors are whatever the decomposition gives. `null_strength` sets it apart; at 0 it stays at 0.
    Source: Saxe et al. 2013.

    >>> net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    >>> x = torch.randn(20, 3)
    >>> net = decoupled_(net, batch=(x, x[:, :2]), strength=0.25)
    >>> torch.linalg.svdvals(net[1].weight.detach() @ net[0].weight.detach())
    tensor([0.2500, 0.2500])
    """
    if strength <= 0:
        raise refusal(f"init.strength={strength}", "not allowed", "must be a number above 0")
    if null_strength is not None and null_strength < 0:
        raise refusal(f"init.null_strength={null_strength}", "not allowed", "must be a number, 0 or more, or null")
    parts, (x, y) = linears(module), batch
    if len(parts) != len(all_linears(module)):
        raise inapplicable("init=decoupled", "it gives each layer its own matrix", "use sharing=none")
    if not y.is_floating_point():
        y = nn.functional.one_hot(y, parts[-1].out_features)
    u, s, vt = torch.linalg.svd(y.double().reshape(len(x), -1).T @ x.double() / len(x), full_matrices=False)
    rank = u.shape[1]
    narrow = [part.out_features for part in parts[:-1] if part.out_features < rank]
    if narrow:
        raise inapplicable(
            "init=decoupled",
            f"it needs hidden widths of at least min(inputs, outputs)={rank}, got {narrow[0]}",
            f"set model.width={rank} or more",
        )
    between = [
        torch.linalg.qr(torch.randn(part.out_features, rank, dtype=torch.float64, generator=generator))[0]
        for part in parts[:-1]
    ]
    frames = [vt.T, *between, u]
    null = strength if null_strength is None else null_strength
    each = [(null if mode <= NULL * float(s[0]) else strength) ** (1 / len(parts)) for mode in s.tolist()]
    for part, left, right in zip(parts, frames[1:], frames):
        put_(part.weight, torch.tensor(each, dtype=torch.float64) * left @ right.T)
    return module
