"""The valid things that inputs are mutations of: a small study on disk, its command, its data."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

SMALL = {
    "init": "eye",
    "sharing": "none",
    "seeds": "2",
    "optim.lr": "0.1",
    "train.steps": "3",
    "model.depth": "2",
    "model.width": "8",
    "track.uri": "null",
    "engine.workers": "1",
}


def small(*given: str) -> list[str]:
    """Overrides with those that keep a study small, where they say nothing else."""
    keys = {text.lstrip("+~").partition("=")[0] for text in given}
    return [*(f"{key}={value}" for key, value in SMALL.items() if key not in keys), *given]


@lru_cache(maxsize=1)
def study_files() -> dict[str, bytes]:
    """The three files of a trained study; what a report imports, and Matplotlib's own files, are there afterwards."""
    import initbench as ib

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        more = ("init=eye,kaiming_normal", "seeds=3", "optim.lr=[0.1,0.3]", "report.formats=[html]")
        ib.run([*small(*more), f"outputs={folder}", "study=s"])
        names = ("study.json", "runs.parquet", "history.parquet")
        return {name: (Path(folder) / "s" / name).read_bytes() for name in names}


def write_study(folder: Path, **files: bytes) -> Path:
    """A study folder, with some of its files replaced (`study_json=`, `runs_parquet=`, `history_parquet=`)."""
    folder = folder / "study"
    folder.mkdir(parents=True)
    for name, content in study_files().items():
        (folder / name).write_bytes(files.get(name.replace(".", "_"), content))
    return folder


def study_json() -> dict[str, Any]:
    """The content of study.json, a new object each time."""
    return dict(json.loads(study_files()["study.json"]))


@lru_cache(maxsize=1)
def npz() -> bytes:
    """An archive of arrays that data=npz accepts."""
    draw = np.random.default_rng(0)
    room = io.BytesIO()
    np.savez(room, x=draw.standard_normal((40, 3)), y=np.arange(40) % 3, train=np.arange(40) < 30)
    return room.getvalue()
