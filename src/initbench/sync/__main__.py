"""python -m initbench.sync STUDY [STUDY ...]: bring to MLflow what is missing there of studies on disk."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from initbench.cli import streams
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.errors import masked, refusal, shown
from initbench.grammar import plural
from initbench.startup.processes import alone
from initbench.store.lock import writing

EVERY = 5.0  # seconds between two lines of progress


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m initbench.sync",
        description="Bring studies on disk to MLflow: only what is missing there, however often. A study whose command "
        "was killed gets its data and report first, from the runs that it has stored.",
    )
    parser.add_argument("study", nargs="+", help="study folder, e.g. outputs/default")
    parser.add_argument(
        "--to", metavar="URI", default="auto", help="MLflow's store (default: MLFLOW_TRACKING_URI, else mlflow.db here)"
    )
    parser.add_argument(
        "--children",
        choices=("headline", "full", "none"),
        help="metrics of each run in MLflow (default: as the study's command asked for)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 if all of each study is in MLflow, 1 if something is missing, 2 with one line for wrong input."""
    return answered("initbench.sync", lambda: _synced(_parser().parse_args(argv)))


def _synced(arguments: argparse.Namespace) -> int:
    from initbench import track
    from initbench.sync.folders import opened, sync

    uri = track.resolve_uri(arguments.to, "--to")
    assert uri is not None
    folders = list(dict.fromkeys(Path(name) for name in arguments.study))
    if len(folders) > 1:
        folders = [folder for folder in folders if folder.name != "store"]  # of outputs/*/
    for folder in folders:
        if folder.suffix == ".zip":
            raise refusal(
                shown(folder), "an archive, not a folder", f"unpack it first: unzip {folder} -d {folder.stem}"
            )
    studies = [opened(folder) for folder in folders]  # what is none is refused before anything is written
    complete = True
    for one in studies:
        name = str(one.study["study"])
        with writing(one.folder, lambda text: streams.write(f"initbench.sync: {text}", sys.stderr)):
            done = sync(one, uri, arguments.children, Progress(name))
        if done.left:
            streams.write(f"initbench.sync: {name}: {done.left}", sys.stderr)
        if done.tracked is not None and not done.tracked.complete:
            streams.write(f"initbench.sync: {name}: {done.tracked.message}", sys.stderr)
        elif done.tracked is not None:
            streams.write(f"{name}: {done.tracked.message}: {done.tracked.link}", sys.stdout)
        complete = complete and done.complete
    what = plural(len(studies), "study", "studies")
    streams.write(f"{'complete' if complete else 'incomplete'}: {what} in {masked(uri)}", sys.stdout)
    if not uri.startswith(("http://", "https://", "databricks")):
        streams.write(f"MLflow: {track.ui_command(uri)}", sys.stdout)
    return 0 if complete else 1


class Progress:
    """A line now and then of a study that takes longer."""

    def __init__(self, name: str) -> None:
        self.name, self.said = name, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            streams.write(f"{self.name}: {done:,} of {total:,} arms and runs are in MLflow", sys.stderr)


if __name__ == "__main__":
    sys.exit(alone(main))
