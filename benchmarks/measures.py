"""What do measures cost? The same runs with measure=none, light and full, interleaved in one process.

    python benchmarks/measures.py                # about two minutes on one core
    python benchmarks/measures.py --rounds 3     # a quick look

One chunk of the default study's runs at a time (6 x 32 ReLU on digits, batch 64, 300 steps, 15 measured steps), trained
and evaluated on each path; the order of the three goes round. Reported: CPU seconds, ratio to `none` as the
median over rounds with the smallest and largest, and what each metric of `full` costs alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from initbench import data
from initbench.engine.trainers import named
from initbench.measure import MEASURES, SETS
from initbench.overrides.expand import expand
from initbench.study.plan import planned

RESULTS = Path(__file__).parent / "results" / "measures.json"
RUNS = 50
SHARINGS = ("none", "all")
PATHS = ("kernel", "stacked")


def cpu_seconds(arm, runs, path: str = "stacked") -> float:
    """CPU time of one chunk: other processes on the machine do not count."""
    before = time.process_time()
    named(path).train(arm, runs, data.load(arm.data), lambda done: None)
    return time.process_time() - before


def compared(sharing: str, path: str, rounds: int) -> dict[str, object]:
    """CPU seconds of none, light and full by turns."""
    command = ["init=kaiming_normal", f"sharing={sharing}", "optim.lr=[0.01,0.03,0.1,0.3,1]"]
    arm = planned(expand(command)[0]).config
    runs = list(arm.runs)[:RUNS]
    arms = {name: replace(arm, measure=replace(arm.measure, name=name)) for name in SETS}
    for one in arms.values():
        cpu_seconds(replace(one, train=replace(one.train, steps=5)), runs, path)  # warm
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for i in range(rounds):
        for name in names[i % 3 :] + names[: i % 3]:
            seconds[name].append(cpu_seconds(arms[name], runs, path))
    ratios = {name: [a / b for a, b in zip(seconds[name], seconds["none"])] for name in names if name != "none"}
    return {
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "ratio": {name: [statistics.median(v), min(v), max(v)] for name, v in ratios.items()},
        "rounds": rounds,
    }


def alone(repeats: int = 15) -> dict[str, float]:
    """CPU milliseconds a measured step of each metric for RUNS runs, median; the probe's two passes are the first line."""
    arm = planned(expand(["init=kaiming_normal", "sharing=all", "optim.lr=[0.01,0.03,0.1,0.3,1]"])[0]).config
    runs = list(arm.runs)[:RUNS]
    step = replace(arm, train=replace(arm.train, steps=repeats, eval_samples=1))

    def per_step(metrics: list[str]) -> float:
        schedule = list(range(repeats + 1))
        measured = replace(step, measure=replace(step.measure, metrics=metrics, schedule=schedule))
        return statistics.median(cpu_seconds(measured, runs) for _ in range(3)) * 1e3 / (repeats + 1)

    bare = statistics.median(
        cpu_seconds(replace(step, measure=replace(step.measure, name="none")), runs) for _ in range(3)
    ) * 1e3 / (repeats + 1)  # fmt: skip
    probe = per_step(["preactivation_msq"])
    return {"probe and preactivation_msq": probe - bare, **{name: per_step(["preactivation_msq", name]) - probe
                                                            for name in MEASURES if name != "preactivation_msq"}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", action="store_true", help="the cost of each metric alone too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    for path, sharing in product(PATHS, SHARINGS):
        one = compared(sharing, path, args.rounds)
        found[f"{path}, sharing={sharing}"] = one
        for name, (middle, low, high) in one["ratio"].items():  # type: ignore[attr-defined]
            print(f"{path}, sharing={sharing} measure={name}: {middle:.3f} x none  [{low:.3f}, {high:.3f}], {args.rounds} rounds, "
                  f"{RUNS} runs, {one['seconds'][name]:.2f} against {one['seconds']['none']:.2f} CPU s")  # type: ignore[index]  # fmt: skip
    if args.each:
        found["each"] = alone()
        for name, cost in sorted(found["each"].items(), key=lambda item: -item[1]):  # type: ignore[attr-defined]
            print(f"{cost:8.2f} ms a measured step for {RUNS} runs: {name}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
