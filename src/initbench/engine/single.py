"""One nn.Module in training, by autograd and torch.optim: the oracle (oracle.py) or your own (module_run.py).

Slow and obvious on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initbench.config.arm import Run
from initbench.config.groups import OptimConfig
from initbench.config.optimizers import OPTIMIZERS
from initbench.engine.loop import Progress, train
from initbench.engine.material import Material, Seeds
from initbench.engine.optim import lr_factor, momentum_at, rate_at
from initbench.engine.recorder import Recorder
from initbench.engine.schedule import Schedule
from initbench.measure import Probe, Start, measure
from initbench.store.chunk import Chunk


class Trainable(Protocol):
    """A module of one run, and what training it takes besides the module."""

    ends: bool  # whether its forward pass ends whatever its numbers are: your own loop over them might not

    @property
    def module(self) -> nn.Module: ...

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs (B, k) of inputs (B, n)."""
        ...

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups for torch.optim, each with its weight decay."""
        ...

    def penalty(self) -> Tensor | float:
        """What is added to the loss."""
        ...

    def updated(self, updates: int, stepper: torch.optim.Optimizer) -> None:
        """What happens to the net after so many updates."""
        ...

    def stored(self) -> dict[str, Tensor]:
        """A copy of each stored tensor, with a leading run axis of length 1."""
        ...

    def probe(self, x: Tensor, y: Tensor, previous: dict[str, Tensor] | None, start: Start | None) -> Probe:
        """Forward and backward pass of the mean loss on the probe batch."""
        ...

    def randomness(self) -> AbstractContextManager[None]:
        """Inside: torch's global generator as training is to find it."""
        ...


def run_one(net: Trainable, material: Material, run: Run, schedule: Schedule, progress: Progress) -> Chunk:
    """Train one run (seed, lr) from its start to its end."""
    recorder = Recorder(material.scheme, [run], 1, material.arm.engine.device)
    with net.randomness():
        train(Single(net, material, run), schedule, recorder, progress)
    return recorder.chunk(schedule.goal is not None)


