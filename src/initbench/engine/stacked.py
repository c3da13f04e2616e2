"""The runs of one arm as stacked matrices, trained by batched matrix products.

Axes: R runs, S seeds, B samples. Nothing here mixes runs: each matrix of a batched product, each sum over samples, each
update belongs to one run, so a run's bits depend neither on its stack-mates nor on a diverged neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from initbench.config.arm import ArmConfig, Run
from initbench.config.groups import OptimConfig
from initbench.data import Dataset
from initbench.engine import optim
from initbench.engine.loop import Progress, train
from initbench.engine.material import Material, Seeds
from initbench.engine.recorder import Recorder
from initbench.engine.schedule import Schedule
from initbench.engine.sums import UseSums
from initbench.measure import Probe, Start, measure
from initbench.nets.mlp import LOSS_VALUES, LOSSES, Room, right
from initbench.nets.residual import Trace
from initbench.store.chunk import Chunk

EVALUATION_BLOCK = 4  # runs evaluated at once: their activations on 1,000 samples fit the cache


def run_chunk(arm: ArmConfig, runs: Sequence[Run], data: Dataset, progress: Progress = lambda done: None) -> Chunk:
    """Train the runs (seed, lr) of an arm at once. `progress(n)` is told of n more run-steps now and then."""
    material = Material(arm, data)
    schedule = Schedule.of(arm, data.classes is not None)
    stack = stack_of(material, runs)
    recorder = Recorder(material.scheme, runs, len(stack.row), arm.engine.device)
    with without_gradients(material):
        train(stack, schedule, recorder, progress)
    return recorder.chunk(schedule.goal is not None)


def stored_after(arm: ArmConfig, run: Run, data: Dataset, updates: int) -> dict[str, np.ndarray]:
    """Every stored tensor of one run after so many updates."""
    material = Material(arm, data)
    stack = stack_of(material, [run])
    with without_gradients(material):
        for step in range(updates):
            stack.loss(step)
            stack.update(step)
    return {name: value[0].cpu().numpy().copy() for name, value in stack.stored.items()}


def stack_of(material: Material, runs: Sequence[Run]) -> Stack:
    """The runs at their start."""
    # A lone run takes another path through BLAS and other bits; so it trains beside a copy of itself.
    padded = list(runs) if len(runs) > 1 else [runs[0], runs[0]]
    seeds = Seeds(material, tuple(sorted({seed for seed, _ in padded})))
    row = torch.tensor([seeds.seeds.index(seed) for seed, _ in padded], device=material.arm.engine.device)
    return Stack(material, seeds, row, torch.tensor([lr for _, lr in padded], dtype=material.dtype))


def without_gradients(material: Material) -> AbstractContextManager[None]:
    """Inference mode makes each call of torch 2 us cheaper than no_grad; in it no formula could be pulled back by autograd."""
    return torch.inference_mode() if material.scheme.looks_up else torch.no_grad()


class Stack:
    """R runs in training: stored tensors (R, ...), optimizer state, and the step at which each run diverged."""

    def __init__(self, material: Material, seeds: Seeds, row: Tensor, lr: Tensor) -> None:
        self.material, self.seeds, self.row = material, seeds, row
        self.arm, self.scheme, self.net = material.arm, material.scheme, material.net
        self.lr = lr.to(row.device)
        self.sample_loss = LOSSES[material.loss]
        start = seeds.start()
        self.shapes = {name: value.shape[1:] for name, value in start.items()}
        self.dims = {len(shape) + 1 for shape in self.shapes.values()}
        self.hold(torch.cat([value.flatten(1)[row] for value in start.values()], dim=1))
        self.state: dict[str, optim.State] = {name: {} for name in self.stored}
        self.rules = {name: self.rule_of(name) for name in self.stored}
        self.diverged_at = torch.full((len(row),), -1, dtype=torch.int64, device=row.device)
        self.start: Start | None = None
        self.room: Room | None = None
        self.sums: UseSums | None = None
        self.looked_up: tuple[list[Tensor], list[Tensor | None]] | None = None
        self.previous: dict[str, Tensor] | None = None
        self.passed: tuple[list[Tensor], Trace, Tensor] | None = None
        self.batches = seeds.batches()

    @cached_property
    def held(self) -> tuple[tuple[Tensor, Tensor], int]:
        """The evaluation samples of each run, and how many of them, the first, are training ones."""
        parts = [self.seeds.first(part, self.arm.train.eval_samples) for part in ("train", "val")]
        return self.on_runs(*self.seeds.samples(torch.cat(parts, dim=1))), parts[0].shape[1]

    @cached_property
    def probed(self) -> tuple[Tensor, Tensor]:
        """The probe batch of each run."""
        return self.on_runs(*self.seeds.probe())

    def hold(self, parameters: Tensor) -> None:
        """One buffer (R, parameters of a run) holds all, so that a look at every parameter is one pass; the stored
        tensors are views of it."""
        self.parameters = parameters
        views = parameters.split([shape.numel() for shape in self.shapes.values()], dim=1)
        self.stored = {name: view.unflatten(1, shape) for (name, shape), view in zip(self.shapes.items(), views)}

    def rule_of(self, name: str) -> tuple[float, OptimConfig]:
        """Factor of the learning rate of a stored tensor, and the optimizer with its weight decay."""
        share, c = optim.of_tensor(self.arm.optim, name in self.net.hidden_matrices)
        factor, decay = self.net.lr_factor[name] * share, self.net.decay_factor[name]
        return factor, c if decay == 1.0 else replace(c, weight_decay=c.weight_decay * decay)

    def weights(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """Weight and bias of each layer as its product takes them, until an update changes them. Those that are stored are
        always the same tensors."""
        if self.looked_up is None:
            self.looked_up = self.net.weights(self.stored)
        return self.looked_up

    def on_runs(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of seeds (S, B, n) and targets as the runs see them: (R, n, B), and (R, B) or (R, k, B)."""
        x, y = x.index_select(0, self.row), y.index_select(0, self.row)
        return x.transpose(1, 2), y.transpose(1, 2) if y.dim() == 3 else y

    def room_for(self, weights: list[Tensor], x: Tensor) -> Room | None:
        """Memory of the training steps, taken at the first. Branches hold gradients for longer than it would."""
        if self.room is None and not self.net.branches:
            self.room = Room.of(weights, x, self.arm.model.activation)
        return self.room

    def loss(self, step: int) -> Tensor:
        """Mean loss (R,) on the next batch; its forward pass and its gradient by the logits are kept for `update`."""
        weights, biases = self.weights()
        x, y = self.on_runs(*self.seeds.samples(next(self.batches)))
        trace = self.net.forward(weights, biases, self.stored, x, self.room_for(weights, x))
        losses, dlogits = self.sample_loss(trace.zs[-1], y)
        self.passed = weights, trace, dlogits.div_(x.shape[2])
        mean = losses.mean(1)
        self.note_divergence(step, mean)
        return mean

    def remember(self) -> None:
        """Keep the stored tensors as they are before the next update."""
        self.previous = {name: value.clone() for name, value in self.stored.items()}

    def update(self, step: int) -> None:
        """The backward pass from the gradient by the logits, and one update of every stored tensor, each once."""
        assert self.passed is not None, "a step is an update of the loss before it"
        (weights, trace, dlogits), self.passed = self.passed, None
        rate = self.lr * optim.lr_factor(self.arm.optim, step, self.arm.train.steps)
        lr = {dim: rate.view(-1, *[1] * (dim - 1)) for dim in self.dims}
        if not self.at_once:
            dws, dbs, _, rest = self.net.backward(weights, self.stored, trace, dlogits, self.room)
            grads = self.wanted({**self.scheme.stored_grads(dws, dbs, self.stored), **rest}, step)
            for name in self.scheme.trained:
                self.apply(name, grads[name], lr, step)
            self.looked_up = None
            if self.scheme.ties and step + 1 == self.scheme.tie_at:
                self.tie()
            return
        if self.sums is None:
            self.sums = UseSums(self.scheme, self.stored)
        own: dict[str, Tensor] = {}
        for layer, _, dy in self.net.pull_back(weights, self.stored, trace, dlogits, own, self.room):
            for name, g in self.sums.add(layer, dy, trace.hs[layer]):
                self.apply(name, g, lr, step)
        for name, g in own.items():
            self.apply(name, g, lr, step)

    def tie(self) -> None:
        """From now on the members of a tie are one: the average of their values, and of their optimizer's state."""
        for group in self.scheme.ties:
            states = [self.state[name] for name in group]
            for values in ([self.stored[name] for name in group], *([one[key] for one in states] for key in states[0])):
                total = values[0].clone()
                for value in values[1:]:
                    total += value
                total /= len(values)
                for value in values:
                    value.copy_(total)

    @cached_property
    def at_once(self) -> bool:
        """Whether a stored tensor can be updated as soon as its gradient is known: nothing asks for all gradients, and
        no layer's weight is computed."""
        computed = any(factors.forward != 1.0 for factors in self.net.factors)
        return self.scheme.looks_up and not computed and self.arm.optim.clip is None

    def wanted(self, grads: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Gradients as the optimizer takes them: ties, the penalty and clipping considered."""
        c = self.arm.optim
        grads = self.scheme.tied_grads(grads, step)
        for name, g in self.scheme.penalty_grads(self.stored).items():
            grads[name] = grads[name] + g
        if c.clip is not None:
            clip = optim.clip_factor({name: grads[name] for name in self.scheme.distinct(step)}, c.clip)
            grads = {name: g * optim.column(clip, g) for name, g in grads.items()}
        return grads

    def apply(self, name: str, g: Tensor, lr: Mapping[int, Tensor], step: int) -> None:
        """One update of a stored tensor by its gradient (R, ...); `lr` has the step's rates as (R, 1, ...) of each
        number of axes."""
        p, (factor, own) = self.stored[name], self.rules[name]
        rate = lr[p.dim()]
        optim.RULES[own.name](p, g, self.state[name], rate if factor == 1.0 else rate * factor, step + 1, own)

    def note_divergence(self, step: int, loss: Tensor) -> None:
        """Remember the first step at which a loss or a parameter is not finite; on the device, no transfer."""
        # The largest and the smallest of a run's parameters are finite exactly if all are; a NaN is both. Each is 27
        # times as fast as torch's norm of order infinity, as `isfinite` and `all`, or as both by `aminmax`. And x - x is 0
        # for finite x, else NaN: a fourth of what `isfinite` costs.
        high, low = self.parameters.amax(1), self.parameters.amin(1)
        bad = high.sub_(high).add_(low.sub_(low)).add_(loss - loss) != 0
        self.diverged_at.masked_fill_(bad & (self.diverged_at < 0), step)

    def keep(self, places: Tensor) -> Tensor:
        """Go on with some of the runs alone, their bits unchanged; a lone one beside a copy of itself, as in `run_chunk`."""
        kept = places.repeat(2) if len(places) == 1 else places
        self.hold(self.parameters[kept])
        self.state = {name: optim.kept(state, kept) for name, state in self.state.items()}
        self.room = self.sums = self.looked_up = None  # of as many runs as there were
        self.row, self.lr, self.diverged_at = self.row[kept], self.lr[kept], self.diverged_at[kept]
        (x, y), cut = self.held
        self.held = (x[kept], y[kept]), cut
        if self.start is not None:  # measured: there is a probe batch
            self.start = self.start.kept(kept)
            self.probed = (self.probed[0][kept], self.probed[1][kept])
        if self.previous is not None:
            self.previous = {name: value[kept] for name, value in self.previous.items()}
        return kept

    def evaluate(self, step: int) -> dict[str, Tensor]:
        """Loss and accuracy (R,) on the fixed evaluation samples."""
        (x, y), cut = self.held
        logits = self.net.predict(*self.weights(), self.stored, x, EVALUATION_BLOCK)
        losses = LOSS_VALUES[self.material.loss](logits, y)
        values = {"loss/train": losses[:, :cut].mean(1), "loss/val": losses[:, cut:].mean(1)}
        self.note_divergence(step, losses.mean(1))
        if self.material.data.classes is not None:
            hits = right(logits, y if y.dim() == 2 else y.argmax(1)).to(losses.dtype)
            values["accuracy/train"] = hits[:, :cut].mean(1)
            values["accuracy/val"] = hits[:, cut:].mean(1)
        return values

    def measure(self, step: int, names: Sequence[str]) -> dict[str, Tensor]:
        """Measures on the probe batch, (R, k) each."""
        probe = self.probe(self.probed, *self.weights(), self.previous)
        rate = optim.rate_at(self.arm.optim, step, self.arm.train.steps)
        return measure(replace(probe, step=step, lr=self.lr * rate), names)

    def probe(
        self,
        samples: tuple[Tensor, Tensor],
        weights: list[Tensor],
        biases: list[Tensor | None],
        previous: dict[str, Tensor] | None,
    ) -> Probe:
        """Forward and backward pass of the mean loss on the probe batch."""
        x, y = samples
        trace = self.net.forward(weights, biases, self.stored, x)
        _, dlogits = self.sample_loss(trace.zs[-1], y)
        dws, dbs, dzs, _ = self.net.backward(weights, self.stored, trace, dlogits.div_(x.shape[2]))
        probe = Probe(
            scheme=self.scheme,
            activation=self.arm.model.activation,
            stored=self.stored,
            previous=previous,
            zs=trace.zs,
            hs=trace.hs,
            dws=dws,
            dbs=dbs,
            dzs=dzs,
            start=self.start,
            net=self.net,
            targets=y,
            loss=self.material.loss,
        )
        if self.start is None:
            self.start = Start.of(probe)
        return probe
