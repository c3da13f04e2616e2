"""The reference engine: one plain nn.Module with truly shared parameters at a time, autograd and torch.optim.

Slow and obvious on purpose: it is the oracle that the fused engine is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from initbench.config import ArmConfig, resolve_target
from initbench.data import Dataset
from initbench.engine.chunk import Chunk
from initbench.engine.fused import Progress
from initbench.engine.material import Material, Seeds
from initbench.engine.optim import lr_factor
from initbench.engine.oracle import MLP
from initbench.engine.recorder import Recorder
from initbench.groups import OptimConfig
from initbench.measure import Probe, chosen, measure
from initbench.net import Net
from initbench.schedule import evaluation_steps, measure_steps


def optimizer(c: OptimConfig, net: MLP, wiring: Net, lr: float) -> torch.optim.Optimizer:
    """The optimizer of a net, one group a parameter: each has its factor of the learning rate and of the weight decay."""
    groups = [
        {
            "params": [parameter],
            "lr": lr * wiring.lr_factor[name],
            "weight_decay": c.weight_decay * wiring.decay_factor[name],
        }
        for name, parameter in net.tensors.items()
    ]
    return of_torch(c, groups, lr)


def of_torch(c: OptimConfig, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """The optimizer of torch.optim that a configuration names, on groups with their own weight decay."""
    kept = {"betas": c.betas, "alpha": c.alpha, "eps": c.eps}
    options: dict[str, Any] = {key: value for key, value in kept.items() if value is not None}
    if c.name in ("sgd", "momentum", "nesterov"):
        mu = 0.0 if c.name == "sgd" else c.momentum or 0.0
        return torch.optim.SGD(groups, lr=lr, momentum=mu, nesterov=c.name == "nesterov", **options)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[c.name](groups, lr=lr, **options)


def set_rates(stepper: torch.optim.Optimizer, c: OptimConfig, step: int, steps: int) -> None:
    """Each group's learning rate at update `step`: its own at the start, times the schedule."""
    for group in stepper.param_groups:
        group.setdefault("whole_lr", group["lr"])
        group["lr"] = group["whole_lr"] * lr_factor(c, step, steps)


def sample_losses(loss: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, (B,)."""
    if loss == "cross_entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    return F.mse_loss(outputs, y, reduction="none").mean(1)


@dataclass
class Trained:
    """One run: its values by (step, metric), the step of divergence or -1, the last step if it left early or -1."""

    rows: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    diverged_at: int = -1
    stopped_at: int = -1


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm one after another."""
    if arm.model.name == "module":
        from initbench.engine import module_run

        return module_run.run_chunk(arm, runs, data, progress)
    material = Material(arm, data)
    trained = [train_one(material, seed, lr, progress) for seed, lr in runs]
    recorder = Recorder(material.scheme)
    for step, name in sorted({key for one in trained for key in one.rows}):
        found = [one.rows.get((step, name)) for one in trained]
        like = next(value for value in found if value is not None)
        blank = torch.full_like(like, torch.nan)
        recorder.add(step, {name: torch.stack([blank if value is None else value for value in found])})
    stopped = torch.tensor([one.stopped_at for one in trained]) if arm.train.stop_when_reached else None
    return recorder.chunk(runs, torch.tensor([one.diverged_at for one in trained]), stopped)


def train_one(material: Material, seed: int, lr: float, progress: Progress) -> Trained:
    """One run from its start to its end."""
    arm, train = material.arm, material.arm.train
    seeds = Seeds(material, (seed,))
    net = MLP(material, {k: v[0] for k, v in seeds.start().items()}).to(arm.engine.device)
    stepper = optimizer(arm.optim, net, material.net, lr)
    target = resolve_target(train.target, material.data.classes is not None) if train.stop_when_reached else None
    evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
    names = chosen(arm.measure)
    measured = set(measure_steps(train.steps, arm.measure.schedule)) if names else set()
    held = {part: seeds.samples(seeds.first(part, train.eval_samples)) for part in ("train", "val")}
    probe_x, probe_y = seeds.probe()
    batches = seeds.batches()
    run, previous, start = Trained(), None, None
    for step in range(train.steps + 1):
        finite = all(bool(torch.isfinite(p).all()) for p in net.parameters())
        if step in evaluated:
            values = evaluate(material, net, held)
            finite &= all(bool(torch.isfinite(values[f"loss/{part}"])) for part in held)
            run.rows.update({(step, name): value for name, value in values.items()})
        if step in measured:
            probe = probe_of(material, net, probe_x[0], probe_y[0], previous, start)
            start = start or probe.outputs
            run.rows.update({(step, name): value[0] for name, value in measure(probe, names).items()})
        x, y = seeds.samples(next(batches))
        net.zero_grad()
        batch_loss = sample_losses(material.loss, net(x[0]), y[0]).mean()
        if step in measured:
            run.rows[step, "loss/batch"] = batch_loss.detach()
        finite &= bool(torch.isfinite(batch_loss))
        if run.diverged_at < 0 and not finite:
            run.diverged_at = step
        if step == train.steps:
            break
        reached = target is not None and step in evaluated and bool(target.met(values[target.metric]))
        if target is not None and step in evaluated and (reached or run.diverged_at >= 0):
            run.stopped_at = step
            progress(train.steps - step)
            break
        if net.copy_of and step == material.scheme.untie_at:
            net.untie(stepper)
            net.zero_grad()
            batch_loss = sample_losses(material.loss, net(x[0]), y[0]).mean()
        (batch_loss + net.penalty()).backward()
        if arm.optim.clip is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), arm.optim.clip)
        previous = net.stored() if step + 1 in measured else None
        set_rates(stepper, arm.optim, step, train.steps)
        stepper.step()
        progress(1)
    return run


def evaluate(material: Material, net: MLP, held: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Loss and accuracy on the evaluation samples of each part."""
    values = {}
    for part, (x, y) in held.items():
        with torch.no_grad():
            outputs = net(x[0])
        values[f"loss/{part}"] = sample_losses(material.loss, outputs, y[0]).mean()
        if material.data.classes is not None:
            truth = y[0] if y.dim() == 2 else y[0].argmax(1)
            values[f"accuracy/{part}"] = (outputs.argmax(1) == truth).to(material.dtype).mean()
    return values


def probe_of(
    material: Material,
    net: MLP,
    x: Tensor,
    y: Tensor,
    previous: dict[str, Tensor] | None,
    start: Sequence[Tensor] | None,
) -> Probe:
    """The probe of one run by autograd: every use of a weight is a node of its own, so that its gradient is seen."""
    n = len(material.layers)
    weights = [net.weight(i).detach().clone().requires_grad_() for i in range(n)]
    found = [net.bias(i) for i in range(n)]
    biases = [None if b is None else b.detach().clone().requires_grad_() for b in found]
    zs, hs = net.run(weights, biases, x)
    loss = sample_losses(material.loss, zs[-1], y).mean()
    grads = torch.autograd.grad(loss, [*weights, *zs, *(b for b in biases if b is not None)])
    return Probe(
        material.scheme,
        material.arm.model.activation,
        net.stored(),
        previous,
        [z.detach().T[None] for z in zs],
        [h.detach().T[None] for h in hs],
        [g[None] for g in grads[:n]],
        [g[None] for g in grads[2 * n :]],
        [g.T[None] for g in grads[n : 2 * n]],
        start,
        material.net,
    )
