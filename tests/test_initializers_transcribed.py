"""The iterative initializers against a second writing of their definitions, from the text, at fixed seeds.

Nothing of the package computes here: nets are lists of (W, b), a forward pass is a loop, slopes of the scales are
central differences, Hessians are whole matrices. Only the order of the draws is taken over, so that numbers agree.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from initbench.config.groups import ModelConfig
from initbench.initializers import Initializer, initialize_net, options, resolve
from initbench.initializers.data_dependent import _equal_rates_
from initbench.initializers.gradient_dependent import gradient_quotient

SIZES = (5, 6, 4, 3)
PHI = {"relu": lambda z: z.clamp_min(0), "tanh": torch.tanh}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, draws):
    return torch.empty(shape, dtype=torch.float64).normal_(generator=draws)


def batch(samples=120, seed=3):
    x = 2 * randn(samples, SIZES[0], draws=generator(seed)) + 0.5
    return x, torch.randint(SIZES[-1], (samples,), generator=generator(seed + 1))


def by_initbench(name, activation, seed=0, bias="zeros", **args):
    kind = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    parts = [part for n, m in pairwise(SIZES) for part in (nn.Linear(n, m).double(), kind())]
    net = nn.Sequential(*parts[:-1])
    layers = ModelConfig(depth=2, width=list(SIZES[1:-1]), activation=activation).layers(SIZES[0], SIZES[-1])
    asked = {"layers": layers, "batch": batch(), "loss": nn.functional.cross_entropy}
    initialize_net(net, Initializer.of(name, args, bias), generator=generator(seed), **asked)
    return [(part.weight.detach(), part.bias.detach()) for part in net if isinstance(part, nn.Linear)]


def same(found, expected, rtol=1e-9):
    for (w, b), (w2, b2) in zip(found, expected, strict=True):
        torch.testing.assert_close(w, w2, rtol=rtol, atol=rtol)
        torch.testing.assert_close(b, b2, rtol=rtol, atol=rtol)


def preactivations(net, x, activation):
    """Pre-activation of each layer, (samples, units)."""
    zs = []
    for w, b in net:
        zs.append((x if not zs else PHI[activation](zs[-1])) @ w.T + b)
    return zs


def inputs_of(net, x, activation, layer):
    return x if layer == 0 else PHI[activation](preactivations(net[:layer], x, activation)[-1])


DEFAULTS = {  # as the definitions state them; what is ours (samples of a batch, floor of metainit) stands apart
    "lsuv": {"tol": 0.1, "iterations": 10, "center": False},
    "krahenbuhl": {"kind": "elwise", "beta": 0.1, "between": False, "iterations": 10},
    "weight_norm_ddi": {},
    "metainit": {"steps": 500, "lr": 0.1, "momentum": 0.9, "eps": 1e-5},
    "gradinit": {"optimizer": "sgd", "lr": 1e-3, "iterations": 390, "eta": 0.1, "gamma": 1.0, "floor": 0.01},
    "nio": {"lr": 0.05, "iterations": 100, "gamma": 5.0, "floor": 0.01, "norm_weight": 0.0},
    "balanced": {"scale": 1.0},
    "decoupled": {"strength": 0.001, "null_strength": None},
    "swim": {"last": "least_squares"},
}
OURS = {
    "metainit": {"base": "kaiming_normal", "samples": 64, "floor": 0.01},
    "gradinit": {"base": "kaiming_normal", "samples": 64},
    "nio": {"base": "kaiming_normal", "samples": 64},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_defaults_are_those_of_the_definition(name):
    assert options(resolve(name)) == {**DEFAULTS[name], **OURS.get(name, {})}


# ------------------------------------------------------------ lsuv


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("tol", "most"), [(0.1, 10), (0.3, 10), (0.5, 10), (1e-3, 10), (1e-12, 2)])
def test_lsuv(activation, center, tol, most):
    """SVD-orthonormal W, b 0; s, mu over ALL pre-activations; while |s - 1| > tol: W *= 1/(s + 1e-8), b -= mu/s."""
    x, draws, net = batch()[0], generator(0), []
    for n, m in pairwise(SIZES):
        u, _, vh = torch.linalg.svd(randn(m, n, draws=draws), full_matrices=False)
        net.append([u if u.shape == (m, n) else vh, torch.zeros(m, dtype=torch.float64)])
    for layer in range(3):
        corrections = 0
        while True:
            z = preactivations(net, x, activation)[layer]
            mu, s = z.mean(), ((z - z.mean()) ** 2).mean().sqrt()
            if abs(s - 1) <= tol or corrections > most:
                break
            net[layer][0] = net[layer][0] / (s + 1e-8)
            if center:
                net[layer][1] = net[layer][1] - mu / s
            corrections += 1
    same(by_initbench("lsuv", activation, tol=tol, center=center, iterations=most), net)


# ------------------------------------------------------------ krahenbuhl, weight normalization


def per_unit(net, layer, x, activation, beta):
    z = preactivations([*net[:layer], (net[layer][0], torch.zeros_like(net[layer][1]))], x, activation)[layer]
    mu, s = z.mean(0), ((z - z.mean(0)) ** 2).mean(0).sqrt()
    net[layer] = [net[layer][0] / s[:, None], -mu / s + beta]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("name", "scale", "beta"), [("krahenbuhl", 1.0, 0.1), ("weight_norm_ddi", 0.05, 0.0)])
def test_unit_statistics(activation, name, scale, beta):
    """Per unit: W_i /= s_i, b_i = -mu_i/s_i + beta; each layer sees the already normalized input."""
    x, draws, net = batch()[0], generator(0), []
    for layer, (n, m) in enumerate(pairwise(SIZES)):
        net.append([scale * randn(m, n, draws=draws), torch.zeros(m, dtype=torch.float64)])
        per_unit(net, layer, x, activation, beta)
    same(by_initbench(name, activation), net)


@pytest.mark.parametrize("kind", ["pca", "zca", "rand"])
def test_krahenbuhl_directions(kind):
    """Rows before the rescale: eigenvectors over sqrt(lambda + 1e-3), largest first; whitening; whitened samples."""
    x, draws, net = batch()[0], generator(0), []
    for layer, (n, m) in enumerate(pairwise(SIZES)):
        w = randn(m, n, draws=draws)
        h = inputs_of(net, x, "tanh", layer)
        centred = h - h.mean(0)
        _, s, vh = torch.linalg.svd(centred / math.sqrt(len(h)), full_matrices=False)  # lambda = s^2, descending
        rows = vh / (s**2 + 1e-3).sqrt()[:, None]
        if kind != "pca":
            rows = vh.T @ rows  # symmetric
        if kind == "rand":
            order = torch.randperm(len(h), generator=draws)[:m]
            white = centred[order] @ rows
            rows = white / white.norm(dim=1, keepdim=True) @ rows
        w[: min(m, len(rows))] = rows[:m]
        net.append([w, torch.zeros(m, dtype=torch.float64)])
        per_unit(net, layer, x, "tanh", 0.1)
    found = by_initbench("krahenbuhl", "tanh", kind=kind)
    if kind == "pca":  # the sign of an eigenvector is free: it goes on through the net, so the first layer alone
        sign = torch.sign((found[0][0] * net[0][0]).sum(1, keepdim=True))
        same(found[:1], [(net[0][0] * sign, 0.1 + (net[0][1] - 0.1) * sign[:, 0])])
    else:
        same(found, net)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_krahenbuhl_between(activation):
    """Up to 10 times: r_l = sqrt(mean dW^2/mean W^2) for random output gradients; target = geometric mean of r times
    (output std)^(1/layers); W_l, b_l times sqrt(r_l/target), b_l also by the change of the layer's input scale.
    """
    x, draws, net = batch()[0], generator(0), []
    for layer, (n, m) in enumerate(pairwise(SIZES)):
        net.append([randn(m, n, draws=draws), torch.zeros(m, dtype=torch.float64)])
        per_unit(net, layer, x, activation, 0.1)
    second_phase(net, x, activation, draws)
    same(by_initbench("krahenbuhl", activation, between=True), net)


def second_phase(net, x, activation, draws):
    """In place; returns how many times the layers were scaled."""
    scales = [inputs_of(net, x, activation, layer).abs().mean() for layer in range(len(net))]
    for done in range(10):
        leaves = [w.clone().requires_grad_() for w, _ in net]
        out = preactivations([(w, b) for w, (_, b) in zip(leaves, net)], x, activation)[-1]
        out.backward(randn(*out.shape, draws=draws))
        r = torch.stack([(w.grad**2).mean().sqrt() / (w.detach() ** 2).mean().sqrt() for w in leaves])
        spread = out.detach().std(0, correction=0).mean()
        target = r.prod() ** (1 / len(net)) * spread ** (1 / len(net))
        if ((r.log() / target.log() - 1).abs() < 0.01).all():
            return done
        for layer in range(len(net)):
            now = inputs_of(net, x, activation, layer).abs().mean()
            factor = (r[layer] / target).sqrt()
            net[layer] = [net[layer][0] * factor, net[layer][1] * factor * now / scales[layer]]
            scales[layer] = now
    return 10


def check_stop(function):
    """One layer, whose random gradients hardly move its rate: it stops where the rule says. The starts are 3% apart
    in the logarithm that the rule compares with .01, so one of them tells .01 from 5% more.
    """
    x, stopped = batch()[0], []
    for k in range(24):
        part = nn.Linear(SIZES[0], SIZES[1]).double()
        net = [[randn(SIZES[1], SIZES[0], draws=generator(1)), torch.zeros(SIZES[1], dtype=torch.float64)]]
        per_unit(net, 0, x, "relu", 0.0)
        net[0][0] = net[0][0] * math.exp(1.03**k)
        part.weight.data, part.bias.data = net[0][0].clone(), net[0][1].clone()
        stopped.append(second_phase(net, x, "relu", generator(2)))
        function(nn.Sequential(part), x, generator(2), 10)
        same([(part.weight.detach(), part.bias.detach())], net)
    assert 0 < min(stopped) < max(stopped) < 10


def test_krahenbuhl_stops():
    check_stop(_equal_rates_)


def test_kmeans_centroids():
    """Ten rounds of Lloyd on the whitened inputs, from random samples; rows = normalized centroids, mapped back."""
    x, draws = batch()[0], generator(0)
    m, n = SIZES[1], SIZES[0]
    randn(m, n, draws=draws)  # the units that no direction would reach
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    whitening = vectors @ torch.diag((values + 1e-3) ** -0.5) @ vectors.T
    white = centred @ whitening
    centres = white[torch.randperm(len(x), generator=draws)[:m]]
    for _ in range(10):
        nearest = [min(range(m), key=lambda k, one=one: float((one - centres[k]).square().sum())) for one in white]
        members = [white[[i for i, k in enumerate(nearest) if k == unit]] for unit in range(m)]
        centres = torch.stack([part.mean(0) if len(part) else centres[k] for k, part in enumerate(members)])
    rows = torch.stack([c / c.norm() for c in centres]) @ whitening
    same(by_initbench("kmeans", "tanh")[:1], [(rows, torch.zeros(m, dtype=torch.float64))])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_pca(activation):
    """Eigenvectors over sqrt(lambda + 1e-3), largest first, further units N(0, 1); b = 0."""
    draws = generator(0)
    x, (w, b) = batch()[0], by_initbench("pca", activation)[0]
    left = randn(SIZES[1], SIZES[0], draws=draws)[SIZES[0] :]
    centred = x - x.mean(0)
    _, s, vh = torch.linalg.svd(centred / math.sqrt(len(x)), full_matrices=False)
    rows = vh / (s**2 + 1e-3).sqrt()[:, None]
    sign = torch.sign((w[: SIZES[0]] * rows).sum(1, keepdim=True))
    same([(w, b)], [(torch.cat([rows * sign, left]), torch.zeros(SIZES[1], dtype=torch.float64))])


# ------------------------------------------------------------ swim


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_swim(activation):
    """N ceil(m/N) candidates i ~ U, j = i + delta mod N, delta ~ U{1..N-2}; m of them with replacement, in proportion to
    [y_i != y_j]/max(|d|, 1e-10). relu w = d/|d|^2, b = -w x_i; tanh w = 2 s d/|d|^2, b = -w x_i - s. Last: least squares.
    """
    (x, y), draws, net = batch(), generator(0), []
    n, s = len(x), 0.5 * (math.log(1.5) - math.log(0.5))
    for layer, m in enumerate(SIZES[1:-1]):
        h = inputs_of(net, x, activation, layer)
        i = torch.randint(n, (n * math.ceil(m / n),), generator=draws)
        j = (i + torch.randint(1, n - 1, i.shape, generator=draws)) % n
        slopes = torch.tensor([float(y[a] != y[b]) / max(float((h[b] - h[a]).norm()), 1e-10) for a, b in zip(i, j)])
        w, bias = [], []
        for k in torch.multinomial(slopes.double(), m, replacement=True, generator=draws):
            d = h[j[k]] - h[i[k]]
            w.append((1.0 if activation == "relu" else 2 * s) * d / d.dot(d))
            bias.append(-w[-1].dot(h[i[k]]) - (0.0 if activation == "relu" else s))
        net.append([torch.stack(w), torch.stack(bias)])
    h = torch.cat([inputs_of(net, x, activation, 2), torch.ones(n, 1, dtype=torch.float64)], dim=1)
    fit = torch.linalg.pinv(h) @ torch.eye(SIZES[-1], dtype=torch.float64)[y]
    net.append([fit[:-1].T, fit[-1]])
    same(by_initbench("swim", activation), net)


# ------------------------------------------------------------ scales: metainit, gradinit, nio


def start(draws, activation, std):
    """Biases N(0, std^2), then He's normal weights: [W, b, W, b ...]."""
    gain = {"relu": math.sqrt(2), "tanh": 5 / 3}[activation]
    biases = [std * randn(m, draws=draws) for m in SIZES[1:]]
    weights = [gain / math.sqrt(n) * randn(m, n, draws=draws) for n, m in pairwise(SIZES)]
    return [tensor for pair in zip(weights, biases) for tensor in pair]


