"""What a study leaves in its folder: its frames, study.json, and the report from them.

Another process may be asked for both: what they need is imported by the one that does them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from initbench.study.results import Results


def record(content: dict[str, Any], root: Path, folder: Path, reasons: Mapping[str, str] = {}) -> Results:
    """Frames from the store at `root`, and study.json from `content`, whose arms have failed if runs of theirs are absent.

    `reasons`: arm key -> why.
    """
    from initbench.store.parts import Store
    from initbench.study.results import Results, frames

    runs, history = frames(content, Store(root), folder)
    absent = set(runs.loc[runs["status"] == "failed", "arm"]) if len(runs) else set()
    for arm in content["arms"]:
        if arm["status"] == "done" and arm["label"] in absent:
            why = reasons.get(arm["arm_key"], "its runs were not trained; run the same command again")
            arm["status"], arm["reason"] = "failed", why
    results = Results(runs, history, content, folder)
    results.save()
    return results


def report(folder: Path, formats: Sequence[str]) -> tuple[dict[str, Path], pd.DataFrame]:
    """The report of the study that is in the folder, and its leaderboard."""
    from initbench.report import open_source, write

    source = open_source(folder)
    return write(source, formats), source.board
