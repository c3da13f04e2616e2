"""What a run is made of, by seed alone: split, batches, probe and evaluation samples, and the start of its weights.

Both engines take it from here, so a run is the same whatever computes it; arms with one seed share it (paired runs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from initbench import rng
from initbench.config.arm import ArmConfig
from initbench.config.cautions import Caution
from initbench.config.groups import OF_CLASSES, LayerSpec
from initbench.data import Dataset, Split, split
from initbench.engine.netstart import net_start, training_targets
from initbench.errors import refusal
from initbench.initializers import Initializer
from initbench.measure import PROBE_SAMPLES
from initbench.nets.net import Net, net
from initbench.sharing import Scheme


@dataclass(frozen=True)
class Material:
    """An arm on its data: layers, scheme, loss, and tensors of the data in the arm's dtype."""

    arm: ArmConfig
    data: Dataset

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.arm.model.layers(self.data.inputs, self.data.outputs)

    @cached_property
    def initializer(self) -> Initializer:
        init = self.arm.init
        return Initializer.of(init.target, init.args, init.bias, init.name)

    @cached_property
    def net(self) -> Net:
        return net(self.arm, self.layers)

    @property
    def scheme(self) -> Scheme:
        return self.net.scheme

    @cached_property
    def loss(self) -> str:
        return loss_name(self.arm, self.data)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What to know of this net and its training before trusting its results."""
        asked, there = self.arm.optim.batch_size, self.data.train_samples
        if self.arm.train.steps == 0 or asked is None or asked <= there:
            return ()
        text = f"optim.batch_size={asked} is more than the {there} training samples, so each step takes all {there}"
        return (Caution("Every step takes the full batch", f"{text}; give at most {there}, or null for all."),)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.arm.model.dtype == "float64" else torch.float32

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(self.arm.model.dtype)

    @cached_property
    def x(self) -> Tensor:
        """Inputs (N, n) in the frame of the data."""
        return torch.from_numpy(self.data.near_x(self.numpy_dtype)).to(self.arm.engine.device)

    @cached_property
    def y(self) -> Tensor:
        """Class numbers (N,), or target values (N, k) in the frame of the data; one-hot where each output of a class is fitted."""
        if self.data.classes is None:
            y = torch.from_numpy(self.data.near_y(self.numpy_dtype))
        else:
            y = torch.from_numpy(self.data.y)
            if self.loss != "cross_entropy":
                y = torch.nn.functional.one_hot(y, self.data.classes).to(self.dtype)
        return y.to(self.arm.engine.device)


@dataclass(frozen=True)
class Seeds:
    """The splits of S seeds on one data set, and samples drawn from it, standardized as each seed's split says."""

    material: Material
    seeds: tuple[int, ...]

    @cached_property
    def splits(self) -> list[Split]:
        return [split(self.material.data, seed) for seed in self.seeds]

    def _stacked(self, values: Sequence[np.ndarray | float]) -> Tensor:
        m = self.material
        stacked = torch.from_numpy(np.stack([np.asarray(v, dtype=np.float64) for v in values]))
        return stacked.to(m.dtype).to(m.arm.engine.device)

    @cached_property
    def mean(self) -> Tensor:
        return self._stacked([s.mean for s in self.splits]).unsqueeze(1)  # (S, 1, n)

    @cached_property
    def inverse_scale(self) -> Tensor:
        return self._stacked([1 / s.scale for s in self.splits])[:, None, None]

    @cached_property
    def target_mean(self) -> Tensor:
        return self._stacked([s.target_mean for s in self.splits]).unsqueeze(1)  # (S, 1, k)

    @cached_property
    def target_inverse_scale(self) -> Tensor:
        return self._stacked([1 / s.target_scale for s in self.splits])[:, None, None]

    def samples(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (S, B, n) and targets (S, B) or (S, B, k) of sample numbers (S, B)."""
        # several times as fast as x[index]
        x = self.material.x.index_select(0, index.flatten()).unflatten(0, index.shape)
        x = x.sub_(self.mean).mul_(self.inverse_scale)
        y = self.material.y[index]
        if self.material.data.classes is None:
            y = (y - self.target_mean) * self.target_inverse_scale
        return x, y

    def first(self, part: str, n: int) -> Tensor:
        """Numbers of the first n samples of each split's part ("train" or "val"; all, if fewer), (S, <=n)."""
        chosen = np.stack([getattr(s, part)[:n] for s in self.splits])
        return torch.from_numpy(chosen).to(self.material.arm.engine.device)

    def probe(self) -> tuple[Tensor, Tensor]:
        """The fixed probe batch: the first 256 training samples."""
        return self.samples(self.first("train", PROBE_SAMPLES))

    def batches(self) -> Iterator[Tensor]:
        """Sample numbers (S, B) of one training batch after another, for ever.

        Each epoch is a new permutation of the training part; its last samples that fill no batch are left out.
        """
        n = len(self.splits[0].train)
        size = batch_size(self.material.arm, n)
        train = torch.from_numpy(np.stack([s.train for s in self.splits]))
        if size == n:
            whole = train.to(self.material.arm.engine.device)
            while True:
                yield whole
        draws = [rng.stream(seed, "batches") for seed in self.seeds]
        while True:
            order = torch.stack([torch.randperm(n, generator=draw) for draw in draws])
            epoch = torch.gather(train, 1, order).to(self.material.arm.engine.device)
            for start in range(0, n - size + 1, size):
                yield epoch[:, start : start + size]

    def start(self) -> dict[str, Tensor]:
        """Stored tensors at step 0, `(S, fan_out, fan_in)` and `(S, fan_out)`."""
        started = [start_of_seed(self.material, seed) for seed in self.seeds]
        return {name: torch.stack([one[name] for one in started]) for name in started[0]}


@dataclass(frozen=True)
class Draws:
    """What the initializer draws for one seed, layer by layer: the `Draw` of a sharing scheme.

    Drawn in float64 on the CPU; the noise of a layer depends on the seed and its number only, so arms are paired. A
    bias is filled together with the weight of its layer, so that laws over both (rai ...) hold, also where only one of
    the two is stored.
    """

    material: Material
    seed: int
    drawn: dict[tuple[int, int], tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def stream(self, *path: str | int) -> torch.Generator:
        """A named random stream of this seed."""
        return rng.stream(self.seed, *path)

    def layer(self, index: int, copy: int = 0) -> tuple[Tensor, Tensor | None]:
        """Weight (fan_out, fan_in) and bias (fan_out,) of a layer, drawn once."""
        if (index, copy) not in self.drawn:
            arm, spec = self.material.arm, self.material.layers[index]
            path = (index, copy) if copy else (index,)
            weight = torch.zeros(spec.shape, dtype=torch.float64)
            bias = torch.zeros(spec.fan_out, dtype=torch.float64) if arm.model.bias else None
            self.material.initializer.start_(
                weight,
                bias,
                layer=spec,
                generator=self.stream("weight", *path),
                bias_generator=self.stream("bias", *path),
                targets=partial(training_targets, self.material.data, self.material.loss, self.seed),
            )
            self.drawn[index, copy] = weight, bias
        return self.drawn[index, copy]

    def __call__(self, layer: int, copy: int = 0) -> Tensor:
        """The weight of a layer, (fan_out, fan_in)."""
        return self.layer(layer, copy)[0].clone()

    def bias(self, layer: int) -> Tensor:
        """The bias of a layer, (fan_out,)."""
        bias = self.layer(layer)[1]
        assert bias is not None, "the net has no biases"
        return bias.clone()


def start_of_seed(material: Material, seed: int) -> Mapping[str, Tensor]:
    """Every stored tensor of one seed, each filled once with the fans of its first use, cast to the arm's dtype, so that
    float32 and float64 runs start alike."""
    arm, scheme, draws = material.arm, material.scheme, Draws(material, seed)
    if material.initializer.needs != "nothing":
        stored = dict(net_start(arm, material.data, material.net, material.loss, seed))
    else:
        stored = scheme.start(draws)
        stored.update((slot.name, draws.bias(slot.origin)) for slot in scheme.biases)
        stored = material.net.started(stored)
    stored = material.net.rescaled(stored)
    for name, tensor in stored.items():
        if not torch.isfinite(tensor).all():
            raise refusal(
                f"init={arm.init.name}", f"{name} starts with values that are not finite", "change its arguments"
            )
    return {name: tensor.to(material.dtype).to(arm.engine.device) for name, tensor in stored.items()}


def batch_size(arm: ArmConfig, train_samples: int) -> int:
    """Samples a step: all, where the configuration says null or more than there are."""
    return min(arm.optim.batch_size or train_samples, train_samples)


def loss_name(arm: ArmConfig, data: Dataset) -> str:
    """Cross-entropy for classes and squared error for values, unless the configuration says otherwise."""
    if arm.train.loss == "auto":
        return "squared_error" if data.classes is None else "cross_entropy"
    if arm.train.loss in OF_CLASSES and data.classes is None:
        raise refusal(
            f"train.loss={arm.train.loss}", "these data have no classes", "must be one of: auto, squared_error"
        )
    return arm.train.loss