def normal(std):
    return {"rule": "normal", "std": std}


def loss_of(tensors, x, y, activation):
    net = list(zip(tensors[::2], tensors[1::2]))
    return nn.functional.cross_entropy(preactivations(net, x, activation)[-1], y)


def flat_gradient(tensors, x, y, activation):
    leaves = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(loss_of(leaves, x, y, activation), leaves)


def unflat(vector, like):
    out, rest = [], vector
    for t in like:
        out.append(rest[: t.numel()].view(t.shape))
        rest = rest[t.numel() :]
    return out


def quotient(tensors, x, y, activation, eps):
    """Mean over all parameters of |(g - Hg)/(g + eps sign g) - 1|, H the whole Hessian."""
    flat = torch.cat([t.flatten() for t in tensors])
    value = lambda v: loss_of(unflat(v, tensors), x, y, activation)  # noqa: E731
    g = torch.cat([part.flatten() for part in flat_gradient(tensors, x, y, activation)])
    hg = torch.autograd.functional.hessian(value, flat, vectorize=True) @ g
    sign = torch.where(g >= 0, 1.0, -1.0).double()
    return float(((g - hg) / (g + eps * sign) - 1).abs().mean())


def check_quotient(function, eps):
    """The gradient quotient of a small net is that of the whole Hessian."""
    tensors, (x, y) = start(generator(0), "tanh", 0.1), batch()
    parts = [part for n, m in pairwise(SIZES) for part in (nn.Linear(n, m).double(), nn.Tanh())]
    net = nn.Sequential(*parts[:-1])
    for parameter, values in zip(net.parameters(), tensors):
        parameter.data = values.clone()
    found = function(net, nn.functional.cross_entropy(net(x), y), eps)
    assert float(found.detach()) == pytest.approx(quotient(tensors, x, y, "tanh", eps), rel=1e-9)


