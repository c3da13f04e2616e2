"""Training a person's own module: one run after another, autograd and torch.optim, as in the reference engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from initbench import rng
from initbench.config import ArmConfig, resolve_target
from initbench.data import Dataset
from initbench.engine.chunk import Chunk
from initbench.engine.fused import Progress
from initbench.engine.material import Seeds
from initbench.engine.module import Call, ModuleMaterial, build, call, observed, seeded
from initbench.engine.recorder import Recorder
from initbench.engine.reference import of_torch, sample_losses, set_rates
from initbench.errors import InputError
from initbench.measure import Probe, chosen, measure
from initbench.schedule import evaluation_steps, measure_steps

# measures that multiply the layers' own Jacobians: a module may put anything between its layers
OF_A_CHAIN = ("jacobian_",)
Rows = dict[tuple[str, int], Tensor]  # (metric, step) -> () or (k,)


@dataclass
class Record:
    """What one run left: values, and the steps at which it diverged or stopped (-1: neither)."""

    rows: Rows = field(default_factory=dict)
    diverged_at: int = -1
    stopped_at: int = -1


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm whose model is a module."""
    material = ModuleMaterial(arm, data)
    records = [train_one(material, seed, lr, progress) for seed, lr in runs]
    recorder = Recorder(material.scheme)
    for (name, step), values in sorted(completed(arm, data, records).items()):
        recorder.add(step, {name: values})
    stopped = torch.tensor([one.stopped_at for one in records]) if arm.train.stop_when_reached else None
    chunk = recorder.chunk(runs, torch.tensor([one.diverged_at for one in records]), stopped)
    if not material.starts:
        return chunk
    return replace(chunk, init_flops=np.array([material.starts[seed][1] for seed, _ in runs]))


def completed(arm: ArmConfig, data: Dataset, records: Sequence[Record]) -> Rows:
    """(metric, step) -> (R,) or (R, k); NaN where a run had ended. Losses stand at every evaluation."""
    steps = evaluation_steps(arm.train.steps, arm.train.evaluate.dense, arm.train.evaluate.ratio)
    losses = ("loss/train", "loss/val", *(("accuracy/train", "accuracy/val") if data.classes is not None else ()))
    like: Rows = {(name, step): torch.tensor(float("nan")) for name in losses for step in steps}
    for record in records:
        like |= record.rows
    return {
        key: torch.stack([one.rows.get(key, torch.full_like(value, torch.nan)) for one in records])
        for key, value in like.items()
    }


def train_one(material: ModuleMaterial, seed: int, lr: float, progress: Progress) -> Record:
    """One run. After divergence nothing is computed: a module with a loop over its numbers might never return."""
    arm, train = material.arm, material.arm.train
    seeds = Seeds(material, (seed,))
    module = build(material, seed)
    trained = [p for p in module.parameters() if p.requires_grad]
    stepper = of_torch(arm.optim, [{"params": trained, "weight_decay": arm.optim.weight_decay}], lr)
    target = resolve_target(train.target, material.data.classes is not None) if train.stop_when_reached else None
    evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
    names = tuple(name for name in chosen(arm.measure) if not name.startswith(OF_A_CHAIN))
    measured = set(measure_steps(train.steps, arm.measure.schedule)) if names else set()
    batches = seeds.batches()
    record, previous, start = Record(), None, None
    with seeded(rng.key(seed, "dropout")):
        for step in range(train.steps + 1):
            finite = all(bool(torch.isfinite(p).all()) for p in module.parameters())
            if step in evaluated and finite:
                values = evaluation(material, module, seeds)
                record.rows |= {(name, step): value for name, value in values.items()}
                finite = all(bool(torch.isfinite(value)) for value in values.values())
                if target is not None and bool(target.met(values[target.metric])):
                    record.stopped_at = step
            if step in measured and finite:
                probe = probe_of(material, module, seeds, previous, start)
                start = start or probe.outputs
                record.rows |= {(name, step): value[0] for name, value in measure(probe, names).items()}
            if finite and record.stopped_at < 0:
                x, y = seeds.samples(next(batches))
                module.train()
                module.zero_grad()
                loss = sample_losses(material.loss, call(module, x[0], material.structure.by_sample), y[0]).mean()
                finite = bool(torch.isfinite(loss))
                if step in measured:
                    record.rows["loss/batch", step] = loss.detach()
            if not finite:
                record.diverged_at = step
                record.stopped_at = step if train.stop_when_reached else -1
            if not finite or record.stopped_at >= 0 or step == train.steps:
                progress(train.steps - step)
                return record
            loss.backward()
            if arm.optim.clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), arm.optim.clip)
            previous = stored(material, module) if step + 1 in measured else None
            set_rates(stepper, arm.optim, step, train.steps)
            stepper.step()
            progress(1)
    return record