class Single:
    """One run in training, as the loop sees it: tensors are (1,) and (1, k)."""

    def __init__(self, net: Trainable, material: Material, run: Run) -> None:
        seed, lr = run
        self.net, self.material = net, material
        self.seeds = Seeds(material, (seed,))
        samples = material.arm.train.eval_samples
        self.held = {part: self.seeds.samples(self.seeds.first(part, samples)) for part in ("train", "val")}
        self.batches = self.seeds.batches()
        self.stepper = of_torch(material.arm.optim, net.groups(lr), lr)
        self.diverged_at = torch.full((1,), -1, device=material.arm.engine.device)
        self.previous: dict[str, Tensor] | None = None
        self.start: Start | None = None
        self.lr = torch.tensor([lr], dtype=material.dtype, device=self.diverged_at.device)
        self.like: dict[str, Tensor] = {}  # the last measures
        self.passed: Tensor | None = None

    def goes_on(self, step: int, finite: bool = True) -> bool:
        """Whether the net may be called: not after it diverged, if that might never end. Notes divergence."""
        finite = finite and all(bool(torch.isfinite(p).all()) for p in self.net.module.parameters())
        if not finite and self.diverged_at < 0:
            self.diverged_at.fill_(step)
        return self.net.ends or bool(self.diverged_at < 0)

    def evaluate(self, step: int) -> dict[str, Tensor]:
        """Loss and accuracy on the fixed evaluation samples, in evaluation mode."""
        classes = self.material.data.classes is not None
        if not self.goes_on(step):
            kinds = ("loss", "accuracy") if classes else ("loss",)
            return {f"{kind}/{part}": self.blank() for kind in kinds for part in self.held}
        values = {}
        self.net.module.eval()
        for part, (x, y) in self.held.items():
            with torch.no_grad():
                outputs = self.net.outputs(x[0])
            values[f"loss/{part}"] = sample_losses(self.material.loss, outputs, y[0]).mean()[None]
            if classes:
                truth = y[0] if y.dim() == 2 else y[0].argmax(1)
                values[f"accuracy/{part}"] = (outputs.argmax(1) == truth).to(self.material.dtype).mean()[None]
        self.goes_on(step, all(bool(torch.isfinite(values[f"loss/{part}"])) for part in self.held))
        return values

    def measure(self, step: int, names: Sequence[str]) -> dict[str, Tensor]:
        """Measures on the probe batch."""
        if not self.goes_on(step):
            return {name: torch.full_like(value, torch.nan) for name, value in self.like.items()}
        x, y = self.seeds.probe()
        self.net.module.eval()
        probe = self.net.probe(x[0], y[0], self.previous, self.start)
        self.start = self.start or Start.of(probe)
        c, steps = self.material.arm.optim, self.material.arm.train.steps
        rate = self.lr * rate_at(c, step, steps)
        targets = y.transpose(1, 2) if y.dim() == 3 else y
        self.like = measure(replace(probe, targets=targets, loss=self.material.loss, step=step, lr=rate), names)
        return self.like

    def loss(self, step: int) -> Tensor:
        """Mean loss on the next batch, in training mode."""
        x, y = self.seeds.samples(next(self.batches))
        if not self.goes_on(step):
            return self.blank()
        self.net.module.train()
        self.passed = sample_losses(self.material.loss, self.net.outputs(x[0]), y[0]).mean()
        self.goes_on(step, bool(torch.isfinite(self.passed)))
        return self.passed.detach()[None]

    def remember(self) -> None:
        """Keep the stored tensors as they are before the next update."""
        self.previous = self.net.stored()

    def update(self, step: int) -> None:
        """Backward pass and one step of torch.optim; nothing once the run has diverged."""
        arm, passed = self.material.arm, self.passed
        self.passed = None
        if self.diverged_at >= 0 or passed is None:
            return
        self.net.module.zero_grad()
        (passed + self.net.penalty()).backward()  # type: ignore[no-untyped-call]
        if arm.optim.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.module.parameters(), arm.optim.clip)
        set_rates(self.stepper, arm.optim, step, arm.train.steps)
        self.stepper.step()
        self.net.updated(step + 1, self.stepper)

    def keep(self, places: Tensor) -> Tensor:
        """A lone run stays or leaves."""
        return places

    def blank(self) -> Tensor:
        """The value of a run that is no longer called."""
        return torch.full((1,), torch.nan, dtype=self.material.dtype, device=self.diverged_at.device)


def sample_losses(loss: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, (B,)."""
    if loss == "cross_entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    if loss == "sigmoid_cross_entropy":
        return F.binary_cross_entropy_with_logits(outputs, y, reduction="none").mean(1)
    outputs = torch.sigmoid(outputs) if loss == "sigmoid_squared_error" else outputs
    return F.mse_loss(outputs, y, reduction="none").mean(1)


def of_torch(c: OptimConfig, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """The optimizer that a configuration names, as a class of torch, on groups with their own weight decay."""
    kept = {key: getattr(c, key) for key in ("momentum", "betas", "alpha", "eps", "rest_lr")}
    options: dict[str, Any] = {key: value for key, value in kept.items() if value is not None}
    if c.name == "nesterov":
        options["nesterov"] = True
    make: Callable[..., torch.optim.Optimizer] = resolve_name(OPTIMIZERS[c.name].torch)
    return make(groups, lr=lr, **options)


def set_rates(stepper: torch.optim.Optimizer, c: OptimConfig, step: int, steps: int) -> None:
    """Each group's learning rate at update `step`: its own at the start, times the schedule; and a momentum that rises."""
    for group in stepper.param_groups:
        if c.momentum_rise is not None:
            group["momentum"] = momentum_at(c, step)
        group.setdefault("whole_lr", group["lr"])
        group["lr"] = group["whole_lr"] * lr_factor(c, step, steps)
