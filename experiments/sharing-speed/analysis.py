"""Does sharing one weight among all hidden layers save numbers, memory and compute, and does it speed up training?

Against two untied nets: one of the same width, which costs as many operations a step, and a narrower one that stores as
many numbers. Steps to target at learning rates chosen on other seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from initbench import claims
from initbench.reproduce import Verdict

HERE = Path(__file__).parent
COSTS = {"parameters": "stored_parameters", "memory": "state_bytes", "compute": "flops_per_step"}


def predict() -> str:
    """What the claim says, part by part."""
    return claims.predicted(HERE)


def measure(
    folder: Path, quick: bool = False, extra: Sequence[str] = (), say: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Train, and test every part in every cell."""
    return analyse(*claims.swept(HERE, folder, quick, extra, say), claims.family(HERE, quick))


def analyse(runs: pd.DataFrame, history: pd.DataFrame, family: int) -> pd.DataFrame:
    """From the frames alone: exact ratios of costs, races to the target."""
    frames = claims.framed(runs, history, claims.sharing_role(runs))
    entries = []
    for part, column in COSTS.items():
        for cell in frames.cells:
            cost = frames.runs[frames.runs["setting"] == cell].groupby("setup")[column].first()
            ratio = float(cost["all"] / cost["none"])
            entries.append(claims.exact(part, cell, "all", "none", "below", column, ratio))
    for part, control in (("speed", "none"), ("speed per number", "narrow")):
        entries += [claims.race(frames, part, cell, "all", control, "below") for cell in frames.cells]
    return claims.corrected(entries, family, claims.load(HERE).digest)


def verdict(measured: pd.DataFrame) -> Verdict:
    """From the table of words."""
    return claims.judged(HERE, measured)


def page(measured: pd.DataFrame) -> str:
    """The result as Markdown: what stands in README.md."""
    return claims.block(HERE, measured)


def figure(measured: pd.DataFrame) -> str:
    """The result as SVG."""
    return claims.figure(HERE, measured)
