"""Who trains a cell: each peer is prepared once and gives a function that trains once and returns its seconds.

Seconds are of the processor, or of the wall where a clock is given: `time.process_time` and `time.monotonic`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmarks.cells import BATCH, LR, Cell, batches, data, start
from torch import nn

from initbench.engine.schedule import evaluation_steps, measure_steps

Train = Callable[[], float]
Clock = Callable[[], float]


def clocked(work: Callable[[], object], clock: Clock = time.process_time) -> float:
    """Seconds of a call in this process."""
    began = clock()
    work()
    return clock() - began


def sequential(cell: Cell, clock: Clock = time.process_time) -> Train:
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

    return partial(clocked, work, clock)


def vmap(cell: Cell, clock: Clock = time.process_time) -> Train:
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

    return partial(clocked, work, clock)


def initbench(cell: Cell, path: str, clock: Clock = time.process_time) -> Train:
    """This project's engine on a path; the start of a chunk (drawing, splits) is not counted, as compiling is not."""
    train, begin = trainings(cell, path)
    return lambda: clocked(train, clock) - clocked(begin, clock)


def trainings(cell: Cell, path: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """This project's engine on a path: what trains the cell, and what only starts it, chunk by chunk."""
    from initbench import data as datasets
    from initbench.config.groups import EvaluateConfig, MeasureConfig
    from initbench.engine.trainers import named
    from initbench.overrides.expand import expand
    from initbench.study.pool import chunks

    rates = max(1, cell.runs // 20)
    arm = expand(
        [
            *("init=kaiming_normal", "sharing=none", f"seeds={-(-cell.runs // rates)}", f"optim.batch_size={BATCH}"),
            *(f"model.width={cell.width}", f"model.depth={cell.depth}", f"train.steps={cell.steps}"),
            "optim.lr=[" + ",".join(f"{LR * (1 + i / rates)}" for i in range(rates)) + "]",
            "train.loss=cross_entropy",
        ]
    )[0]
    if not cell.measured:
        rare = replace(arm.train, evaluate=EvaluateConfig(dense=0, ratio=1e9), eval_samples=1)
        arm = replace(arm, train=rare, measure=MeasureConfig("none"))
    trainer, loaded = named(path), datasets.load(arm.data)
    none = replace(arm, train=replace(arm.train, steps=0))
    layers = arm.model.layers(loaded.inputs, loaded.outputs)

    def work(arm) -> None:  # type: ignore[no-untyped-def]
        for runs in chunks(arm, arm.runs[: cell.runs], layers, workers=1, trainer=path):
            trainer.train(arm, runs, loaded, lambda done: None)

    return partial(work, arm), partial(work, none)


PEERS: dict[str, Callable[[Cell, Clock], Train]] = {
    "sequential": sequential,
    "vmap": vmap,
    "torch path": lambda cell, clock: initbench(cell, "stacked", clock),
    "kernel": lambda cell, clock: initbench(cell, "kernel", clock),
}


class Share:
    """A peer in a process of its own, which reads a cell, prepares it, and trains once for each further line."""

    def __init__(self, command: list[str], first: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self.name = " ".join(command)
        self.send(first)

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> float:
        """The seconds of the next answer."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"{self.name} ended; see its error above")
        return float(answer[1])

    def close(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


class Jax:
    """The JAX peer in its own process; `compiled` is its first call, compiling included, in seconds.

    `clock`: cpu for one core (its affinity is this process's), wall for JAX with as many threads as it likes.
    """

    def __init__(self, python: str, cell: Cell, clock: str = "cpu") -> None:
        place = {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
        work = [cell.name, evaluation_steps(cell.steps), measure_steps(cell.steps, {"log": 15})]
        self.share = Share([python, "-m", "benchmarks.jax_peer", clock], json.dumps(work), place)
        self.compiled = self.share.answer()

    def __call__(self) -> float:
        self.share.send("go")
        return self.share.answer()

    def close(self) -> None:
        self.share.close()


class EachCore:
    """A peer once a core, every process with its share of the runs and one thread; seconds are those of the slowest."""

    def __init__(self, name: str, cell: Cell, cores: int) -> None:
        processes = min(cores, cell.runs)
        self.shares = [
            Share([sys.executable, "-m", "benchmarks.share_peer"], f"{cell.name}|{name}|{i}|{processes}", {})
            for i in range(processes)
        ]
        for share in self.shares:
            share.answer()

    def __call__(self) -> float:
        for share in self.shares:
            share.send("go")
        return max(share.answer() for share in self.shares)

    def close(self) -> None:
        for share in self.shares:
            share.close()


def peaks() -> dict[str, float]:
    """Operations a second of each installed BLAS, 1024 x 1024 matrices of float32 on one thread, best of five."""
    from scipy.linalg.blas import sgemm

    a = np.asfortranarray(np.random.default_rng(0).standard_normal((1024, 1024)).astype("f4"))
    b = torch.from_numpy(np.ascontiguousarray(a))
    products = {"numpy": lambda: a @ a, "scipy": lambda: sgemm(1.0, a, a), "torch": lambda: b @ b}
    return {name: 2 * 1024**3 / min(clocked(product) for _ in range(5)) for name, product in products.items()}
