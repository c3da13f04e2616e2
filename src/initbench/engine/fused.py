"""The fused engine: the runs of one arm as stacked matrices, trained by batched matrix products.

Axes: R runs, S seeds, B samples. Nothing here mixes runs: each matrix of a batched product, each sum over samples, each
update belongs to one run, so a run's bits depend neither on its stack-mates nor on a diverged neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from initbench.config import ArmConfig
from initbench.data import Dataset
from initbench.engine import optim
from initbench.engine.chunk import Chunk
from initbench.engine.material import Material, Seeds
from initbench.engine.recorder import Recorder
from initbench.measure import Probe, chosen, measure
from initbench.model import LOSSES, backward, forward, predict, right
from initbench.schedule import evaluation_steps, measure_steps

EVALUATION_BLOCK = 4  # runs evaluated at once: their activations on 1,000 samples fit the cache
Progress = Callable[[int], None]


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm at once. `progress(n)` is told of n more run-steps now and then."""
    material = Material(arm, data)
    # A lone run takes another path through BLAS and other bits; so it trains beside a copy of itself.
    padded = list(runs) if len(runs) > 1 else [runs[0], runs[0]]
    seeds = Seeds(material, tuple(sorted({seed for seed, _ in padded})))
    row = torch.tensor([seeds.seeds.index(seed) for seed, _ in padded], device=arm.engine.device)
    stack = Stack(material, seeds, row, torch.tensor([lr for _, lr in padded], dtype=material.dtype))
    with torch.no_grad():
        return stack.train(list(runs), progress)


class Stack:
    """R runs in training: stored tensors (R, ...), optimizer state, and the step at which each run diverged."""

    def __init__(self, material: Material, seeds: Seeds, row: Tensor, lr: Tensor) -> None:
        self.material, self.seeds, self.row = material, seeds, row
        self.arm, self.scheme = material.arm, material.scheme
        self.lr = lr.to(row.device)
        self.loss = LOSSES[material.loss]
        start = seeds.start()
        # One buffer (R, parameters of a run) holds all, so that a look at every parameter is one pass; the stored
        # tensors are views of it.
        self.parameters = torch.cat([value.flatten(1)[row] for value in start.values()], dim=1)
        views = self.parameters.split([value[0].numel() for value in start.values()], dim=1)
        self.stored = {name: view.unflatten(1, start[name].shape[1:]) for name, view in zip(start, views)}
        self.state: dict[str, optim.State] = {name: {} for name in self.stored}
        self.diverged_at = torch.full((len(row),), -1, dtype=torch.int64, device=row.device)
        self.start_outputs: list[Tensor] | None = None

    def train(self, runs: list[tuple[int, float]], progress: Progress) -> Chunk:
        """All steps with what is evaluated and measured on the way."""
        train = self.arm.train
        evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
        names = chosen(self.arm.measure)
        measured = set(measure_steps(train.steps, self.arm.measure.schedule)) if names else set()
        recorder = Recorder(self.scheme)
        probe = self.on_runs(*self.seeds.probe()) if names else None
        parts = {part: self.seeds.first(part, train.eval_samples) for part in ("train", "val")}
        held = self.on_runs(*self.seeds.samples(torch.cat(list(parts.values()), dim=1)))
        batches = self.seeds.batches()
        previous: dict[str, Tensor] | None = None
        told = 0
        for step in range(train.steps + 1):
            weights, biases = self.weights()
            if step in evaluated:
                recorder.add(step, self.evaluate(held, parts["train"].shape[1], weights, biases, step))
                progress((step - told) * len(runs))
                told = step
            if step in measured and probe is not None:
                recorder.add(step, measure(self.probe(probe, weights, biases, previous), names))
            x, y = self.on_runs(*self.seeds.samples(next(batches)))
            zs, hs = forward(weights, biases, x, self.arm.model.activation)
            losses, dlogits = self.loss(zs[-1], y)
            batch_loss = losses.mean(1)
            if step in measured:
                recorder.add(step, {"loss/batch": batch_loss})
            self.note_divergence(step, batch_loss)
            if step == train.steps:
                break
            dws, dbs, _ = backward(weights, zs, hs, dlogits.div_(x.shape[2]), self.arm.model.activation)
            previous = {k: v.clone() for k, v in self.stored.items()} if step + 1 in measured else None
            self.update(self.scheme.stored_grads(dws, dbs, self.stored), step)
        return recorder.chunk(runs, self.diverged_at)

    def on_runs(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of seeds (S, B, n) and targets as the runs see them: (R, n, B), and (R, B) or (R, k, B)."""
        y = y[self.row]
        return x[self.row].transpose(1, 2), y.transpose(1, 2) if y.dim() == 3 else y

    def weights(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """Weight and bias of each layer."""
        layers = range(len(self.material.layers))
        return (
            [self.scheme.weight(self.stored, i) for i in layers],
            [self.scheme.bias(self.stored, i) for i in layers],
        )

    def update(self, grads: dict[str, Tensor], step: int) -> None:
        """One update of every stored tensor, each once."""
        c = self.arm.optim
        lr = self.lr * optim.lr_factor(c, step, self.arm.train.steps)
        if c.clip is not None:
            factor = optim.clip_factor(grads, c.clip)
            grads = {name: g * optim.column(factor, g) for name, g in grads.items()}
        rule = optim.RULES[c.name]
        for name, p in self.stored.items():
            rule(p, grads[name], self.state[name], optim.column(lr, p), step + 1, c)

    def note_divergence(self, step: int, loss: Tensor) -> None:
        """Remember the first step at which a loss or a parameter is not finite; on the device, no transfer."""
        # the largest magnitude of a run is finite exactly if all its parameters are
        largest = torch.linalg.vector_norm(self.parameters, ord=float("inf"), dim=1)
        bad = ~(torch.isfinite(loss) & torch.isfinite(largest))
        self.diverged_at = torch.where((self.diverged_at < 0) & bad, step, self.diverged_at)

    def evaluate(
        self,
        held: tuple[Tensor, Tensor],
        cut: int,
        weights: list[Tensor],
        biases: list[Tensor | None],
        step: int,
    ) -> dict[str, Tensor]:
        """Loss and accuracy on the fixed evaluation samples: the first `cut` are training ones, the rest not."""
        x, y = held
        logits = predict(weights, biases, x, self.arm.model.activation, EVALUATION_BLOCK)
        losses, _ = self.loss(logits, y)
        values = {"loss/train": losses[:, :cut].mean(1), "loss/val": losses[:, cut:].mean(1)}
        self.note_divergence(step, losses.mean(1))
        if self.material.data.classes is not None:
            hits = right(logits, y if y.dim() == 2 else y.argmax(1)).to(losses.dtype)
            values["accuracy/train"] = hits[:, :cut].mean(1)
            values["accuracy/val"] = hits[:, cut:].mean(1)
        return values

    def probe(
        self,
        samples: tuple[Tensor, Tensor],
        weights: list[Tensor],
        biases: list[Tensor | None],
        previous: dict[str, Tensor] | None,
    ) -> Probe:
        """Forward and backward pass of the mean loss on the probe batch."""
        x, y = samples
        activation = self.arm.model.activation
        zs, hs = forward(weights, biases, x, activation)
        _, dlogits = self.loss(zs[-1], y)
        dws, dbs, dzs = backward(weights, zs, hs, dlogits.div_(x.shape[2]), activation)
        probe = Probe(self.scheme, activation, self.stored, previous, zs, hs, dws, dbs, dzs, self.start_outputs)
        if self.start_outputs is None:
            self.start_outputs = probe.outputs
        return probe
