"""The training loop once more, as a person would write it for one net: the check of the package's own.

It takes a run's start, split, batches and evaluation samples from the package, and nothing else.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from initbench.config.arm import ArmConfig
from initbench.data import load
from initbench.engine.material import Material, Seeds, start_of_seed


def naive(arm: ArmConfig, seed: int, lr: float, goal: float, ties: range = range(0)) -> dict[str, object]:
    """One run of SGD on a ReLU net, until it reaches train accuracy `goal` or an evaluation finds it diverged. `ties`: the
    updates at which the hidden-to-hidden layers are one; the average of what they were before, if that is not from the start."""
    material = Material(arm, load(arm.data))
    seeds, start = Seeds(material, (seed,)), start_of_seed(material, seed)
    ws, bs = (
        [nn.Parameter(start[f"{kind}_{i:02d}"].clone()) for i in range(len(material.layers))]
        for kind in ("weight", "bias")
    )
    tied = list(range(1, len(ws) - 1)) if ties else []

    def net(x: torch.Tensor) -> torch.Tensor:
        for i, (w, b) in enumerate(zip(ws, bs)):
            x = (torch.relu(x) if i else x) @ w.T + b
        return x

    parts = {
        part: [t[0] for t in seeds.samples(seeds.first(part, arm.train.eval_samples))] for part in ("train", "val")
    }
    evaluations = {0, 1, 2, 3, 5, 8, 13, 21, arm.train.steps}
    batches, curve, diverged = seeds.batches(), {}, -1
    for step in range(arm.train.steps + 1):
        if step in evaluations:
            with torch.no_grad():
                losses = [float(cross_entropy(net(x), y)) for x, y in parts.values()]
                accuracy = float((net(parts["train"][0]).argmax(1) == parts["train"][1]).double().mean())
            curve[step] = losses[0]
            finite = all(map(math.isfinite, losses))
        x, y = (t[0] for t in seeds.samples(next(batches)))
        loss = cross_entropy(net(x), y)
        finite = math.isfinite(float(loss.detach())) and (finite if step in evaluations else True)
        finite = finite and all(bool(p.isfinite().all()) for p in (*ws, *bs))
        diverged = step if diverged < 0 and not finite else diverged
        if step == arm.train.steps or (step in evaluations and (accuracy >= goal or diverged >= 0)):
            return {"curve": curve, "diverged": diverged, "stopped": step if step < arm.train.steps else -1}
        grads = list(torch.autograd.grad(loss, [*ws, *bs]))
        for at in (tied, [len(ws) + i for i in tied]):  # one weight and one bias, the mean over their uses
            if tied and step in ties:
                mean = torch.stack([grads[i] for i in at]).mean(0)
                grads = [mean if i in at else g for i, g in enumerate(grads)]
        if arm.optim.clip is not None:
            norm = torch.cat([grads[i].flatten() for i in distinct(len(ws), tied if step in ties else [])]).norm()
            grads = [g * min(1.0, arm.optim.clip / (float(norm) + 1e-6)) for g in grads]
        rate = lr * 0.5 * (1 + math.cos(math.pi * step / arm.train.steps)) if arm.optim.schedule == "cosine" else lr
        with torch.no_grad():
            for p, g in zip((*ws, *bs), grads):
                p -= rate * g
            if step + 1 == ties.start:
                for one in (ws, bs):
                    mean = torch.stack([one[i].detach() for i in tied]).mean(0)
                    for i in tied:
                        one[i].copy_(mean)
    raise AssertionError("the last step returns")


def distinct(layers: int, tied: list[int]) -> list[int]:
    """Numbers of the parameters that are there: of tied ones the first."""
    return [k for k in range(2 * layers) if k % layers not in tied[1:]]