def evaluation(material: ModuleMaterial, module: nn.Module, seeds: Seeds) -> dict[str, Tensor]:
    """Loss and accuracy on the fixed evaluation samples, in evaluation mode."""
    values = {}
    module.eval()
    for part in ("train", "val"):
        x, y = seeds.samples(seeds.first(part, material.arm.train.eval_samples))
        with torch.no_grad():
            outputs = call(module, x[0], material.structure.by_sample)
        values[f"loss/{part}"] = sample_losses(material.loss, outputs, y[0]).mean()
        if material.data.classes is not None:
            truth = y[0] if y.dim() == 2 else y[0].argmax(1)
            values[f"accuracy/{part}"] = (outputs.argmax(1) == truth).to(material.dtype).mean()
    return values


def stored(material: ModuleMaterial, module: nn.Module) -> dict[str, Tensor]:
    """Each stored tensor of the layers with a leading run axis of length 1."""
    names, scheme = material.structure.names, material.scheme
    return {
        slot.name: getattr(module.get_submodule(names[slot.layers[0]]), attribute).detach().clone()[None]
        for attribute, slots in (("weight", scheme.weights), ("bias", scheme.biases))
        for slot in slots
    }


def probe_of(
    material: ModuleMaterial,
    module: nn.Module,
    seeds: Seeds,
    previous: dict[str, Tensor] | None,
    start: Sequence[Tensor] | None,
) -> Probe:
    """The probe of one run: each call's input h, preactivation z and dL/dz give the gradient of this use,
    dL/dW = (dL/dz)^T h and dL/db = sum of dL/dz over samples."""
    x, y = seeds.probe()
    by_sample = material.structure.by_sample
    module.eval()
    with observed(module) as calls:
        loss = sample_losses(material.loss, call(module, x[0], by_sample), y[0]).mean()
    layers = by_layer(calls, module, material)
    outputs = [one.output for layer in layers for one in layer]
    grads = iter(torch.autograd.grad(loss, outputs, allow_unused=True))
    hs, zs, dzs = [], [], []
    for layer in layers:
        hs.append(torch.cat([one.input.flatten(0, -2) for one in layer]))
        zs.append(torch.cat([one.output.detach().flatten(0, -2) for one in layer]))
        found = [next(grads) for _ in layer]
        filled = [torch.zeros_like(one.output) if g is None else g for one, g in zip(layer, found)]
        dzs.append(torch.cat([g.flatten(0, -2) for g in filled]))
    return Probe(
        material.scheme,
        material.arm.model.activation,
        stored(material, module),
        previous,
        [z.T[None] for z in zs],
        [h.T[None] for h in hs],
        [(dz.T @ h)[None] for dz, h in zip(dzs, hs)],
        [dz.sum(0)[None] for dz in dzs],
        [dz.T[None] for dz in dzs],
        start,
    )


def by_layer(calls: list[Call], module: nn.Module, material: ModuleMaterial) -> list[list[Call]]:
    """The calls of each layer: one, or one a sample where the module is called sample by sample."""
    names = material.structure.names
    expected = [id(module.get_submodule(name)) for name in names]
    rounds = [calls[i : i + len(names)] for i in range(0, len(calls), len(names))]
    if any([id(one.layer) for one in each] != expected for each in rounds):
        raise InputError(
            f"model.target={material.arm.model.target}: calls its layers in another order than at first "
            f"({', '.join(names)}), so measures have no layers; set measure=none"
        )
    return [[each[index] for each in rounds] for index in range(len(names))]
