"""What a person waits for: whole commands, tracked and with their report, now and at an earlier commit.

    python -m benchmarks.waiting 38d934c [--rounds 3] [--only default,again] [--cells 1x100,10x10,16x25,100x10]

Each round runs every command by both sources in turn, in an empty folder; a first round, not counted, warms the caches.
`again` is the default study once more, with nothing to train; `first` has an empty cache folder: the kernel is compiled.
Then the cells of `benchmarks.whole_process`: initbench against the loop that a careful user would write. Prints medians
of wall seconds and their ratio. Run from the top of a clone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import clock, whole_process

ROOT = Path(__file__).parents[1]
FIVE = f"init={whole_process.FIVE}"
COMMANDS = {
    "default": [],
    "again": [],
    "10 arms": [FIVE, "sharing=none,all", "seeds=10", "optim.lr=0.05", "model.width=64"],
    "93 arms": ["init=glob(*)", "sharing=none", "seeds=2", "train.steps=20"],
    "first": ["init=kaiming_normal", "sharing=none", "seeds=1", "optim.lr=0.1", "train.steps=1"],
}


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """The sources of an earlier commit."""
    with tempfile.TemporaryDirectory() as folder:
        then = Path(folder) / "then"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(then), commit], check=True)
        try:
            yield then
        finally:
            subprocess.run([*git, "remove", "--force", str(then)], check=True)


def waited(name: str, sources: Path) -> float:
    """Wall seconds of a command by these sources."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"outputs={folder}/outputs", f"track.uri=sqlite:///{folder}/mlflow.db"]
        command = [sys.executable, "-m", "initbench", *COMMANDS[name], *places]
        environment = {**os.environ, "PYTHONPATH": str(sources / "src")}
        if name == "first":
            environment["INITBENCH_CACHE"] = f"{folder}/cache"
        run = partial(subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True)
        if name == "again":
            run()
        done, wall, _ = clock.spent(run)
        if done.returncode > (name == "93 arms"):  # five of its initializers do not apply: status 1
            sys.exit(f"{sources}: status {done.returncode}\n{done.stderr[-2000:]}")
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--cells", default="1x100,10x10,16x25,100x10", help="'' for none")
    args = parser.parse_args()
    print(f"{args.rounds} rounds, {os.cpu_count()} cores\n\n| command | {args.commit}, s | now, s | times faster |")
    print("|---|---|---|---|", flush=True)
    with worktree(args.commit) as then:
        for name in args.only.split(","):
            times: dict[Path, list[float]] = {then: [], ROOT: []}
            for i in range(args.rounds + 1):
                for sources, found in times.items():
                    wall = waited(name, sources)
                    if i:
                        found.append(wall)
            a, b = map(statistics.median, times.values())
            print(f"| {name} | {a:.1f} | {b:.1f} | {a / b:.2f} |", flush=True)
    if args.cells:
        print()
        cells = [tuple(map(int, cell.split("x"))) for cell in args.cells.split(",")]
        whole_process.table(cells, args.rounds, f"1,{os.cpu_count()}")


if __name__ == "__main__":
    main()
