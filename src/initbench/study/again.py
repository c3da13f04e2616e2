"""What a study's folder was made from: where nothing of it has changed, nothing is judged, drawn or tracked again.

A note, `.made.json`, holds a digest of what the files were made from and one of each file. A file that is changed, torn
or deleted, another initbench or library, another format or tracking store: everything is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import initbench
from initbench.config.arm import digest
from initbench.disk import write_text
from initbench.store.parts import Store
from initbench.store.reading import sha256
from initbench.study.provenance import installed

NOTE = ".made.json"
DRAWN_BY = ("matplotlib", "pyarrow", "jinja2", "markupsafe")  # beside those whose versions study.json has
OF_THE_MOMENT = ("created", "elapsed", "mlflow")  # keys of study.json that say when and where, not what


class Made(NamedTuple):
    """What a command has left behind: its board as the terminal shows it, its files, and its records."""

    board: pd.DataFrame
    files: dict[str, Path]
    tracked: dict[str, Any]


def made_from(content: Mapping[str, Any], root: Path, asked: Iterable[object]) -> str:
    """Digest of all that the files of a study come from: what was asked, the runs, and the code that judges and draws.

    `content`: of study.json; `root`: of the store; `asked`: what else the files depend on.
    """
    said = {key: value for key, value in content.items() if key not in OF_THE_MOMENT}
    store = Store(root)
    parts = [path.name for arm in content["arms"] for path in store.parts(arm["arm_key"]) if arm["arm_key"]]
    return digest([said, parts, [repr(one) for one in asked], _code()])


@cache
def _code() -> list[str]:
    """Digests of the package's own files, and versions of what else draws and writes."""
    package = Path(initbench.__file__).parent
    own = [sha256(path) for path in sorted(package.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return own + [installed(name) for name in DRAWN_BY]


def note(folder: Path, made: str, board: pd.DataFrame, files: Iterable[Path], tracked: Mapping[str, Any]) -> None:
    """Write down what was made, from what."""
    names = sorted(str(path.relative_to(folder)) for path in files)
    plain = board.astype(object).where(board.notna(), None)
    content = {
        "made_from": made,
        "files": {name: sha256(folder / name) for name in names},
        "board": {str(name): plain[name].tolist() for name in plain},
        "tracked": dict(tracked),
    }
    write_text(folder / NOTE, json.dumps({"whole": digest(content), **content}))


def unchanged(folder: Path, made: str) -> Made | None:
    """What is there, if it was made from the same and none of it has changed since; None otherwise."""
    try:
        content = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if content.pop("whole") != digest(content) or content["made_from"] != made:
            return None
        if any(sha256(folder / name) != is_ for name, is_ in content["files"].items()):
            return None
        files = {name: folder / name for name in content["files"]}
        return Made(pd.DataFrame(content["board"]), files, content["tracked"])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # no note, or one that a person has edited
        return None
