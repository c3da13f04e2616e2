"""What tracking costs: whole commands with MLflow in SQLite and with track.uri=null, by turns.

    python -m benchmarks.tracking [--rounds 5] [overrides of python -m initbench]

Without overrides: the default study, and 1,000 runs of four arms. Each round is an empty folder; a first round of each, not
counted, warms the caches. Prints medians, their ratio, and the ratio of processor seconds (all processes). From the top of
the repository.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.against import ROOT, spent

STUDIES = {
    "the default study, 16 arms x 50 runs": [],
    "4 arms x 250 runs": ["init=kaiming_normal,orthogonal", "sharing=none,all", "seeds=50"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_intermixed_args()
    studies = {" ".join(args.overrides): args.overrides} if args.overrides else STUDIES
    print("| study | tracked: wall s | cpu s | track.uri=null: wall s | cpu s | times, wall | cpu |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, overrides in studies.items():
        times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for i in range(args.rounds + 1):
            for tracked, found in times.items():
                one = spent(ROOT, overrides, tracked)
                if i:
                    found.append(one)
        (wall, cpu), (without, cpu_without) = (
            map(statistics.median, zip(*times[tracked])) for tracked in (True, False)
        )
        print(
            f"| {name} | {wall:.2f} | {cpu:.1f} | {without:.2f} | {cpu_without:.1f} | {wall / without:.2f} "
            f"| {cpu / cpu_without:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
