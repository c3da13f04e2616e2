"""The runs of a claim: the sweeps of its predictions.yaml through the package's own command; stored runs are not trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from initbench.claims.prediction import load
from initbench.overrides.read import completed


def swept(
    study: Path,
    folder: Path,
    quick: bool = False,
    extra: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, history) of all sweeps of a study; the store stands beside `folder`, so that studies share their runs."""
    import initbench as ib

    runs, history = [], []
    sweeps = load(study).overrides(quick)
    for i, (name, overrides) in enumerate(sweeps.items()):
        say(f"sweep {i + 1} of {len(sweeps)}: {name}")
        fixed = [
            *("track.uri=null", "report.formats=[csv]"),
            *(f"outputs={folder.parent}", f"study={folder.name}_{name}{'_quick' if quick else ''}"),
            *extra,
        ]
        one = ib.run(completed(overrides, fixed=fixed))
        runs.append(one.runs)
        history.append(one.history.assign(run=one.history["run"].astype(str), metric=one.history["metric"].astype(str)))
    frame = pd.concat(runs, ignore_index=True).drop_duplicates("run")
    return frame, pd.concat(history, ignore_index=True)
