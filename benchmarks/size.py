"""What a large study takes: time, memory of all processes together, and bytes on disk; the nets are tiny, the rest is as usual.

    python -m benchmarks.size [--cells 1x10000,200x50,1000x2] [--keep FOLDER] [overrides of python -m initbench]

A cell is arms x runs of each, made of real axes; each is one command with its default report and with MLflow in SQLite.
Memory is the sum of the proportional set sizes (what processes share counts once) of the command and all its processes,
sampled twice a second; times of phases are those at which the last part, the frames, the report and the database
were written (report and MLflow go on side by side). Then `python -m initbench.report` makes the report once more, alone.
Overrides are added to every cell. Linux only, from the top of the repository.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import clock

EVERY = 0.5  # seconds between two looks at the memory
TINY = ["model.width=8"]
TEN = "torch_default,xavier_uniform,xavier_normal,kaiming_normal,kaiming_uniform,lecun_normal,orthogonal,eye,sparse,normal_001"
STDS = ",".join(f"{0.01 * 1.04**k:.4g}" for k in range(125))
CELLS = {
    # one arm
    "1x10000": ["init=kaiming_normal", "sharing=none", "seeds=2000", "optim.lr=[0.01,0.03,0.1,0.3,1.0]"],
    # five settings of 40 setups
    "200x50": [f"init={TEN}", "sharing=none,all,cycle,sandwich", "model.depth=4,5,6,8,12"],
    # one setting of 1,000 setups, and 25 settings of 40
    "1000x2": ["init=normal,trunc_normal", f"init.std={STDS}", "sharing=none,all,cycle,sandwich", "seeds=2", "optim.lr=0.1"],
    "25x40x2": [
        f"init={TEN}", "sharing=none,all,cycle,sandwich", "model.depth=4,5,6,8,12", "model.width=4,6,8,10,12",
        "seeds=2", "optim.lr=0.1",
    ],
}  # fmt: skip
REPORT = ("report.html", "report.md", "leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv", "study.zip")


class Peak(NamedTuple):
    """The most memory at any look, in bytes, and the most processes."""

    memory: int
    processes: int


def descendants() -> list[int]:
    """Processes that this one has started, and those that they have."""
    parent_of = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent_of[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parent_of.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def proportional(pid: int) -> int:
    """Proportional set size of a process in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


@contextmanager
def watched() -> Iterator[Callable[[], Peak]]:
    """Gives a function for the peak since then; looks in a thread while the body runs."""
    seen, done = [Peak(0, 0)], threading.Event()

    def look() -> None:
        while not done.wait(EVERY):
            sizes = [size for pid in descendants() if (size := proportional(pid))]
            seen.append(Peak(sum(sizes), len(sizes)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: Peak(*map(max, zip(*seen)))
    finally:
        done.set()
        thread.join()


class Row(NamedTuple):
    """One command: seconds, bytes."""

    wall: float
    cpu: float
    peak: Peak
    training: float
    frames: float
    report: float
    mlflow: float
    bytes: dict[str, int]
    again: tuple[float, float, Peak]  # of the report alone


def once(folder: Path, overrides: list[str]) -> Row:
    """One command in an empty folder; ends the program where it fails."""
    study, database = folder / "outputs" / "size", folder / "mlflow.db"
    asked = ["study=size", f"outputs={folder}/outputs", f"track.uri=sqlite:///{database}"]
    began = time.time()
    wall, cpu, peak = command(folder, "initbench", *TINY, *overrides, *asked)
    parts = max(path.stat().st_mtime for path in (folder / "outputs" / "store").rglob("part-*"))
    frames = (study / "runs.parquet").stat().st_mtime
    report = max((study / name).stat().st_mtime for name in REPORT if (study / name).exists())
    sizes = {name: (study / name).stat().st_size for name in ("history.parquet", "runs.parquet", "study.json")}
    sizes["report.html"] = (study / "report.html").stat().st_size
    sizes["study folder"] = held(study)
    sizes["store"] = held(folder / "outputs" / "store")
    sizes["database"] = database.stat().st_size
    sizes["artifacts"] = held(folder / "mlruns")
    seconds = (parts - began, frames - parts, report - frames, database.stat().st_mtime - frames)
    return Row(wall, cpu, peak, *seconds, sizes, command(folder, "initbench.report", str(study)))


def command(folder: Path, module: str, *arguments: str) -> tuple[float, float, Peak]:
    """Wall and processor seconds, and the peak."""
    run = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with watched() as peak:
        done, wall, cpu = clock.spent(
            lambda: subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
        )
    if done.returncode:
        sys.exit(f"status {done.returncode}: {' '.join(run)[:300]}\n{done.stderr[-2000:]}")
    return wall, cpu, peak()


def held(folder: Path) -> int:
    """Bytes of the files of a folder; two names of one file count once."""
    files = {(one := path.stat()).st_ino: one.st_size for path in folder.rglob("*") if path.is_file()}
    return sum(files.values())


HEADS = (
    "arms x runs", "wall s", "cpu s", "memory MB", "processes", "plan and training s", "frames s", "report s", "MLflow s",
    "history.parquet MB", "runs.parquet MB", "study.json MB", "report.html MB", "study folder MB", "store MB",
    "database MB", "artifacts MB", "report alone: wall s", "cpu s", "memory MB",
)  # fmt: skip


def cells(name: str, row: Row) -> list[str]:
    """A row of the table."""
    wall, cpu, peak = row.again
    seconds = [f"{one:.1f}" for one in (row.training, row.frames, row.report, row.mlflow)]
    sizes = [f"{size / 1e6:.1f}" for size in row.bytes.values()]
    first = [name, f"{row.wall:.1f}", f"{row.cpu:.1f}", f"{row.peak.memory / 1e6:,.0f}", str(row.peak.processes)]
    return [*first, *seconds, *sizes, f"{wall:.1f}", f"{cpu:.1f}", f"{peak.memory / 1e6:,.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="1x10000,200x50,1000x2", help=f"of {', '.join(CELLS)}")
    parser.add_argument("--keep", type=Path, help="leave what each cell made in this folder")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    found = {}
    for name in args.cells.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if args.keep is None else (args.keep / name).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            found[name] = cells(name, once(folder, [*CELLS[name], *args.overrides]))
    print("| | " + " | ".join(found) + " |")  # a column a study: so many numbers fit no line
    print("|---|" + "---|" * len(found))
    for i, head in enumerate(HEADS[1:], 1):
        print(f"| {head} | " + " | ".join(row[i] for row in found.values()) + " |")


if __name__ == "__main__":
    main()
