"""How often are the verdicts wrong? Studies in which the truth is known, judged once, decided, and by advice alone.

    python -m benchmarks.verdicts                            # all cells, resumes; about 3 hours of two cores
    python -m benchmarks.verdicts --paths 100 --only decided # a quick look at the cells whose name has this word
    python -m benchmarks.verdicts --doc docs/calibration.md  # the tables, from the results

Every cell has equal arms, so every `faster` or `slower` is wrong, or a last arm that is `ratio` times as slow.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from benchmarks.verdicts import designs, paths, tests, worlds

RESULTS = Path(__file__).parents[1] / "results" / "verdicts.json"
PATHS, BLOCK = 2000, 50
LAWS = [(0.0, 0.0), (0.0, 0.1), (0.15, 0.0), (0.7, 0.0)]  # never arrived, diverged
RATIOS = (1.1, 1.25, 1.5, 2.0)
FIXED_SEEDS = (10, 20)
REAL_SEEDS = (8, 10, 12, 20, 40)
POWER_SEEDS = (10, 14, 20, 28, 40, 56, 80, 113, 160, 200)


class Job(NamedTuple):
    """A procedure in a cell."""

    procedure: str
    cell: worlds.Cell | worlds.RealCell
    n: int  # seeds at the first look

    @property
    def key(self) -> str:
        return f"{self.procedure} n={self.n} {self.cell}"


def jobs() -> list[Job]:
    """Every cell, the cheap and the important ones first."""
    laws = [(sd, never, diverged) for sd in (0.25, 0.5) for never, diverged in LAWS]
    ratios = [worlds.Cell(sd, 2, ratio) for sd in (0.25, 0.5) for ratio in RATIOS]
    return [
        *(Job("decided", worlds.RealCell(arms), 10) for arms in (2, 4, 8, 12)),
        *(Job("decided", worlds.Cell(sd, 2), 10) for sd in (0.25, 0.5)),
        *(Job("decided", cell, 10) for cell in ratios),
        *(Job("naive", worlds.Cell(sd, 2), 10) for sd in (0.25, 0.5)),
        Job("naive", worlds.RealCell(2), 10),
        *(Job("decided", worlds.Cell(sd, 8, 1.0, *law), 10) for sd, *law in laws),
        *(Job("power", cell, n) for cell in ratios for n in POWER_SEEDS),
        *(Job("fixed", worlds.RealCell(arms), n) for arms in (2, 4, 8, 12) for n in REAL_SEEDS),
        *(Job("fixed", worlds.Cell(sd, 8, 1.0, *law), n) for n in FIXED_SEEDS for sd, *law in laws),
        *(Job("naive", worlds.Cell(sd, 8), 10) for sd in (0.25, 0.5)),
    ]  # fmt: skip


PROCEDURES: dict[str, Callable[[worlds.World, int], paths.Found]] = {
    "fixed": paths.fixed,
    "power": paths.fixed,
    "decided": paths.decided,
    "naive": paths.naive,
}


def block(job: Job, first: int, count: int) -> dict[str, float]:
    """Counts over `count` paths; each path has a seed of its own."""
    out: dict[str, float] = {}

    def add(key: str, value: float = 1.0) -> None:
        out[key] = out.get(key, 0.0) + value

    null = getattr(job.cell, "ratio", 1.0) == 1.0
    for path in range(first, first + count):
        rng = np.random.default_rng([path, crc32(str(job.cell).encode())])  # the same worlds for every procedure
        found = PROCEDURES[job.procedure](job.cell.draw(rng, max(paths.MOST, job.n)), job.n)
        wrong = {"faster", "slower"} if null else {"faster", "equivalent"}
        add("paths")
        add("any wrong", bool(wrong & set(found.words)))
        for word, seeds in zip(found.words, found.seeds):
            add(word)
            add("seeds", seeds)
        add("pairs", len(found.words))
        add("runs", found.runs)
        add("looks", found.looks)
        add("intervals", len(found.covered))
        add("covered", sum(found.covered))
    return out


def run(wanted: int, results: Path, only: str) -> None:
    """Fill every cell up to `wanted` paths, block by block, on all cores; each finished block is written down."""
    done: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    with ProcessPoolExecutor() as pool:
        for job in (job for job in jobs() if only in job.key):
            have = int(done.get(job.key, {}).get("paths", 0))
            size = wanted // 5 if job.procedure == "power" else wanted
            blocks = [pool.submit(block, job, first, min(BLOCK, size - first)) for first in range(have, size, BLOCK)]
            for finished in as_completed(blocks):
                counts, before = finished.result(), done.get(job.key, {})
                done[job.key] = {k: before.get(k, 0.0) + counts.get(k, 0.0) for k in sorted({*before, *counts})}
            if blocks:
                results.parent.mkdir(exist_ok=True)
                results.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
                one = done[job.key]
                print(f"{time.monotonic() - began:.0f} s  {job.key}: wrong {100 * one['any wrong'] / one['paths']:.1f}%, "
                      f"{one['runs'] / one['paths']:.0f} runs", flush=True)  # fmt: skip
    for name, lines in (("tests", tests.table), ("designs", designs.tables)):
        if name not in done and only in name:
            done[name] = lines()
            results.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=PATHS)
    parser.add_argument("--only", default="", help="a part of the name of cells")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--doc", type=Path, help="write the tables into this page, and simulate nothing")
    args = parser.parse_args()
    if args.doc:
        from benchmarks.verdicts import tables

        tables.write(args.results, args.doc)
    else:
        run(args.paths, args.results, args.only)


if __name__ == "__main__":
    main()
