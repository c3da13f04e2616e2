"""Does cost grow linearly? Time by number of runs and by depth, and peak memory of 200 runs against 10,000.

    python -m benchmarks.scaling [--rounds 5] [--only runs|depth|memory] [--quick]

Time: microseconds a run-step of training (its start subtracted) in this process, one thread; sizes take turns in each round;
ratios to 100 runs, by processor and wall time. Depth: what each further layer costs, from one depth to the next, also of
the matrix products alone. Memory: a child process each; `engine` trains and stores all chunks, `command` is
`python -m initbench` with its frames and report, `tracked` the same with MLflow in SQLite; `frames` is what the study's
frames, which hold a value for every run, step and metric, would take in memory by themselves. After training the paths do
the same: the commands are measured on the kernel's. Prints Markdown, writes results/scaling.json. From the top of the
repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch
from benchmarks.cells import BATCH, Cell
from benchmarks.peers import trainings

RESULTS = Path(__file__).parent / "results" / "scaling.json"
PATHS = {"kernel": "auto", "torch": "stacked"}  # and its name as engine=
DEPTHS = (2, 6, 20, 60)
Pair = tuple[float, float]  # processor seconds, wall seconds

ENGINE = """
import sys
from pathlib import Path
from initbench.study.pool import Pool
from initbench.study.launch import Trainer, train_arm
from initbench.overrides.expand import expand
folder, *overrides = sys.argv[1:]
trainer = Trainer(Path(folder) / "store", Pool(1))
train_arm(trainer, expand(overrides)[0])
trainer.drain()
"""
HELD = """
import sys
import initbench
results = initbench.load(sys.argv[1])
print(results.history.memory_usage(deep=True).sum() + results.runs.memory_usage(deep=True).sum())
"""


def timed(work: Callable[[], None]) -> Pair:
    """Processor and wall seconds of a call."""
    cpu, wall = time.process_time(), time.monotonic()
    work()
    return time.process_time() - cpu, time.monotonic() - wall


def products(cell: Cell) -> tuple[Callable[[], None], Callable[[], None]]:
    """The matrix products of a cell's steps by torch.bmm and nothing else, outputs given; and what does nothing."""
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(cell.runs, m, n, generator=draw) / n**0.5 for n, m in pairwise(cell.sizes)]
    hs = [torch.randn(cell.runs, n, BATCH, generator=draw) for n in cell.sizes]
    turns = [torch.empty(cell.runs, cell.width, BATCH) for _ in range(2)]
    grads = {w.shape: torch.empty_like(w) for w in weights}

    def train() -> None:
        for _ in range(cell.steps):
            for i, w in enumerate(weights):
                torch.bmm(w, hs[i], out=hs[i + 1])
            dz = hs[-1]
            for i in range(len(weights) - 1, -1, -1):
                torch.bmm(dz, hs[i].mT, out=grads[weights[i].shape])
                if i:
                    dz = torch.bmm(weights[i].mT, dz, out=turns[i % 2])

    return train, lambda: None


