"""Is orthogonal initialization unsuitable for nonlinear nets such as ReLU: does it train later than a Gaussian one?

At equal variance of an entry, so that nothing but orthogonality differs: with gain 1 against variance 1/fan_in, with the
activation's gain against gain^2/fan_in. Every matrix here has fan_out <= fan_in, where orthogonal rows have that variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from initbench import claims
from initbench.reproduce import Verdict

HERE = Path(__file__).parent
PARTS = {"gain 1": ("orthogonal", "lecun_normal"), "activation's gain": ("orthogonal(gain)", "kaiming_normal")}


def predict() -> str:
    """What the claim says, part by part."""
    return claims.predicted(HERE)


def measure(
    folder: Path, quick: bool = False, extra: Sequence[str] = (), say: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Train, and test every part in every cell."""
    return analyse(*claims.swept(HERE, folder, quick, extra, say), claims.family(HERE, quick))


def analyse(runs: pd.DataFrame, history: pd.DataFrame, family: int) -> pd.DataFrame:
    """From the frames alone: races of orthogonal against Gaussian weights of the same variance."""
    gained = runs["setup"].astype(str).str.contains("gain=", regex=False)
    frames = claims.framed(runs, history, runs["init.name"].astype(str).mask(gained, "orthogonal(gain)"))
    entries = [
        claims.race(frames, part, cell, setup, baseline, "above")
        for part, (setup, baseline) in PARTS.items()
        for cell in frames.cells
    ]
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
