"""What happens to a study when something dies: kills at random moments, and every other fault, each compared afterwards.

python -m benchmarks.faults                          # every row, 200 kills; about an hour
python -m benchmarks.faults --kills 12 --rows files  # some kills, and the rows with this word in their name
python -m benchmarks.faults --doc docs/durability.md # the table, from the results
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.faults import kills, tables
from benchmarks.faults.forked import Forked
from benchmarks.faults.rows import CASES, judged
from benchmarks.faults.world import ALONE, STATUS, World

RESULTS = Path(__file__).parents[1] / "results" / "faults.json"


def undisturbed(world: World, status: int) -> World:
    """A world in which nothing goes wrong."""
    done = world.run()
    assert done.status == status, done
    assert world.leftovers() == [], world.leftovers()
    return world


def of(study: Sequence[str]) -> World:
    """Commands without workers are forked from this process, which takes a tenth of the time; others are started anew."""
    return (Forked if "engine.workers=1" in study else World)(study)


def run_kills(wanted: int, seed: int, kind: str, save: Callable[[list[kills.Chain]], None]) -> None:
    """Chains of kills, until so many have met somebody alive; each finished chain is written down."""
    began, chains = time.monotonic(), []
    truth = cache(lambda study: undisturbed(of(study), STATUS).content())
    last = len(kills.CHAINS)
    indices = (i for i in count() if kind == "all" or (kind == "alone") == (kills.CHAINS[i % last][2] is ALONE))
    while (left := wanted - len(kills.hits(chains))) > 0:
        chains.append(kills.chain(next(indices), truth, seed, left, of))
        save(chains)
        hits = kills.hits(chains)
        print(f"{time.monotonic() - began:.0f} s  {len(hits)} kills, {sum(one.fine for one in hits)} fine  "
              f"{[one.phase for one in chains[-1].kills if not one.fine]} {chains[-1].differs} "
              f"{chains[-1].leftovers}", flush=True)  # fmt: skip


def run_rows(word: str) -> list[dict[str, Any]]:
    """Every row with a word in its group or name."""
    finished = cache(lambda study: undisturbed(of(study), 0))
    found = []
    for one in CASES:
        if word not in f"{one.group}: {one.name}":
            continue
        world = finished(one.study)
        row = judged(one, world, world.content(), World if one.real else of)
        found.append(row.plain())
        print(f"{'fine ' if row.fine else 'WRONG'} {row.group}: {row.name}: status {row.status}, then {row.again}; {row.said}"
              f" {row.differs or ''} {row.orphans or ''} {row.leftovers or ''} {row.skipped}", flush=True)  # fmt: skip
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="so many kills")
    parser.add_argument("--rows", default="", help="a part of the name of rows; none: no rows")
    parser.add_argument(
        "--chains", choices=("all", "alone", "workers"), default="all", help="of commands without workers, or with"
    )
    parser.add_argument("--add", action="store_true", help="to the kills of earlier seeds, instead of in their place")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--doc", type=Path, help="write the table into this page, and kill nothing")
    args = parser.parse_args(argv)
    if args.doc:
        tables.write(args.results, args.doc)
        return
    done: dict[str, Any] = json.loads(args.results.read_text()) if args.results.is_file() else {}
    done["machine"] = {"system": platform.system(), "python": platform.python_version()}

    def write(**what: Any) -> None:
        done.update(what)
        args.results.parent.mkdir(exist_ok=True)
        args.results.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")

    if args.rows != "none":
        rows = run_rows(args.rows)
        names, order = {row["name"] for row in rows}, [one.name for one in CASES]
        kept = [row for row in done.get("rows", []) if row["name"] not in names and row["name"] in order]
        write(rows=sorted([*kept, *rows], key=lambda row: order.index(row["name"])))
    before = done.get("kills", []) if args.add else []
    run_kills(
        args.kills, args.seed, args.chains, lambda chains: write(kills=[*before, *(one.plain() for one in chains)])
    )


if __name__ == "__main__":
    main()
