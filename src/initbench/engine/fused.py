"""The fused engine: the runs of one arm as stacked matrices, trained by batched matrix products.

Axes: R runs, S seeds, B samples. Nothing here mixes runs: each matrix of a batched product, each sum over samples, each
update belongs to one run, so a run's bits depend neither on its stack-mates nor on a diverged neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from initbench.config import ArmConfig, resolve_target
from initbench.data import Dataset
from initbench.engine import optim
from initbench.engine.chunk import Chunk
from initbench.engine.material import Material, Seeds
from initbench.engine.recorder import Recorder
from initbench.groups import OptimConfig
from initbench.measure import Probe, chosen, measure
from initbench.model import LOSSES, right
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
        self.arm, self.scheme, self.net = material.arm, material.scheme, material.net
        self.lr = lr.to(row.device)
        self.loss = LOSSES[material.loss]
        start = seeds.start()
        self.shapes = {name: value.shape[1:] for name, value in start.items()}
        self.hold(torch.cat([value.flatten(1)[row] for value in start.values()], dim=1))
        self.state: dict[str, optim.State] = {name: {} for name in self.stored}
        self.rules = {name: self.rule_of(name) for name in self.stored}
        self.diverged_at = torch.full((len(row),), -1, dtype=torch.int64, device=row.device)
        self.start_outputs: list[Tensor] | None = None

    def hold(self, parameters: Tensor) -> None:
        """One buffer (R, parameters of a run) holds all, so that a look at every parameter is one pass; the stored
        tensors are views of it."""
        self.parameters = parameters
        views = parameters.split([shape.numel() for shape in self.shapes.values()], dim=1)
        self.stored = {name: view.unflatten(1, shape) for (name, shape), view in zip(self.shapes.items(), views)}

    def rule_of(self, name: str) -> tuple[float, OptimConfig]:
        """Factor of the learning rate of a stored tensor, and the optimizer with its weight decay."""
        factor, c = self.net.lr_factor[name], self.arm.optim
        decay = self.net.decay_factor[name]
        return factor, c if decay == 1.0 else replace(c, weight_decay=c.weight_decay * decay)

    def train(self, runs: list[tuple[int, float]], progress: Progress) -> Chunk:
        """All steps with what is evaluated and measured on the way."""
        train = self.arm.train
        evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
        names = chosen(self.arm.measure)
        measured = set(measure_steps(train.steps, self.arm.measure.schedule)) if names else set()
        recorder = Recorder(self.scheme)
        leavers = Leavers(self) if train.stop_when_reached else None
        probe = self.on_runs(*self.seeds.probe()) if names else None
        parts = {part: self.seeds.first(part, train.eval_samples) for part in ("train", "val")}
        held = self.on_runs(*self.seeds.samples(torch.cat(list(parts.values()), dim=1)))
        batches = self.seeds.batches()
        previous: dict[str, Tensor] | None = None
        told = 0
        for step in range(train.steps + 1):
            weights, biases = self.weights()
            if step in evaluated:
                values = self.evaluate(held, parts["train"].shape[1], weights, biases, step)
                recorder.add(step, values)
                progress((step - told) * len(runs))
                told = step
            if step in measured and probe is not None:
                recorder.add(step, measure(self.probe(probe, weights, biases, previous), names))
            x, y = self.on_runs(*self.seeds.samples(next(batches)))
            trace = self.net.forward(weights, biases, self.stored, x)
            losses, dlogits = self.loss(trace.zs[-1], y)
            batch_loss = losses.mean(1)
            if step in measured:
                recorder.add(step, {"loss/batch": batch_loss})
            self.note_divergence(step, batch_loss)
            if step == train.steps:
                break
            dws, dbs, _, own = self.net.backward(weights, self.stored, trace, dlogits.div_(x.shape[2]))
            previous = {k: v.clone() for k, v in self.stored.items()} if step + 1 in measured else None
            self.update({**self.scheme.stored_grads(dws, dbs, self.stored), **own}, step)
            if leavers is not None and step in evaluated:
                kept = leavers.leave(step, values)
                if kept is None:
                    continue
                if not len(kept):
                    progress((train.steps - told) * len(runs))
                    break
                recorder.keep(kept)
                held = (held[0][kept], held[1][kept])
                probe = None if probe is None else (probe[0][kept], probe[1][kept])
                previous = None if previous is None else {k: v[kept] for k, v in previous.items()}
        if leavers is None:
            return recorder.chunk(runs, self.diverged_at)
        return recorder.chunk(runs, leavers.diverged(), leavers.stopped_at)

    def weights(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """Weight and bias of each layer as its product takes them."""
        return self.net.weights(self.stored)

    def on_runs(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of seeds (S, B, n) and targets as the runs see them: (R, n, B), and (R, B) or (R, k, B)."""
        y = y[self.row]
        return x[self.row].transpose(1, 2), y.transpose(1, 2) if y.dim() == 3 else y

    def update(self, grads: dict[str, Tensor], step: int) -> None:
        """One update of every stored tensor, each once."""
        c = self.arm.optim
        grads = self.scheme.tied_grads(grads, step)
        for name, g in self.scheme.penalty_grads(self.stored).items():
            grads[name] = grads[name] + g
        lr = self.lr * optim.lr_factor(c, step, self.arm.train.steps)
        if c.clip is not None:
            clip = optim.clip_factor({name: grads[name] for name in self.scheme.distinct(step)}, c.clip)
            grads = {name: g * optim.column(clip, g) for name, g in grads.items()}
        rule = optim.RULES[c.name]
        for name, p in self.stored.items():
            factor, own = self.rules[name]
            scaled = lr if factor == 1.0 else lr * factor
            rule(p, grads[name], self.state[name], optim.column(scaled, p), step + 1, own)

    def note_divergence(self, step: int, loss: Tensor) -> None:
        """Remember the first step at which a loss or a parameter is not finite; on the device, no transfer."""
        # The largest and the smallest of a run's parameters are finite exactly if all are; a NaN is both. Each is 27
        # times as fast as torch's norm of order infinity, as `isfinite` and `all`, or as both by `aminmax`.
        ends = torch.isfinite(self.parameters.amax(1)) & torch.isfinite(self.parameters.amin(1))
        bad = ~(torch.isfinite(loss) & ends)
        self.diverged_at = torch.where((self.diverged_at < 0) & bad, step, self.diverged_at)

    def keep(self, kept: Tensor) -> None:
        """Go on with some of the runs alone, their bits unchanged."""
        self.hold(self.parameters[kept])
        self.state = {name: optim.kept(state, kept) for name, state in self.state.items()}
        self.row, self.lr, self.diverged_at = self.row[kept], self.lr[kept], self.diverged_at[kept]
        if self.start_outputs is not None:
            self.start_outputs = [outputs[kept] for outputs in self.start_outputs]

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
        logits = self.net.predict(weights, biases, self.stored, x, EVALUATION_BLOCK)
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
        trace = self.net.forward(weights, biases, self.stored, x)
        _, dlogits = self.loss(trace.zs[-1], y)
        dws, dbs, dzs, _ = self.net.backward(weights, self.stored, trace, dlogits.div_(x.shape[2]))
        activation = self.arm.model.activation
        probe = Probe(
            self.scheme,
            activation,
            self.stored,
            previous,
            trace.zs,
            trace.hs,
            dws,
            dbs,
            dzs,
            self.start_outputs,
            self.net,
        )
        if self.start_outputs is None:
            self.start_outputs = probe.outputs
        return probe


