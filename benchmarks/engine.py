"""How long one step of one run takes, by peer and cell.

    python -m benchmarks.engine --quick [--jax PYTHON]           # four cells, two rounds
    python -m benchmarks.engine --jax PYTHON [--cells a,b] [--rounds n]
    python -m benchmarks.engine --jax PYTHON --cores all         # wall time, every core in use

One core: every peer has one core (its affinity) and one thread, and processor time is counted, so that other load disturbs little.
All cores: JAX with its own threads, every other peer once a core with its share of the runs; wall time of the slowest, so
the machine must be idle. Peers take turns (A B C A B C). Prints a Markdown table: median microseconds a run-step (range of the
rounds), and the share of the best sgemm rate that any installed BLAS reached in the same process; results/engine.json
holds every round. PYTHON: of an environment with requirements-jax.txt; without it that peer is left out. From the top of the
repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch
from benchmarks import peers
from benchmarks.cells import CELLS, QUICK, Cell, named

RESULTS = Path(__file__).parent / "results" / "engine.json"
SLOW = 2e6  # microseconds that a slow peer may take a training; else its place stays empty
GUESS = {"sequential": 700.0, "vmap": 400.0}  # microseconds a run-step, at least
COLUMNS = ("sequential", "vmap", "jax", "torch path", "kernel")


def takes_part(name: str, cell: Cell) -> bool:
    """Whether a peer can do the cell, in a bearable time."""
    if name in GUESS:
        return not cell.measured and GUESS[name] * cell.depth / 6 * cell.runs * cell.steps < SLOW
    return True


def contenders(cell: Cell, jax: str | None, all_cores: bool) -> dict[str, peers.Train]:
    """Who takes part in a cell."""
    found: dict[str, peers.Train] = {}
    for name in COLUMNS:
        if name == "jax":
            if jax:
                found[name] = peers.Jax(jax, cell, "wall" if all_cores else "cpu")
        elif takes_part(name, cell):
            found[name] = (
                peers.EachCore(name, cell, os.cpu_count() or 1)
                if all_cores
                else peers.PEERS[name](cell, time.process_time)
            )
    return found


def measured(cell: Cell, jax: str | None, all_cores: bool, rounds: int) -> dict[str, object]:
    """Microseconds a run-step of every round by peer, JAX's compile time, and the rates of sgemm meanwhile."""
    runners = contenders(cell, jax, all_cores)
    for name in () if all_cores else ("torch path", "kernel"):
        runners[name]()  # compiled and warm
    times: dict[str, list[float]] = {name: [] for name in runners}
    rates: list[dict[str, float]] = []
    for _ in range(rounds):
        for name, run in runners.items():
            times[name].append(run() / cell.runs / cell.steps * 1e6)
        rates.append(peers.peaks())
    compiled = getattr(runners.get("jax"), "compiled", None)
    for run in runners.values():
        getattr(run, "close", lambda: None)()
    return {"times": times, "compiled": compiled, "sgemm": rates, "flops": cell.flops, "measured": cell.measured}


def row(name: str, one: dict, peak: float, cores: int) -> str:
    """A line of the table; `peak` in operations a second and core."""
    texts = [text(one["times"].get(peer)) for peer in COLUMNS]
    if one["compiled"] is not None:
        texts[2] += f" ({one['compiled']:.1f})"
    middle = {peer: statistics.median(found) for peer, found in one["times"].items()}
    for peer in ("torch path", "kernel"):
        texts.append(f"{middle['jax'] / middle[peer]:.2f}" if "jax" in middle else "")
        share = one["flops"] / middle[peer] * 1e6 / (peak * cores)
        texts.append("" if one["measured"] else f"{share:.0%}")
    return f"| {name} | " + " | ".join(texts) + " |"


def text(times: list[float] | None) -> str:
    """Median (smallest-largest), or nothing."""
    if not times:
        return ""
    return f"{statistics.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jax", help="Python of an environment with JAX; without it that peer is left out")
    parser.add_argument("--cells", help="names, separated by commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="four cells, two rounds")
    parser.add_argument("--cores", choices=("one", "all"), default="one")
    args = parser.parse_args()
    all_cores = args.cores == "all"
    if hasattr(os, "sched_setaffinity") and not all_cores:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cells = [named(name) for name in args.cells.split(",")] if args.cells else list(CELLS)
    if args.quick:
        cells = [named(name) for name in QUICK]
    rounds = args.rounds or (2 if args.quick else 5)
    found: dict[str, dict] = {}
    for cell in cells:
        found[cell.name] = measured(cell, args.jax, all_cores, rounds)
        print(".", end="", flush=True)
    rates: dict[str, list[float]] = {}
    for one in found.values():
        for each in one["sgemm"]:
            for blas, rate in each.items():
                rates.setdefault(blas, []).append(rate)
    peak = max(map(max, rates.values()))
    print(
        "\n| cell | sequential | vmap | jax (compile s) | torch path | kernel | torch path: times jax | share of peak | kernel: times jax | share of peak |"
    )
    print("|---" * 10 + "|")
    for name, one in found.items():
        print(row(name, one, peak, (os.cpu_count() or 1) if all_cores else 1))
    said = ", ".join(
        f"{blas} {max(some) / 1e9:.0f} ({statistics.median(some) / 1e9:.0f})" for blas, some in rates.items()
    )
    print(f"\nus a run-step, {rounds} rounds, cores: {args.cores}; sgemm of one core in GFlop/s, best (median): {said}")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[f"cores={args.cores}"] = {"rounds": rounds, "quick": args.quick, "cells": found}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