@pytest.mark.parametrize("eps", [1e-5, 0.01])
def test_the_gradient_quotient(eps):
    check_quotient(gradient_quotient, eps)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_metainit(activation):
    """v <- .9 v - .1 sign(d GQ/d norm), norm += v; fresh Gaussian inputs, uniform labels; weights alone move."""
    steps, samples, draws = 6, 16, generator(0)
    tensors = start(draws, activation, 0.1)
    speeds = [0.0] * 3
    for _ in range(steps):
        x = randn(samples, SIZES[0], draws=draws)
        y = torch.randint(SIZES[-1], (samples,), generator=draws)
        slopes = []
        for k in range(3):
            around = []
            for h in (1e-6, -1e-6):  # along the direction of W: d GQ / d norm
                moved = list(tensors)
                moved[2 * k] = tensors[2 * k] * (1 + h)
                around.append(quotient(moved, x, y, activation, 1e-5))
            slopes.append(around[0] - around[1])
        for k, slope in enumerate(slopes):
            norm = float(tensors[2 * k].norm())
            speeds[k] = 0.9 * speeds[k] - 0.1 * math.copysign(1, slope)
            tensors[2 * k] = tensors[2 * k] * ((norm + speeds[k]) / norm)
    found = by_initbench("metainit", activation, bias=normal(0.1), steps=steps, samples=samples)
    same(found, list(zip(tensors[::2], tensors[1::2])), rtol=1e-6)


