"""What the starts that see a whole net cost, in training steps of the run they start.

    python benchmarks/starts.py

On the default net (6 x 32 ReLU, digits, batch 64): processor seconds of one start, over processor seconds of one step
of one run, trained among 50 as a study does. Rounds are interleaved; medians with quartiles.
"""

from __future__ import annotations

import sys
from statistics import median, quantiles
from time import process_time

import torch

from initbench import data
from initbench.config.arm import ArmConfig
from initbench.engine import netstart, stacked
from initbench.engine.material import Material
from initbench.overrides.expand import expand

NAMES = (
    "lsuv",
    "weight_norm_ddi",
    "krahenbuhl",
    "krahenbuhl_between",
    "krahenbuhl_kmeans",
    "nio",
    "gradinit",
    "metainit",
)
ROUNDS, STEPS = 5, 40


def arm_of(name: str) -> ArmConfig:
    """One arm of the default setting."""
    return expand([f"init={name}", "sharing=none", "seeds=10", f"train.steps={STEPS}", "measure=none"])[0]


def start_seconds(name: str) -> float:
    """Processor seconds of one start, computed anew."""
    arm = arm_of(name)
    material = Material(arm, data.load(arm.data))
    netstart._kept.clear()
    began = process_time()
    netstart.net_start(arm, material.data, material.net, material.loss, 0)
    return process_time() - began


def step_seconds() -> float:
    """Processor seconds of one step of one run among 50."""
    arm = arm_of("kaiming_normal")
    held = data.load(arm.data)
    began = process_time()
    stacked.run_chunk(arm, arm.runs, held)
    return (process_time() - began) / STEPS / len(arm.runs)


def main() -> None:
    torch.set_num_threads(1)
    steps: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in NAMES}
    start_seconds("lsuv")  # imports and caches
    for _ in range(ROUNDS):
        for name in NAMES:
            steps.append(step_seconds())
            ratios[name].append(start_seconds(name) / steps[-1])
    print(f"{ROUNDS} rounds; a start costs as much as this many training steps of one run")
    for name, found in ratios.items():
        low, _, high = quantiles(found, n=4)
        print(f"{name:20} {median(found):8.0f}   [{low:.0f}, {high:.0f}]")


if __name__ == "__main__":
    sys.exit(main())
