"""Who trains a cell: each peer is prepared once and gives a function that trains once and returns processor seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmarks.cells import BATCH, LR, Cell, batches, data, start
from torch import nn

Train = Callable[[], float]


def clocked(work: Callable[[], object]) -> float:
    """Processor seconds of a call in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def sequential(cell: Cell) -> Train:
    """One nn.Sequential after another, autograd, torch.optim.SGD."""
    x, y = (torch.from_numpy(a) for a in data())
    index, started = torch.from_numpy(batches(cell)).long(), start(cell)

    def work() -> None:
        for r in range(cell.runs):
            layers: list[nn.Module] = []
            for w, b in started:
                linear = nn.Linear(w.shape[2], w.shape[1])
                linear.weight, linear.bias = nn.Parameter(torch.tensor(w[r])), nn.Parameter(torch.tensor(b[r]))
                layers += [linear, nn.ReLU()]
            net = nn.Sequential(*layers[:-1])
            optimizer = torch.optim.SGD(net.parameters(), lr=LR)
            for t in range(cell.steps):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[index[t, r]]), y[index[t, r]]).backward()
                optimizer.step()

    return partial(clocked, work)


def vmap(cell: Cell) -> Train:
    """torch.func: vmap of grad of functional_call over stacked parameters."""
    x, y = (torch.from_numpy(a) for a in data())
    index = torch.from_numpy(batches(cell)).long()
    layers = [m for n, k in zip(cell.sizes, cell.sizes[1:]) for m in (nn.Linear(n, k), nn.ReLU())]
    net = nn.Sequential(*layers[:-1])
    names = [name for name, _ in net.named_parameters()]
    begin = dict(zip(names, (torch.from_numpy(a) for pair in start(cell) for a in pair)))

    def loss(params, x, y):  # type: ignore[no-untyped-def]
        return nn.functional.cross_entropy(torch.func.functional_call(net, params, (x,)), y)

    grads = torch.func.vmap(torch.func.grad(loss))

    def work() -> None:
        params = {name: p.clone() for name, p in begin.items()}
        for t in range(cell.steps):
            found = grads(params, x[index[t]], y[index[t]])
            for name, p in params.items():
                p.sub_(found[name], alpha=LR)

    return partial(clocked, work)


def initbench(cell: Cell, path: str) -> Train:
    """This project's engine on a path; the start of a chunk (drawing, splits) is not counted, as compiling is not."""
    from initbench import data as datasets
    from initbench.engine.pool import chunks
    from initbench.engine.worker import trainer
    from initbench.groups import EvaluateConfig, MeasureConfig
    from initbench.sweep import expand

    arm = expand(
        [
            *("init=kaiming_normal", "sharing=none", f"seeds={min(cell.runs, 20)}", f"optim.batch_size={BATCH}"),
            *(f"model.width={cell.width}", f"model.depth={cell.depth}", f"train.steps={cell.steps}"),
            "optim.lr=[" + ",".join(f"{LR * (1 + i)}" for i in range(max(1, cell.runs // 20))) + "]",
            "train.loss=cross_entropy",
        ]
    )[0]
    from dataclasses import replace

    if not cell.measured:
        rare = replace(arm.train, evaluate=EvaluateConfig(dense=0, ratio=1e9), eval_samples=1)
        arm = replace(arm, train=rare, measure=MeasureConfig("none"))
    train, loaded = trainer(path), datasets.load(arm.data)
    none = replace(arm, train=replace(arm.train, steps=0))
    layers = arm.model.layers(loaded.inputs, loaded.outputs)

    def work(arm) -> None:  # type: ignore[no-untyped-def]
        for runs in chunks(arm, arm.runs, layers, workers=1):
            train(arm, runs, loaded)

    return lambda: clocked(lambda: work(arm)) - clocked(lambda: work(none))


class Jax:
    """The JAX peer in its own process; `compiled` is its first call, compiling included, in seconds."""

    def __init__(self, python: str, cell: Cell) -> None:
        # without XLA's threads: every peer has one core
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.jax_peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.compiled = self.ask(cell.name)

    def ask(self, line: str) -> float:
        """Send a line and read the seconds of the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit("the JAX peer ended; see its error above")
        return float(answer[1])

    def __call__(self) -> float:
        return self.ask("go")

    def close(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def numpy_peak() -> float:
    """Operations a second of NumPy's BLAS, 1024 x 1024 matrices of float32, best of five."""
    a = np.random.default_rng(0).standard_normal((1024, 1024)).astype("f4")
    return 2 * 1024**3 / min(clocked(lambda: a @ a) for _ in range(5))


def torch_peak() -> float:
    """The same of torch's."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(clocked(lambda: a @ a) for _ in range(5))