def scaled(tensors, alphas):
    return [t * a for t, a in zip(tensors, alphas)]


def adam_on_scales(tensors, objectives, picks, *, lr, floor):
    """Adam(.9, .999) on one scale a tensor: slopes by central differences, clipped to +-1; scales of weights at least
    floor, of biases 0; a first moment for each objective, one second moment; tensors of norm 0 keep their values.

    `objectives(tensors, picked)` -> (which, function of tensors).
    """
    alphas, second = [1.0] * len(tensors), [0.0] * len(tensors)
    first, counts = [[0.0] * len(tensors), [0.0] * len(tensors)], [0, 0]
    for t, picked in enumerate(picks, start=1):
        which, value = objectives(scaled(tensors, alphas), picked)
        counts[which] += 1
        slopes = []
        for k in range(len(tensors)):
            around = []
            for h in (1e-5, -1e-5):
                moved = list(alphas)
                moved[k] += h
                around.append(float(value(scaled(tensors, moved))))
            slopes.append(min(1.0, max(-1.0, (around[0] - around[1]) / 2e-5)))
        for k, g in enumerate(slopes):
            if not tensors[k].any():
                continue
            first[which][k] = 0.9 * first[which][k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g**2
            step = first[which][k] / (1 - 0.9 ** counts[which])
            alphas[k] -= lr * step / (math.sqrt(second[k] / (1 - 0.999**t)) + 1e-8)
            alphas[k] = max(alphas[k], floor if k % 2 == 0 else 0.0)
    return scaled(tensors, alphas), counts


def norm_of(grads, kind):
    total = sum(g.abs().sum() if kind == "adam" else (g**2).sum() for g in grads)
    return total if kind == "adam" else total.sqrt()


@pytest.mark.parametrize(
    ("optimizer", "bias", "lr", "floor"),
    [("sgd", 0.1, 0.02, 0.01), ("sgd", 0.0, 0.1, 0.7), ("adam", 0.1, 0.1, 0.7), ("adam", 0.0, 0.02, 0.01)],
)
def test_gradinit(optimizer, bias, lr, floor):
    """|g| > gamma: a step on |g|; else on loss(W - eta dir)/eta over a batch that keeps half, dir = g/|g| or sign g."""
    data, draws, eta, samples = batch(), generator(0), 0.1, 20
    gamma = {"sgd": 0.6, "adam": 4.0}[optimizer]  # so that both objectives come up
    tensors = start(draws, "tanh", bias)

    def picks():
        for _ in range(30):
            yield torch.randperm(len(data[0]), generator=draws)[:samples]

    def objectives(now, picked):
        x, y = data[0][picked], data[1][picked]
        grads = flat_gradient(now, x, y, "tanh")
        size = norm_of(grads, optimizer)
        if size > gamma:
            return 0, lambda ts: norm_of(flat_gradient(ts, x, y, "tanh"), optimizer)
        step = [g / size if optimizer == "sgd" else g.sign() for g in grads]
        fresh = torch.randperm(len(data[0]), generator=draws)[: samples - samples // 2]
        kept = picked[: samples // 2]
        x2, y2 = (torch.cat([part[kept], part[fresh]]) for part in data)
        return 1, lambda ts: loss_of([t - eta * d for t, d in zip(ts, step)], x2, y2, "tanh") / eta

    expected, counts = adam_on_scales(tensors, objectives, picks(), lr=lr, floor=floor)
    assert min(counts) > 0
    asked = {"optimizer": optimizer, "lr": lr, "floor": floor, "iterations": 30, "eta": eta, "gamma": gamma}
    found = by_initbench("gradinit", "tanh", bias=normal(bias), samples=samples, **asked)
    same(found, list(zip(expected[::2], expected[1::2])), rtol=2e-6)


@pytest.mark.parametrize("norm_weight", [0.0, 0.3])
def test_nio(norm_weight):
    """mean |g| > gamma: a step on it; else on -cos of the gradients of two halves (- c sum |g|^2)."""
    data, draws, samples, gamma = batch(), generator(0), 20, 0.75
    tensors = start(draws, "tanh", 0.1)

    def picks():
        for _ in range(30):
            yield torch.randperm(len(data[0]), generator=draws)[:samples]

    def objectives(now, picked):
        halves = [(data[0][part], data[1][part]) for part in (picked[: samples // 2], picked[samples // 2 :])]

        def both(ts):
            return [torch.cat([g.flatten() for g in flat_gradient(ts, x, y, "tanh")]) for x, y in halves]

        if sum(g.norm() for g in both(now)) / 2 > gamma:
            return 0, lambda ts: sum(g.norm() for g in both(ts)) / 2

        def value(ts):
            a, b = both(ts)
            return -torch.dot(a, b) / (a.norm() * b.norm()) - norm_weight * (a.norm() ** 2 + b.norm() ** 2)

        return 1, value

    expected, counts = adam_on_scales(tensors, objectives, picks(), lr=0.05, floor=0.01)
    assert min(counts) > 0
    asked = {"lr": 0.05, "iterations": 30, "gamma": gamma, "samples": samples, "norm_weight": norm_weight}
    same(by_initbench("nio", "tanh", bias=normal(0.1), **asked), list(zip(expected[::2], expected[1::2])), rtol=2e-6)


# ------------------------------------------------------------ one decomposition for the whole net


def gram_schmidt(a):
    """Orthonormal columns with the span of each first k columns of a `(rows, k)`."""
    columns = []
    for column in a.T:
        for _ in range(2):  # twice: the first leaves a rounding error
            for done in columns:
                column = column - (done @ column) * done
        columns.append(column / column.norm())
    return torch.stack(columns, dim=1)


def check_modes(net, product, strengths, frames):
    """W_N ... W_1 is `product`; behind each hidden layer the modes `frames` carry strength s^(2/N), whatever the signs
    of the singular vectors."""
    whole = net[0][0]
    for w, _ in net[1:]:
        whole = w @ whole
    torch.testing.assert_close(whole, product, rtol=1e-9, atol=1e-9 * float(product.abs().max()))
    carried = strengths ** (2 / len(net))
    for (w, _), (after, _), q in zip(net, net[1:], frames, strict=False):
        expected = q @ torch.diag(carried) @ q.T
        for found in (w @ w.T, after.T @ after):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(carried.max()))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_balanced(scale):
    """A ~ scale N(0, 1/n0) = U S V^T; W_l = Q_{l+1} S^(1/N) Q_l^T, Q_0 = V, Q_N = U, others orthonormal."""
    draws = generator(0)
    a = scale / math.sqrt(SIZES[0]) * randn(SIZES[-1], SIZES[0], draws=draws)
    strengths = torch.linalg.eigvalsh(a @ a.T).flip(0).sqrt()
    frames = [gram_schmidt(randn(width, SIZES[-1], draws=draws)) for width in SIZES[1:-1]]
    check_modes(by_initbench("balanced", "tanh", scale=scale), a, strengths, frames)


@pytest.mark.parametrize("strength", [0.001, 0.5])
def test_decoupled(strength):
    """Y^T X / N = U S V^T; W_l = u0^(1/L) Q_{l+1} Q_l^T, Q_0 = V, Q_L = U, others orthonormal."""
    draws, (x, y) = generator(0), batch()
    correlation = torch.eye(SIZES[-1], dtype=torch.float64)[y].T @ x / len(x)
    values, vectors = torch.linalg.eigh(correlation @ correlation.T)
    polar = vectors @ torch.diag(values**-0.5) @ vectors.T @ correlation  # U V^T
    frames = [gram_schmidt(randn(width, SIZES[-1], draws=draws)) for width in SIZES[1:-1]]
    strengths = torch.full((SIZES[-1],), strength, dtype=torch.float64)
    check_modes(by_initbench("decoupled", "tanh", strength=strength), strength * polar, strengths, frames)
