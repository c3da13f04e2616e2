"""The landscape of the probe's loss around R runs: its curvature, the noise of its gradient, the tangent kernel.

Each run is computed alone, so that its bits do not depend on its stack-mates. What is differentiated by are the stored
tensors that are trained, each once: of a tie that holds, one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from initbench import rng
from initbench.nets.mlp import LOSS_VALUES, LOSSES
from initbench.nets.net import Net

STEPS = 40  # largest number of products with the Hessian
TOLERANCE = 1e-3  # of its eigenvector: |H v - lambda v| / |lambda|, whose square bounds the error of lambda
NUMBERS = 2**22  # in the gradients of single samples that are held at once
KERNEL_SAMPLES = 8
KERNEL_NUMBERS = 2**26  # in the gradients of the kernel's samples; a larger net has no kernel


@dataclass(frozen=True)
class Point:
    """R runs: how their nets are wired, what is stored (R, ...), the probe x (R, n, P) and its targets, the step."""

    net: Net
    stored: Mapping[str, Tensor]
    x: Tensor
    y: Tensor
    loss: str
    step: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What is differentiated by."""
        return self.net.scheme.distinct(self.step)

    @cached_property
    def numbers(self) -> int:
        """Numbers in them."""
        return sum(prod(self.stored[name].shape[1:]) for name in self.names)

    @cached_property
    def sharpness(self) -> Tensor:
        """Largest eigenvalue of the Hessian of the mean loss, (R,) in float64; NaN where the loss is not finite."""
        return torch.stack([self.top_curvature(run) for run in range(len(self.x))])

    def top_curvature(self, run: int) -> Tensor:
        """That of one run, by Lanczos' method: power iteration on Hessian-vector products that keeps its vectors."""
        with torch.inference_mode(False), torch.enable_grad():
            fixed = {name: copied(value[run : run + 1]) for name, value in self.stored.items()}
            leaves = [fixed[name].requires_grad_() for name in self.names]
            if self.net.scheme.tied(self.step):
                for group in self.net.scheme.ties:
                    fixed |= dict.fromkeys(group, fixed[group[0]])
            x, y = copied(self.x[run : run + 1]), copied(self.y[run : run + 1])
            weights, biases = self.net.weights(fixed)
            outputs = self.net.forward(weights, biases, fixed, x).zs[-1]
            loss = LOSS_VALUES[self.loss](outputs, y).mean()
            if not torch.isfinite(loss):
                return loss.detach().double() * torch.nan
            gradient = flat(torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True))
            if not gradient.requires_grad:  # a loss that is linear in what is stored
                return loss.detach().double() * 0

            def product(v: Tensor) -> Tensor:
                v = v.to(gradient)
                found = torch.autograd.grad(gradient, leaves, v, retain_graph=True, materialize_grads=True)
                return flat(found).detach().double().cpu()

            return largest_eigenvalue(product, self.numbers).to(loss.device)

    @cached_property
    def noise_scale(self) -> Tensor:
        """tr(Cov of the samples' gradients) / |mean gradient|^2, (R,) in float64."""
        found, samples = [], self.x.shape[2]
        for run in range(len(self.x)):
            squares = self.x.new_zeros((), dtype=torch.float64)
            total = self.x.new_zeros(self.numbers, dtype=torch.float64)
            for part in torch.arange(samples, device=self.x.device).split(max(1, NUMBERS // self.numbers)):
                grads = self.sample_gradients(run, part, self.by_loss)
                squares += grads.square().sum(1).sum(dtype=torch.float64)
                total += grads.sum(0, dtype=torch.float64)
            mean = (total / samples).square().sum()
            found.append((squares / samples - mean) / mean)
        return torch.stack(found)

    def by_loss(self, outputs: Tensor, run: int, chosen: Tensor) -> Tensor:
        """Gradient of each sample's loss by its outputs (B, k, 1)."""
        y = self.y[run].index_select(-1, chosen)
        return LOSSES[self.loss](outputs, y.T.unsqueeze(2) if y.dim() == 2 else y.unsqueeze(1))[1]

    def sample_gradients(self, run: int, chosen: Tensor, seed: Callable[[Tensor, int, Tensor], Tensor]) -> Tensor:
        """Gradients of B samples of a run by all that is trained, (B, numbers): each sample is put through the net as a run
        of its own. `seed` gives what is pulled back from the outputs (B, k, 1)."""
        stored = {name: value[run].expand(len(chosen), *value.shape[1:]) for name, value in self.stored.items()}
        x = self.x[run].index_select(1, chosen).T.unsqueeze(2)
        weights, biases = self.net.weights(stored)
        trace = self.net.forward(weights, biases, stored, x)
        dws, dbs, _, own = self.net.backward(weights, stored, trace, seed(trace.zs[-1], run, chosen))
        grads = {**self.net.scheme.stored_grads(dws, dbs, stored), **own}
        grads = self.net.scheme.tied_grads(grads, self.step)
        return torch.cat([grads[name].flatten(1) for name in self.names], dim=1)

    @cached_property
    def kernels(self) -> Tensor | None:
        """The tangent kernel of each run on the first samples, (R, S k, S k): inner products of the gradients of
        single outputs."""
        samples, outputs = min(KERNEL_SAMPLES, self.x.shape[2]), self.net.layers[-1].fan_out
        if samples * outputs * self.numbers > KERNEL_NUMBERS:
            return None
        chosen = torch.arange(samples, device=self.x.device).repeat_interleave(outputs)
        one = torch.eye(outputs, dtype=self.x.dtype, device=self.x.device).repeat(samples, 1).unsqueeze(2)
        found = []
        for run in range(len(self.x)):
            grads = self.sample_gradients(run, chosen, lambda outputs, run, chosen: one.clone())
            found.append(grads @ grads.T)
        return torch.stack(found)


def copied(value: Tensor) -> Tensor:
    """A copy that autograd may see, also of what was made in inference mode."""
    return value.detach().clone()


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def largest_eigenvalue(product: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """Largest eigenvalue of a symmetric matrix that is known by its products, from one start whatever the matrix.

    >>> a = torch.diag(torch.tensor([-9.0, 1.0, 2.0, 5.0], dtype=torch.float64))
    >>> round(float(largest_eigenvalue(lambda v: a @ v, 4)), 9)
    5.0
    """
    v = torch.randn(size, dtype=torch.float64, generator=rng.stream(0, "lanczos"))
    vectors: list[Tensor] = []
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    v = v / v.norm()
    for _ in range(min(STEPS, size)):
        vectors.append(v)
        w = product(v)
        diagonal.append(v @ w)
        basis = torch.stack(vectors)
        for _again in range(2):  # twice is enough
            w = w - basis.T @ (basis @ w)
        t = torch.diag(torch.stack(diagonal))
        if beside:
            off = torch.diag(torch.stack(beside), 1)
            t = t + off + off.T
        values, turn = torch.linalg.eigh(t)
        rest = w.norm()
        if not torch.isfinite(values[-1]):
            return values[-1]
        if rest * turn[-1, -1].abs() <= TOLERANCE * values[-1].abs() or rest <= 1e-14 * values.abs().max():
            break
        beside.append(rest)
        v = w / rest
    return values[-1]
