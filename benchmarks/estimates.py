"""What `train.dry_run=true` expects beside what is then measured: wall and processor time, memory of all processes, disk, rows of MLflow.

    python -m benchmarks.estimates [--only default,deep,...] [--rounds 1] [--doc docs/performance.md] [overrides of every study]

Each study is a dry run and then the command itself, tracked in SQLite, in an empty folder. Memory is measured as in
benchmarks.size; disk is the folder of outputs, the database and MLflow's artifacts; rows are those of the tables runs,
params, tags, metrics and latest_metrics. Processor time, of all processes, hardly depends on what else runs; wall time does, so
the machine has to be idle for it, or equally busy throughout. Prints Markdown, with --doc also into the page; a time that misses the factor of the estimate ends the program
with status 1. Linux only, from the top of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import clock
from benchmarks.size import held, watched

STUDIES = {
    "default": [],
    "deep": ["init=kaiming_normal,orthogonal", "sharing=none", "model.depth=30", "model.width=64", "engine=stacked"],
    "full": ["init=kaiming_normal,orthogonal,eye", "sharing=none", "measure=full"],
    "single": ["init=kaiming_normal,orthogonal", "sharing=none,all", "engine=single", "seeds=3", "optim.lr=[0.03,0.1]"],
    "many": [
        "init=torch_default,xavier_normal,kaiming_normal,orthogonal,lecun_normal", "sharing=none,all",
        "model.depth=3,4,5,6,7,8,9,10,11,12", "seeds=2", "optim.lr=0.1",
    ],
    "wide": ["init=kaiming_normal,orthogonal", "sharing=none", "model.width=512", "model.depth=4", "seeds=4"],
}  # fmt: skip
HEAD = (
    "| study | time, s: expected / measured | ratio | processor, s | memory, MB | disk, MB | rows of MLflow |",
    "|---|---|---|---|---|---|---|",
)
MARK = "<!-- benchmarks.estimates -->\n"
TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")


class Found(NamedTuple):
    """Of one command: seconds, bytes, rows."""

    seconds: float
    processor: float
    memory: float
    disk: float
    rows: float


def expected(folder: Path, command: list[str]) -> tuple[Found, dict[str, Any]]:
    """What the dry run says."""
    done = run(folder, [*command, "train.dry_run=true", "--json"])
    told = json.loads(done.stdout)
    memory, disk, rows = (told[name]["total"] for name in ("memory_bytes", "disk_bytes", "mlflow_rows"))
    return Found(told["seconds"]["total"], told["processor_seconds"], memory, disk, rows), told


def measured(folder: Path, command: list[str]) -> Found:
    """What the command then takes."""
    with watched() as peak:
        _, wall, cpu = clock.spent(lambda: run(folder, command))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = sum(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES)
    disk = held(folder / "outputs") + held(folder / "mlruns") + (folder / "mlflow.db").stat().st_size
    return Found(wall, cpu, peak().memory, disk, rows)


def run(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command; ends the program where it fails."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"status {done.returncode}: {' '.join(command)[:300]}\n{done.stderr[-2000:]}")
    return done


def beside(name: str, said: Found, came: Found) -> str:
    """A row of the table: expected / measured of each."""
    cells = [
        f"{said.seconds:.1f} / {came.seconds:.1f}",
        f"{said.seconds / came.seconds:.2f}",
        f"{said.processor:.1f} / {came.processor:.1f}",
        f"{said.memory / 1e6:,.0f} / {came.memory / 1e6:,.0f}",
        f"{said.disk / 1e6:,.1f} / {came.disk / 1e6:,.1f}",
        f"{said.rows:,} / {came.rows:,}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(STUDIES))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--detail", action="store_true", help="also the parts of each estimate")
    parser.add_argument("--doc", type=Path, help="a page with the table between two lines of its mark")
    args, more = parser.parse_known_args()
    rows = list(HEAD)
    print(*rows, sep="\n", flush=True)
    missed = 0
    for _ in range(args.rounds):
        for name in args.only.split(","):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                where = [f"outputs={folder}/outputs", f"track.uri=sqlite:///{folder}/mlflow.db"]
                command = [sys.executable, "-m", "initbench", *STUDIES[name], *more, *where]
                said, told = expected(folder, command)
                came = measured(folder, command)
                rows.append(beside(name, said, came))
                print(rows[-1], flush=True)
                if args.detail:
                    print(json.dumps(told), file=sys.stderr)
                missed += not 1 / told["factor"] <= said.seconds / came.seconds <= told["factor"]
    if args.doc:
        page = args.doc.read_text(encoding="utf-8")
        before, after = page.split(MARK)[0], page.split(MARK)[2]
        args.doc.write_text(MARK.join([before, "\n".join(rows) + "\n", after]), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
