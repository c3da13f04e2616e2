"""What each tool is given. A library is imported when it is asked for: it is an extra, not a dependency."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.disk import make_folder, published
from initbench.errors import one_line, refusal
from initbench.export.curves import Curves, as_path, curves, history_of
from initbench.study.results import Results

if TYPE_CHECKING:
    import pandas as pd


def library(tool: str, name: str) -> Any:
    """An optional library; the refusal says how to get it."""
    try:
        return import_module(name)
    except ImportError as error:
        missing = (error.name or tool).partition(".")[0]
        do = f"python -m pip install {tool}, or initbench with its extra, initbench[{tool}]"
        raise refusal(f"--to {tool}", f"{missing} is not installed", do) from None


def to_csv(results: Results, metrics: Sequence[str], folder: Path) -> str:
    """runs.csv, history.csv (long), leaderboard.csv and comparisons.csv."""
    tables = {
        "runs": results.runs,
        "history": history_of(results, metrics),
        "leaderboard": results.leaderboard(),
        "comparisons": results.compare(),
    }
    for name, table in tables.items():
        check_ours(folder / f"{name}.csv", table)
    for name, table in tables.items():
        with published(folder / f"{name}.csv") as new:
            table.to_csv(new, index=False)
    return f"{', '.join(f'{name}.csv' for name in tables)} in {folder}"


def check_ours(path: Path, table: pd.DataFrame) -> None:
    """A file of this name that is there is an earlier export, not somebody's own."""
    head = ",".join(table.columns[:2]).encode()
    if path.exists():
        with path.open("rb") as file:
            if file.read(len(head)) != head:
                raise refusal(path, "it is there, and no earlier export wrote it", "name another --out")


def to_tensorboard(results: Results, metrics: Sequence[str], folder: Path) -> str:
    """An event file for each run, with its curves and hyperparameters."""
    writer_of = library("tensorboard", LIBRARIES["tensorboard"]).SummaryWriter
    paths: set[str] = set()
    for one in curves(results, metrics):
        path = as_path(one.name)
        path = path if path not in paths else f"{path}-{one.key[:8]}"
        paths.add(path)
        with writer_of(str(folder / path)) as writer:
            for step, values in one.steps.items():
                for tag, value in values.items():
                    writer.add_scalar(tag, value, step)
            last = {f"last/{tag}": value for tag, value in last_of(one).items()}
            writer.add_hparams(texts(one.config), last | numbers(one.summary), run_name=".")
    return f"{len(paths)} runs; look at them with: tensorboard --logdir {folder}"


def to_wandb(results: Results, metrics: Sequence[str], folder: Path) -> str:
    """A run of Weights & Biases for each run; offline unless WANDB_MODE says otherwise."""
    wandb = library("wandb", LIBRARIES["wandb"])
    mode, count = os.environ.get("WANDB_MODE", "offline"), 0
    for one in curves(results, metrics):
        try:
            run = wandb.init(
                project=str(results.study.get("study") or "initbench"), name=one.name, id=as_path(one.key).replace("/", "-"),
                group=str(one.config.get("setup") or ""), config=one.config, dir=str(folder), mode=mode, resume="allow",
                settings=wandb.Settings(silent=True, console="off", _disable_stats=True, _disable_meta=True),
            )  # fmt: skip
        except Exception as error:  # no key, no network: of kinds that change with its version
            raise refusal(
                "--to wandb", one_line(error), "leave out WANDB_MODE to write files for `wandb sync`"
            ) from None
        for step, values in one.steps.items():
            run.log(values, step=step)
        run.summary.update({name: value for name, value in one.summary.items() if value is not None})
        run.finish()
        count += 1
    wandb.teardown()  # waits until all of it is written
    sent = f"; send them with: wandb sync {folder}/wandb/offline-run-*" if mode == "offline" else ""
    return f"{count} runs in {folder}{sent}"


def last_of(one: Curves) -> dict[str, float]:
    """The last value of each metric."""
    found: dict[str, float] = {}
    for values in one.steps.values():
        found |= values
    return found


def texts(config: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters as TensorBoard takes them: numbers, truth values and text."""
    return {name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in config.items()}


def numbers(summary: dict[str, Any]) -> dict[str, float]:
    """The numbers among them."""
    return {name: float(value) for name, value in summary.items() if isinstance(value, (int, float))}


TOOLS: dict[str, Callable[[Results, Sequence[str], Path], str]] = {
    "csv": to_csv,
    "tensorboard": to_tensorboard,
    "wandb": to_wandb,
}
LIBRARIES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def check_folder(tool: str, folder: Path) -> None:
    """The libraries are there, and curves are not added to those of an earlier export."""
    if tool in LIBRARIES:
        library(tool, LIBRARIES[tool])
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise refusal(
                folder, "it is not empty, and curves would be added to those in it", "name another --out, or remove it"
            )
    make_folder(folder)