def by_turns(cells: Iterable[tuple[str, Cell]], rounds: int) -> dict[str, list[Pair]]:
    """Microseconds a run-step of every path, cell and round, as "path name"."""
    named = {f"{path} {cell.name}": (path, cell) for path, cell in cells}
    work = {
        name: products(cell) if path == "products" else trainings(cell, path) for name, (path, cell) in named.items()
    }
    for train, _ in work.values():
        train()  # compiled and warm
        break
    found: dict[str, list[Pair]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (train, begin) in work.items():
            (cpu, wall), (cpu_before, wall_before) = timed(train), timed(begin)
            scale = 1e6 / named[name][1].runs / named[name][1].steps
            found[name].append(((cpu - cpu_before) * scale, (wall - wall_before) * scale))
    return found


def middle(times: list[Pair], clock: int = 0) -> float:
    """Median of the rounds by processor (0) or wall (1)."""
    return statistics.median(pair[clock] for pair in times)


def of_runs(counts: list[int], rounds: int) -> dict[str, object]:
    """Time by number of runs, the first as the yardstick; ratios are taken round by round."""
    found: dict[str, object] = {}
    print("| path | runs | us a run-step (cpu) | to the first: cpu | wall |\n|---|---|---|---|---|")
    for path in PATHS:
        # as many steps each: what is done once a stack weighs the same
        cells = [Cell(str(n), n, 32, steps=60) for n in counts]
        times = by_turns([(path, cell) for cell in cells], rounds)
        for n in counts:
            pairs = list(zip(times[f"{path} {n}"], times[f"{path} {counts[0]}"]))
            ratios = [statistics.median(one[clock] / first[clock] for one, first in pairs) for clock in (0, 1)]
            print(
                f"| {path} | {n} | {middle(times[f'{path} {n}']):.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True
            )
        found[path] = times
    return found


def of_depth(rounds: int) -> dict[str, object]:
    """Time by depth: a run-step, and what each further layer adds."""
    found: dict[str, object] = {}
    print("\n| path | depth | us a run-step (cpu) | each further layer |\n|---|---|---|---|")
    paths = (*PATHS, "products")  # the last: what the torch path cannot go below
    cells = [Cell(str(d), 20, 64, depth=d, steps=max(30, 240 // d)) for d in DEPTHS]
    times = by_turns([(path, cell) for cell in cells for path in paths], rounds)
    for path in paths:
        before: int | None = None
        for d in DEPTHS:
            now, added = times[f"{path} {d}"], ""
            if before is not None:
                steps = [(one[0] - other[0]) / (d - before) for one, other in zip(now, times[f"{path} {before}"])]
                added = f"{statistics.median(steps):.1f}"
            print(f"| {path} | {d} | {middle(now):.1f} | {added} |", flush=True)
            before = d
        found[path] = {d: times[f"{path} {d}"] for d in DEPTHS}
    return found


def peak(command: list[str]) -> float:
    """Peak memory of a child process in MiB (all work in that one process)."""
    child = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)[-300:]} ended with status {child.returncode}")
    return used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def of_memory(counts: list[int], steps: int) -> dict[str, object]:
    """Peak memory by number of runs of one arm."""
    found: dict[str, object] = {}
    print("\n| what | path | runs | peak MiB | to the first | frames MiB |\n|---|---|---|---|---|---|")
    for path in PATHS:
        for what in ("engine", "command", "tracked") if path == "kernel" else ("engine",):
            first = 0.0
            for runs in counts:
                with tempfile.TemporaryDirectory() as folder:
                    overrides = [
                        *(
                            "init=kaiming_normal",
                            "sharing=none",
                            f"seeds={runs // 5}",
                            "optim.lr=[.01,.02,.03,.04,.05]",
                        ),
                        *(f"train.steps={steps}", f"engine={PATHS[path]}", "engine.workers=1"),
                        f"track.uri={f'sqlite:///{folder}/mlflow.db' if what == 'tracked' else 'null'}",
                    ]
                    if what == "engine":
                        used, held = peak(["-c", ENGINE, folder, *overrides]), ""
                    else:
                        used = peak(["-m", "initbench", *overrides, f"outputs={folder}", "study=scaling"])
                        said = subprocess.run(
                            [sys.executable, "-c", HELD, f"{folder}/scaling"],
                            capture_output=True,
                            text=True,
                            check=True,
                        )
                        held = f"{int(said.stdout) / 2**20:.0f}"
                first = first or used
                print(f"| {what} | {path} | {runs} | {used:.0f} | {used / first:.2f} | {held} |", flush=True)
                found[f"{what} {path} {runs}"] = used
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs, one round")
    parser.add_argument("--steps", type=int, default=300, help="of the memory part")
    parser.add_argument("--only", choices=("runs", "depth", "memory"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 1 if args.quick else args.rounds
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "runs": lambda: of_runs([20, 100, 1000] if args.quick else [100, 1000, 10000], rounds),
        "depth": lambda: of_depth(rounds),
        "memory": lambda: of_memory([200, 1000] if args.quick else [200, 10000], 30 if args.quick else args.steps),
    }
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name, part in parts.items():
        if args.only in (None, name):
            found[name] = {"rounds": rounds, "quick": args.quick, **part()}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
