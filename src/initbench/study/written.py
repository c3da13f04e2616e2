"""What a study leaves in its folder: its frames, study.json, and the report from them.

Another process may be asked for both: what they need is imported by the one that does them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initbench.study.results import Results


def record(content: dict[str, Any], root: Path, folder: Path, launcher_failed: str | None = None) -> Results:
    """Frames from the store at `root`, and study.json from `content`, whose arms have failed if runs of theirs are absent."""
    from initbench.store.parts import Store
    from initbench.study.results import Results, frames

    runs, history = frames(content, Store(root), folder)
    absent = set(runs.loc[runs["status"] == "failed", "arm"]) if len(runs) else set()
    for arm in content["arms"]:
        if arm["status"] == "done" and arm["label"] in absent:
            arm["status"], arm["reason"] = (
                "failed",
                launcher_failed or "its runs were not trained; run the same command again",
            )
    results = Results(runs, history, content, folder)
    results.save()
    return results


def report(folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    """The report of the study that is in the folder."""
    from initbench.report import build

    return build(folder, formats=formats)
