"""Initializers that look at gradients: they rescale whole tensors so that the first steps work well."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from initbench.config.checks import unknown
from initbench.config.groups import LayerSpec
from initbench.initializers._draw import put_
from initbench.initializers.contract import Contract, NetDraw
from initbench.initializers.passes import gradients
from initbench.initializers.registry import catalogued
from initbench.initializers.whole_net import Batch, Loss, fill_base_, linears

Generator = torch.Generator | None


def _same_directions(d: NetDraw) -> bool:
    pairs = [(part.weight.detach(), before) for part, before in zip(d.linears, d.before)]
    return all(float((a * b).sum() / (a.norm() * b.norm())) > 1 - 1e-5 for a, b in pairs)


def _moved(d: NetDraw) -> bool:
    return any(not torch.allclose(part.weight, before) for part, before in zip(d.linears, d.before))


_RESCALES = {"W stays proportional to its start": _same_directions, "some norm has moved": _moved}


def gradient_quotient(module: nn.Module, loss: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean over all parameters of |(g - Hg)/(g + eps sign g) - 1|, sign 0 = +1: 0 for a loss without curvature.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> loss = nn.init.ones_(net.weight).sum() ** 3  # g = 12 and H g = 12 (12 + 12) for both weights
    >>> round(gradient_quotient(net, loss).item(), 3)
    24.0
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, create_graph=True)
    squares = sum((g.square().sum() for g in grads), torch.zeros((), dtype=loss.dtype)) / 2
    products = torch.autograd.grad(squares, parameters, create_graph=True)  # H g
    total = torch.zeros((), dtype=loss.dtype)
    for g, hg in zip(grads, products):
        guard = eps * torch.where(g >= 0, 1.0, -1.0).to(g)
        total = total + ((g - hg) / (g + guard) - 1).abs().sum()
    return total / sum(p.numel() for p in parameters)


@catalogued(
    formula="minimize GQ = mean |(g - Hg)/(g + eps sign g) - 1| over the norms of the weights, signed momentum steps",
    source="Dauphin & Schoenholz 2019; google/init2winit meta_init",
    meant_for="curvature-free starts without looking at data: Gaussian inputs, random labels",
    needs="gradient",
    contract=Contract(
        "only the norms of the weights move, their directions and the biases stay",
        net=_RESCALES,
    ),
)
def metainit_(
    module: nn.Module,
    *,
    batch: Batch,
    loss: Loss,
    layers: Sequence[LayerSpec],
    generator: Generator = None,
    generators: Sequence[Generator] | None = None,
    base: str | Mapping[str, Any] = "kaiming_normal",
    steps: int = 500,
    lr: float = 0.1,
    momentum: float = 0.9,
    eps: float = 1e-5,
    samples: int = 64,
    floor: float = 0.01,
) -> nn.Module:
    """MetaInit: move the norms of the weights down the gradient quotient; biases and directions stay.

    Each step draws a fresh batch of `samples`: x ~ N(0, 1), labels uniform (N(0, 1) for regression);
    v <- momentum v - lr sign(d GQ / d norm), norm += v, but not below `floor` times that of the base (ours: the
    paper's listing lets a norm pass 0 and so turn W around; floor -inf does the same). No data are seen.
    Source: Dauphin & Schoenholz 2019.

    >>> specs = [LayerSpec(0, 0, 2, 3)]
    >>> data = torch.randn(8, 2), torch.randint(3, (8,))
    >>> net, loss = nn.Sequential(nn.Linear(2, 3)), nn.functional.cross_entropy
    >>> net = metainit_(net, batch=data, loss=loss, layers=specs, steps=1)
    """
    fill_base_(module, base, layers, generator, generators)
    weights = [part.weight for part in linears(module)]
    floors = [floor * float(w.detach().norm()) for w in weights]
    shape = (samples, *batch[1].shape[1:])
    speeds = [0.0] * len(weights)
    for _ in range(steps):
        inputs = batch[0].new_empty(samples, batch[0].shape[1]).normal_(generator=generator)
        outputs = module(inputs)
        if batch[1].is_floating_point():
            targets = batch[1].new_empty(shape).normal_(generator=generator)
        else:
            targets = torch.randint(outputs.shape[-1], shape, generator=generator)
        quotient = gradient_quotient(module, loss(outputs, targets), eps)
        slopes = torch.autograd.grad(quotient, weights, allow_unused=True)
        gradients(module, samples, order=3)  # the loss, then its Hessian, then their quotient are differentiated
        for k, (w, slope) in enumerate(zip(weights, slopes)):
            norm = float(w.detach().norm())
            if norm == 0 or slope is None:
                continue
            sign = float(torch.sign((w.detach() * slope).sum()))
            speeds[k] = momentum * speeds[k] - lr * sign
            put_(w, w * (max(norm + speeds[k], floors[k]) / norm))
    return module


Objective = Callable[[dict[str, Tensor], Tensor, Tensor], tuple[int, Tensor]]


def rescale_(
    module: nn.Module,
    objective: Objective,
    batch: Batch,
    generator: Generator,
    *,
    lr: float,
    iterations: int,
    samples: int,
    floor: float,
) -> None:
    """Adam(.9, .999) on one scale alpha a tensor, alpha >= floor (biases >= 0), slope clipped to +-1; in place.

    `objective(parameters, inputs, targets)` gives (which objective, value); the first moments of the two are
    kept apart, the second is one. A tensor of norm 0 keeps its values: it has no scale, yet its gradient counts.
    """
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    alpha = {name: torch.ones((), dtype=p.dtype, requires_grad=True) for name, p in start.items() if bool(p.any())}
    first = [dict.fromkeys(alpha, 0.0), dict.fromkeys(alpha, 0.0)]
    counts, second = [0, 0], dict.fromkeys(alpha, 0.0)
    for step in range(1, iterations + 1):
        picked = torch.randperm(len(batch[0]), generator=generator)[:samples]
        scaled = {name: alpha[name] * p if name in alpha else p.clone().requires_grad_() for name, p in start.items()}
        which, value = objective(scaled, batch[0][picked], batch[1][picked])
        slopes = torch.autograd.grad(value, list(alpha.values()), allow_unused=True)
        counts[which] += 1
        for (name, scale), slope in zip(alpha.items(), slopes):
            g = 0.0 if slope is None else min(1.0, max(-1.0, float(slope)))
            first[which][name] = 0.9 * first[which][name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            move = first[which][name] / (1 - 0.9 ** counts[which])
            size = (second[name] / (1 - 0.999**step)) ** 0.5 + 1e-8
            low = 0.0 if start[name].ndim < 2 else floor
            put_(scale, torch.tensor(max(low, float(scale.detach()) - lr * move / size)))
    for name, p in module.named_parameters():
        if name in alpha:
            put_(p, alpha[name] * start[name])


def _grads(module: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor, loss: Loss) -> list[Tensor]:
    value = loss(functional_call(module, parameters, (x,)), y)
    found = torch.autograd.grad(value, list(parameters.values()), create_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters.values())]


def _size(grads: list[Tensor], kind: str) -> Tensor:
    if kind == "l1":
        return sum((g.abs().sum() for g in grads[1:]), grads[0].abs().sum())
    return sum((g.square().sum() for g in grads[1:]), grads[0].square().sum()).clamp_min(1e-30).sqrt()


@catalogued(
    formula="scales alpha a tensor minimize loss(W - eta dir)/eta under |g| <= gamma, Adam on alpha",
    source="Zhu et al. 2021 (2102.08098); zhuchen03/gradinit",
    meant_for="the first optimizer step lowers the loss as much as it can",
    needs="gradient",
    contract=Contract(
        "every tensor stays a positive multiple of its start",
        net=_RESCALES,
        variants=({"optimizer": "adam"},),
    ),
)
def gradinit_(
    module: nn.Module,
    *,
    batch: Batch,
    loss: Loss,
    layers: Sequence[LayerSpec],
    generator: Generator = None,
    generators: Sequence[Generator] | None = None,
    base: str | Mapping[str, Any] = "kaiming_normal",
    optimizer: str = "sgd",
    lr: float = 0.001,
    iterations: int = 390,
    eta: float = 0.1,
    gamma: float = 1.0,
    floor: float = 0.01,
    samples: int = 64,
) -> nn.Module:
    """GradInit: one scale a tensor, so that a step of size eta lowers the loss most while |g| <= gamma.

    Each iteration draws `samples` of the batch. |g| (L2 for sgd, L1 for adam) above gamma: one step on |g|.
    Else one on loss(W - eta dir)/eta over a batch that keeps half of them, dir = g/|g| (sgd) or sign g (adam), held
    constant.
    Source: zhuchen03/gradinit. InputError for another optimizer.

    >>> specs = [LayerSpec(0, 0, 2, 3)]
    >>> data = torch.randn(64, 2), torch.randint(3, (64,))
    >>> net, loss = nn.Sequential(nn.Linear(2, 3)), nn.functional.cross_entropy
    >>> net = gradinit_(net, batch=data, loss=loss, layers=specs, iterations=1)
    """
    if optimizer not in ("sgd", "adam"):
        raise unknown("init.optimizer", optimizer, ("sgd", "adam"))
    fill_base_(module, base, layers, generator, generators)

    def objective(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[int, Tensor]:
        grads = _grads(module, parameters, x, y, loss)
        size = _size(grads, "l2" if optimizer == "sgd" else "l1")
        if float(size.detach()) > gamma:
            gradients(module, len(x), order=2)  # rescale_ differentiates the size of a gradient
            return 0, size
        gradients(module, len(x))
        # as the authors' code has it, the step is a constant: nothing is differentiated through it
        directions = [g.detach() / size.detach() if optimizer == "sgd" else g.detach().sign() for g in grads]
        moved = {name: p - eta * d for (name, p), d in zip(parameters.items(), directions)}
        fresh = torch.randperm(len(batch[0]), generator=generator)[: len(x) - len(x) // 2]
        half = len(x) // 2
        inputs, targets = torch.cat([x[:half], batch[0][fresh]]), torch.cat([y[:half], batch[1][fresh]])
        gradients(module, len(inputs))
        return 1, loss(functional_call(module, moved, (inputs,)), targets) / eta

    rescale_(module, objective, batch, generator, lr=lr, iterations=iterations, samples=samples, floor=floor)
    return module


@catalogued(
    formula="scales alpha a tensor maximize the cosine of the gradients of two halves under mean |g| <= gamma",
    source="neural initialization optimization (GradCosine)",
    meant_for="samples agree on where to go at the start",
    note="not confirmed: read in a public repository only",
    needs="gradient",
    contract=Contract(
        "every tensor stays a positive multiple of its start",
        net=_RESCALES,
        variants=({"norm_weight": 0.1},),
    ),
)
def nio_(
    module: nn.Module,
    *,
    batch: Batch,
    loss: Loss,
    layers: Sequence[LayerSpec],
    generator: Generator = None,
    generators: Sequence[Generator] | None = None,
    base: str | Mapping[str, Any] = "kaiming_normal",
    lr: float = 0.05,
    iterations: int = 100,
    gamma: float = 5.0,
    floor: float = 0.01,
    samples: int = 64,
    norm_weight: float = 0.0,
) -> nn.Module:
    """NIO / GradCosine: one scale a tensor, so that the gradients of the two halves of a batch point the same way.

    Each iteration: g_1, g_2 on the halves of `samples` of the batch; mean |g| above gamma: one step on it,
    else one on -cos(g_1, g_2) - `norm_weight` (|g_1|^2 + |g_2|^2). Source: GradCosInitializer in a public repository (not confirmed: the
    paper was not read).

    >>> specs = [LayerSpec(0, 0, 2, 3)]
    >>> data = torch.randn(64, 2), torch.randint(3, (64,))
    >>> net, loss = nn.Sequential(nn.Linear(2, 3)), nn.functional.cross_entropy
    >>> net = nio_(net, batch=data, loss=loss, layers=specs, iterations=1)
    """
    fill_base_(module, base, layers, generator, generators)

    def objective(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[int, Tensor]:
        half = max(1, len(x) // 2)
        one = _grads(module, parameters, x[:half], y[:half], loss)
        two = _grads(module, parameters, x[half:], y[half:], loss)
        gradients(module, len(x), order=2)  # rescale_ differentiates sizes or a cosine of gradients
        sizes = _size(one, "l2"), _size(two, "l2")
        mean = (sizes[0] + sizes[1]) / 2
        if float(mean.detach()) > gamma:
            return 0, mean
        product = sum((a * b).sum() for a, b in zip(one, two))
        return 1, -product / (sizes[0] * sizes[1]) - norm_weight * (sizes[0] ** 2 + sizes[1] ** 2)

    rescale_(module, objective, batch, generator, lr=lr, iterations=iterations, samples=samples, floor=floor)
    return module
