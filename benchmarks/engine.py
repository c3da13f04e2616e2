"""How long one step of one run takes, by peer and cell: python -m benchmarks.engine [--jax PYTHON] [--cells a,b] [--rounds n]

Every peer has one core (its affinity) and one thread, peers take turns (A B C A B C), and processor time is counted: so
other load on the machine disturbs little, and what a machine does in all is this times its cores, since every peer can be
run once a core. Prints a Markdown table: median microseconds a run-step (range of the rounds), and the share of the
best sgemm rate measured in the same process. Run from the top of the repository.
"""

from __future__ import annotations

import argparse
import os
import statistics

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch
from benchmarks import peers
from benchmarks.cells import CELLS, Cell

SLOW = 2e6  # microseconds that a slow peer may take a training; else its place stays empty
GUESS = {"sequential": 700.0, "vmap": 400.0}  # microseconds a run-step, at least


def contenders(cell: Cell, jax: str | None) -> dict[str, peers.Train]:
    """Who takes part in a cell."""
    found: dict[str, peers.Train] = {}
    for name, make in (("sequential", peers.sequential), ("vmap", peers.vmap)):
        if not cell.measured and GUESS[name] * cell.depth / 6 * cell.runs * cell.steps < SLOW:
            found[name] = make(cell)
    if jax:
        found["jax"] = peers.Jax(jax, cell)
    found["torch path"] = peers.initbench(cell, "torch")
    found["kernel"] = peers.initbench(cell, "kernel")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jax", help="Python of an environment with JAX; without it that peer is left out")
    parser.add_argument("--cells", help="names, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    names = args.cells.split(",") if args.cells else [cell.name for cell in CELLS]
    peaks: list[float] = []
    print("| cell | sequential | vmap | jax (compile s) | torch path | kernel | kernel, share of peak |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for cell in (cell for cell in CELLS if cell.name in names):
        runners = contenders(cell, args.jax)
        for name in ("torch path", "kernel"):
            runners[name]()  # compiled and warm
        times: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(args.rounds):
            for name, run in runners.items():
                times[name].append(run() / cell.runs / cell.steps * 1e6)
            peaks += [peers.numpy_peak(), peers.torch_peak()]
        row = [text(times.get(name)) for name in ("sequential", "vmap", "jax", "torch path", "kernel")]
        if "jax" in runners:
            row[2] += f" ({runners['jax'].compiled:.1f})"  # type: ignore[attr-defined]
            runners["jax"].close()  # type: ignore[attr-defined]
        rate = cell.flops / statistics.median(times["kernel"]) * 1e6
        row.append("" if cell.measured else f"{rate / max(peaks):.0%}")
        print(f"| {cell.name} | " + " | ".join(row) + " |", flush=True)
    print(f"\nsgemm: best {max(peaks) / 1e9:.0f} GFlop/s, median {statistics.median(peaks) / 1e9:.0f}")


def text(times: list[float] | None) -> str:
    """Median (smallest-largest), or nothing."""
    if not times:
        return ""
    return f"{statistics.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"


if __name__ == "__main__":
    main()