class Leavers:
    """train.stop_when_reached: runs that reached the target or diverged leave the stack at the evaluation that saw it.

    `stopped_at` (R,) is the last step of each run that left, -1 for those that went on to the end.
    """

    def __init__(self, stack: Stack) -> None:
        data = stack.material.data
        target = resolve_target(stack.arm.train.target, data.classes is not None)
        assert target is not None, "TrainConfig refuses to stop without a target"
        self.stack, self.target = stack, target
        self.place = torch.arange(len(stack.row), device=stack.row.device)  # of each run of the stack among all
        self.stopped_at = torch.full_like(stack.diverged_at, -1)
        self._diverged_at = stack.diverged_at.clone()

    def leave(self, step: int, values: Mapping[str, Tensor]) -> Tensor | None:
        """Places in the stack of the runs that stay, after the stack has let the others go; None if all stay."""
        stack = self.stack
        gone = self.target.met(values[self.target.metric]) | (stack.diverged_at >= 0)
        if not bool(gone.any()):
            return None
        self.stopped_at[self.place[gone]] = step
        self._diverged_at[self.place] = stack.diverged_at
        kept = torch.nonzero(~gone).flatten()
        if len(kept) == 1:
            kept = kept.repeat(2)  # not a lone run: beside a copy of itself, as in `run_chunk`
        if len(kept):
            stack.keep(kept)
            self.place = self.place[kept]
        return kept

    def diverged(self) -> Tensor:
        """Step of divergence of every run, those that left included."""
        self._diverged_at[self.place] = self.stack.diverged_at
        return self._diverged_at
