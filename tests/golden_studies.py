"""A few small studies that together take every way through the engine, and what came out of them, kept in data/golden.json.

`python tests/golden_studies.py FOLDER` leaves the frames of each study there: run it before and after a change that must
not change a bit, and compare the files. `python tests/golden_studies.py --keep` writes data/golden.json anew, which is
right only where numbers were meant to change (NUMERICS_VERSION).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas as pd

from initbench.measure import MEASURES

KEPT = Path(__file__).parent / "data" / "golden.json"
SMALL = ["model.width=6", "seeds=2", "train.steps=25", "track.uri=null", "engine.workers=1", "report.formats=[csv]"]
TEACHER = ["data=teacher", "data.samples=80", "data.inputs=5", "optim.batch_size=16"]
NET = """\
from torch import nn


def net(inputs, outputs, width=6):
    shared = nn.Linear(width, width)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), shared, nn.Dropout(0.1), shared, nn.Linear(width, outputs))
"""
EVERY = f"measure.metrics=[{','.join(MEASURES)}]"
# each with the trainer that it is for; learning rates of which one diverges where runs may stop early
STOP = ["train.stop_when_reached=true", "train.target.value=0.3", "train.evaluate.dense=2", "train.evaluate.ratio=2"]
DIVERGING = ["model.activation=abs", "optim.lr=[0.1,100]"]
STUDIES: dict[str, list[str]] = {
    "kernel": ["init=kaiming_normal,orthogonal", "sharing=none,all", "optim.lr=[0.1,0.3]", "model.depth=3"],
    "kernel_stop": ["init=kaiming_normal", "sharing=none", *DIVERGING, "model.depth=2", EVERY, *STOP],
    "stacked": ["init=orthogonal", "sharing=none,low_rank_delta,soft", "optim=adam", "optim.clip=1", EVERY,
                "model.depth=3", "optim.lr=0.01", "model.dtype=float64"],
    "stacked_stop": ["init=kaiming_normal", "sharing=tie_then_untie", "sharing.step=9", *DIVERGING,
                     "model.depth=3", *STOP],
    "residual": ["init=kaiming_normal", "sharing=none", "model=residual_mlp", "model.residual=fixup", "model.depth=5",
                 "optim=adamw", "optim.lr=[0.003,0.01]", "optim.schedule=cosine"],
    "reference": ["init=kaiming_normal", "sharing=tie_then_untie", "sharing.step=9", "optim=momentum", "optim.lr=[0.01,0.1]",
                  "engine=single", "model.depth=3", "model.dtype=float64", EVERY],
    "reference_stop": ["init=kaiming_normal", "sharing=all", *DIVERGING, "engine=single", "model.depth=3", *STOP],
    "values": [*TEACHER, "init=xavier_normal", "sharing=cycle", "optim=rmsprop", "optim.lr=[0.003,0.01]", "model.depth=4",
               "model.activation=tanh"],
    "module": [*TEACHER, "model=module", "model.target=golden_net.net", "init=kaiming_normal", "sharing=none",
               "optim.lr=[0.03,0.1]"],
    "start_alone": ["init=lsuv,eye", "sharing=none", "train.steps=0", "optim.lr=0.1", "model.depth=3"],
}  # fmt: skip


def trained(name: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames of a study, made in a folder."""
    import initbench as ib

    (folder / "golden_net.py").write_text(NET, "utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        given = STUDIES[name]
        own = [text for text in SMALL if not any(o.split("=")[0] == text.split("=")[0] for o in given)]
        own = [text for text in own if "model=module" not in given or not text.startswith("model.width")]
        results = ib.run([*given, *own, f"study={name}"])
        return results.runs, results.history
    finally:
        os.chdir(before)


def summary(runs: pd.DataFrame, history: pd.DataFrame) -> dict[str, object]:
    """What is kept of a study: how each run ended, which metrics stand at which steps and layers, and their values at a
    few steps."""
    where = runs[["setup", "seed", "optim.lr"]].astype(str).agg(" ".join, axis=1)
    ends = runs[["status", "diverged_at", "steps", "steps_to_target"]].astype(object)
    name = dict(zip(runs["run"].astype(str), where))
    flat = history.assign(run=history["run"].astype(str).map(name), metric=history["metric"].astype(str))
    flat["layer"] = flat["layer"].astype("Int64").fillna(-1)
    grid = flat.groupby("metric").agg(
        steps=("step", lambda s: sorted({int(x) for x in s})),
        layers=("layer", lambda s: sorted({int(x) for x in s})),
        rows=("value", "size"),
        finite=("value", "count"),
    )
    few = flat[flat["step"].isin([0, 1, 5]) & flat["value"].notna()]
    total = few.groupby(["metric", "run"])["value"].agg(lambda v: float(v.abs().sum()))
    return {
        "ends": {key: [None if pd.isna(x) else x for x in row] for key, row in zip(where, ends.values.tolist())},
        "grid": {key: list(row) for key, row in zip(grid.index, grid.values.tolist())},
        "sums": {f"{metric} of {run}": float(f"{value:.9g}") for (metric, run), value in total.items()},
    }


def main(argv: list[str]) -> None:
    import tempfile

    found = {}
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as scratch:
            runs, history = trained(name, Path(scratch))
        found[name] = summary(runs, history)
        if argv[0] != "--keep":
            Path(argv[0]).mkdir(parents=True, exist_ok=True)
            runs.to_parquet(Path(argv[0]) / f"{name}-runs.parquet", index=False)
            history.to_parquet(Path(argv[0]) / f"{name}-history.parquet", index=False)
    if argv[0] == "--keep":
        lines = [f"{json.dumps(name)}: {json.dumps(one, sort_keys=True)}" for name, one in found.items()]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
