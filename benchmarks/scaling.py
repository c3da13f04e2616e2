"""Does cost stay in proportion? Time of a run-step and peak memory by number of runs, and time of a layer by depth.

    python -m benchmarks.scaling [--rounds 3]

Time: one chunk after another in one process on one core, processor time, sizes by turns; 6 x 32 ReLU on digits, batch 64,
default evaluations and measures; 20 steps. Memory: the whole command with its report in a process of its own, the largest
resident size of any of its processes. Run from the top of the repository.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch

from initbench import data
from initbench.engine.pool import chunks
from initbench.engine.worker import trainer
from initbench.sweep import expand

LRS = "0.01,0.03,0.1,0.3,1"
STEPS = 20
SIZES = {"kernel": (100, 1_000, 10_000), "torch": (100, 1_000, 10_000)}
DEPTHS = (2, 6, 20, 60)


def command(runs: int, *more: str) -> list[str]:
    """Overrides of one arm of so many runs."""
    return [
        *("init=kaiming_normal", "sharing=none", f"seeds={runs // 5}", f"optim.lr=[{LRS}]", f"train.steps={STEPS}"),
        *more,
    ]


def per_run_step(path: str, runs: int, *more: str) -> float:
    """Microseconds of processor time a run-step, drawing the start included."""
    arm = expand(command(runs, *more))[0]
    loaded = data.load(arm.data)
    train = trainer(path)
    began = time.process_time()
    for part in chunks(arm, arm.runs, arm.model.layers(loaded.inputs, loaded.outputs), workers=1):
        train(arm, part, loaded)
    return (time.process_time() - began) / runs / STEPS * 1e6


def by_turns(rounds: int, measures: dict[str, tuple[str, int, tuple[str, ...]]]) -> dict[str, list[float]]:
    """Values of each measure, one round after another."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for path, runs, more in measures.values():
        per_run_step(path, min(runs, 10), *more)  # compiled and warm
    for _ in range(rounds):
        for name, (path, runs, more) in measures.items():
            found[name].append(per_run_step(path, runs, *more))
    return found


def text(values: list[float]) -> str:
    """Median [smallest, largest]."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def peak(runs: int) -> float:
    """Megabytes of the largest process of a whole command."""
    with tempfile.TemporaryDirectory() as folder:
        whole = [sys.executable, "-m", "initbench", *command(runs, f"outputs={folder}", "track.uri=null")]
        lone = f"import resource, subprocess; subprocess.run({whole!r}, check=True, capture_output=True); " \
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
        answer = subprocess.run([sys.executable, "-c", lone], check=True, capture_output=True, text=True)
    return int(answer.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("runs", "depth", "memory"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.only in (None, "runs"):
        print("| path | runs | us a run-step | times that of 100 |\n|---|---|---|---|", flush=True)
        for path, sizes in SIZES.items():
            found = by_turns(args.rounds, {str(n): (path, n, ()) for n in sizes})
            for n in sizes:
                ratio = [a / b for a, b in zip(found[str(n)], found["100"])]
                print(f"| {path} | {n} | {text(found[str(n)])} | {statistics.median(ratio):.2f} |", flush=True)
    if args.only in (None, "depth"):
        print("\n| path | depth | us a run-step | us a layer |\n|---|---|---|---|", flush=True)
        for path in SIZES:
            found = by_turns(args.rounds, {str(d): (path, 50, (f"model.depth={d}",)) for d in DEPTHS})
            for d in DEPTHS:
                each = statistics.median(found[str(d)]) / (d + 1)
                print(f"| {path} | {d} | {text(found[str(d)])} | {each:.2f} |", flush=True)
    if args.only in (None, "memory"):
        small, large = peak(200), peak(10_000)
        print(
            f"\npeak memory of the whole command: {small:.0f} MB at 200 runs, {large:.0f} MB at 10,000: {large / small:.2f} times"
        )


if __name__ == "__main__":
    main()
