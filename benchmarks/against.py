"""Is a command faster than at an earlier commit? Both take turns, each with its own sources, in the same environment.

    python -m benchmarks.against 7a13708 [--rounds 7] [--tracked] [overrides of python -m initbench]

Without overrides: the default study. Each round is an empty folder; a first round of each, not counted, warms the caches.
Prints wall and processor seconds (all processes that it starts included) and the ratio of medians. From the top of a clone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import clock

ROOT = Path(__file__).parents[1]


def spent(sources: Path, overrides: list[str], tracked: bool) -> tuple[float, float]:
    """Wall and processor seconds of one command by these sources."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db" if tracked else "null"
        command = [sys.executable, "-m", "initbench", *overrides, f"outputs={folder}/outputs", f"track.uri={uri}"]
        environment = {**os.environ, "PYTHONPATH": str(sources / "src")}
        run = partial(subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True)
        done, wall, cpu = clock.spent(run)
        if done.returncode:
            sys.exit(f"{sources}: status {done.returncode}\n{done.stderr[-2000:]}")
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tracked", action="store_true", help="with MLflow; else track.uri=null")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        then = Path(folder) / "then"
        subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(then), args.commit], check=True
        )
        try:
            times: dict[Path, list[tuple[float, float]]] = {then: [], ROOT: []}
            for i in range(args.rounds + 1):
                for sources, found in times.items():
                    one = spent(sources, args.overrides, args.tracked)
                    if i:
                        found.append(one)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(then)], check=True)
    (a, a_cpu), (b, b_cpu) = (map(statistics.median, zip(*found)) for found in times.values())
    print("| | wall s | cpu s |\n|---|---|---|")
    print(f"| {args.commit} | {a:.2f} | {a_cpu:.2f} |\n| now | {b:.2f} | {b_cpu:.2f} |")
    print(f"| times faster | {a / b:.2f} | {a_cpu / b_cpu:.2f} |\n\n{args.rounds} rounds, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
