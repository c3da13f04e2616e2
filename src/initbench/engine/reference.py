"""The reference engine: one plain nn.Module with truly shared parameters at a time, autograd and torch.optim.

Slow and obvious on purpose: it is the oracle that the fused engine is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initbench.config import ArmConfig, OptimConfig
from initbench.data import Dataset
from initbench.engine.chunk import Chunk
from initbench.engine.fused import Progress
from initbench.engine.material import Material, Seeds
from initbench.engine.optim import lr_factor
from initbench.engine.recorder import Recorder
from initbench.measure import Probe, chosen, measure
from initbench.schedule import evaluation_steps, measure_steps
from initbench.sharing import Scheme

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "sin": torch.sin,
    "erf": torch.erf,
    "abs": torch.abs,
    "linear": lambda z: z,
}


def mean_of_uses(uses: int, gradient: Tensor) -> Tensor:
    """Autograd's sum over uses as their mean."""
    return gradient / uses


class MLP(nn.Module):
    """nn.Linear layers with an activation between them; layers that share a slot hold one and the same Parameter."""

    def __init__(self, scheme: Scheme, stored: dict[str, Tensor], activation: str) -> None:
        super().__init__()
        self.phi = PHI[activation]
        slots = scheme.weight_slot
        self.layers = nn.ModuleList(nn.Linear(slot.shape[1], slot.shape[0], bias=bool(scheme.biases)) for slot in slots)
        for attribute, used in (("weight", scheme.weights), ("bias", scheme.biases)):
            for slot in used:
                parameter = nn.Parameter(stored[slot.name].clone())
                if scheme.reduce == "mean" and len(slot.layers) > 1:
                    parameter.register_hook(partial(mean_of_uses, len(slot.layers)))
                for layer in slot.layers:
                    setattr(self.layers[layer], attribute, parameter)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.phi(layer(x))
        return self.layers[-1](x)

    def stored(self, scheme: Scheme) -> dict[str, Tensor]:
        """Each stored tensor with a leading run axis of length 1."""
        found = {}
        for attribute, slots in (("weight", scheme.weights), ("bias", scheme.biases)):
            for slot in slots:
                found[slot.name] = getattr(self.layers[slot.layers[0]], attribute).detach().clone()[None]
        return found


def optimizer(c: OptimConfig, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The optimizer of torch.optim that a configuration names."""
    kept = {"weight_decay": c.weight_decay, "betas": c.betas, "alpha": c.alpha, "eps": c.eps}
    options: dict[str, Any] = {"lr": lr, **{key: value for key, value in kept.items() if value is not None}}
    if c.name in ("sgd", "momentum", "nesterov"):
        mu = 0.0 if c.name == "sgd" else c.momentum or 0.0
        return torch.optim.SGD(parameters, momentum=mu, nesterov=c.name == "nesterov", **options)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[c.name](parameters, **options)


def sample_losses(loss: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, (B,)."""
    if loss == "cross_entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    return F.mse_loss(outputs, y, reduction="none").mean(1)


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm one after another."""
    material = Material(arm, data)
    chunks = [train_one(material, seed, lr, progress) for seed, lr in runs]
    recorder = Recorder(material.scheme)
    for step, name in sorted({key for rows, _ in chunks for key in rows}):
        recorder.add(step, {name: torch.stack([rows[step, name] for rows, _ in chunks])})
    diverged_at = torch.tensor([dead for _, dead in chunks])
    return recorder.chunk(runs, diverged_at)


def train_one(
    material: Material, seed: int, lr: float, progress: Progress
) -> tuple[dict[tuple[int, str], Tensor], int]:
    """One run: its values by (step, metric), and the step of divergence or -1."""
    arm, scheme, train = material.arm, material.scheme, material.arm.train
    seeds = Seeds(material, (seed,))
    net = MLP(scheme, {k: v[0] for k, v in seeds.start().items()}, arm.model.activation)
    net.to(arm.engine.device)
    stepper = optimizer(arm.optim, list(net.parameters()), lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(stepper, lambda t: lr_factor(arm.optim, t, max(train.steps, 1)))
    evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
    names = chosen(arm.measure)
    measured = set(measure_steps(train.steps, arm.measure.schedule)) if names else set()
    held = {part: seeds.samples(seeds.first(part, train.eval_samples)) for part in ("train", "val")}
    probe_x, probe_y = seeds.probe()
    batches = seeds.batches()
    rows: dict[tuple[int, str], Tensor] = {}
    diverged_at, previous, start = -1, None, None
    for step in range(train.steps + 1):
        finite = all(bool(torch.isfinite(p).all()) for p in net.parameters())
        if step in evaluated:
            for part, (x, y) in held.items():
                with torch.no_grad():
                    outputs = net(x[0])
                loss = sample_losses(material.loss, outputs, y[0]).mean()
                rows[step, f"loss/{part}"] = loss
                finite &= bool(torch.isfinite(loss))
                if material.data.classes is not None:
                    truth = y[0] if y.dim() == 2 else y[0].argmax(1)
                    right = outputs.argmax(1) == truth
                    rows[step, f"accuracy/{part}"] = right.to(material.dtype).mean()
        if step in measured:
            probe = probe_of(material, net, probe_x[0], probe_y[0], previous, start)
            start = start or probe.outputs
            for name, value in measure(probe, names).items():
                rows[step, name] = value[0]
        x, y = seeds.samples(next(batches))
        net.zero_grad()
        batch_loss = sample_losses(material.loss, net(x[0]), y[0]).mean()
        if step in measured:
            rows[step, "loss/batch"] = batch_loss.detach()
        finite &= bool(torch.isfinite(batch_loss))
        if diverged_at < 0 and not finite:
            diverged_at = step
        if step == train.steps:
            break
        batch_loss.backward()
        if arm.optim.clip is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), arm.optim.clip)
        previous = net.stored(scheme) if step + 1 in measured else None
        stepper.step()
        scheduler.step()
        progress(1)
    return rows, diverged_at


def probe_of(
    material: Material,
    net: MLP,
    x: Tensor,
    y: Tensor,
    previous: dict[str, Tensor] | None,
    start: Sequence[Tensor] | None,
) -> Probe:
    """The probe of one run by autograd: every use of a weight is a node of its own, so that its gradient is seen."""
    layers: Sequence[Any] = list(net.layers)
    weights = [layer.weight.detach().clone().requires_grad_() for layer in layers]
    biases = [None if layer.bias is None else layer.bias.detach().clone().requires_grad_() for layer in layers]
    hs, zs = [x], []
    for i, (w, b) in enumerate(zip(weights, biases)):
        zs.append(F.linear(hs[-1], w, b))
        if i < len(weights) - 1:
            hs.append(net.phi(zs[-1]))
    loss = sample_losses(material.loss, zs[-1], y).mean()
    wanted = [*weights, *zs, *(b for b in biases if b is not None)]
    grads = torch.autograd.grad(loss, wanted)
    n = len(weights)
    return Probe(
        material.scheme,
        material.arm.model.activation,
        net.stored(material.scheme),
        previous,
        [z.detach().T[None] for z in zs],
        [h.detach().T[None] for h in hs],
        [g[None] for g in grads[:n]],
        [g[None] for g in grads[2 * n :]],
        [g.T[None] for g in grads[n : 2 * n]],
        start,
    )
