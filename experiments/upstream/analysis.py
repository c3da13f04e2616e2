"""Does a small first layer before a large last one make ReLU nets learn features faster, and linear nets more slowly?

Both starts are the same function of the inputs; biases are zero. The change of the tangent kernel, relative to the kernel
at the start, is taken at the first step of the schedule at which a net has arrived.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: change of the kernel in ReLU and linear nets, and a race of the ReLU nets."""
    start = (runs["init.relative"].astype(float) < 1).map({True: "upstream", False: "balanced"})
    frames = claims.framed(runs, history, start)
    kernel = history[history["metric"] == "kernel_change"]
    arrived = kernel["run"].map(runs.set_index(runs["run"].astype(str))["steps_to_target"])
    change = kernel[kernel["step"] >= arrived].sort_values("step").groupby("run")["value"].first()
    entries = []
    for cell in frames.cells:
        relu = ", relu," in cell
        part, said = ("relu", "above") if relu else ("linear", "below")
        entries.append(
            claims.difference(frames, part, cell, "upstream", "balanced", said, "change of the kernel", change)
        )
        entries += [claims.race(frames, "speed", cell, "upstream", "balanced", "below")] if relu else []
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
