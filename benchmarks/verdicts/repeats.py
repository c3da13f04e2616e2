"""decide=true on real training where the truth is known: ten repeats of 12 equal arms, and of one at half the scale.

    python -m benchmarks.verdicts.repeats [--repeats 10]

Each repeat has seeds of its own. Equal arms: any `faster` or `slower` is wrong. The other study has three arms: a law, the
same law under another name, and the law at half the scale.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from benchmarks.verdicts.laws import LAWS
from benchmarks.verdicts.real import RATES

import initbench as ib

HALF = "benchmarks.verdicts.laws.half"


def decided(names: list[str], first: int) -> dict[str, object]:
    """Words, seeds at which they fell, runs and minutes of a study whose seeds start at `first`."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = ib.run(
            [
                f"init={','.join(names)}", "sharing=none", f"seeds=[{','.join(map(str, range(first, first + 10)))}]",
                f"optim.lr=[{','.join(map(str, RATES))}]", "measure=none", "decide=true", "decide.minutes=null",
                "track.uri=null", "report.formats=[md]", f"outputs={folder}",
            ]
        )  # fmt: skip
    assert results is not None
    last = results.looks.drop_duplicates("setup", keep="last")
    return {
        "words": [f"{word} at {n}" for word, n in zip(last["verdict"], last["pairs"])],
        "wrong": int(last["verdict"].isin(["faster", "slower"]).sum()),
        "runs": len(results.runs),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    for repeat in range(repeats):
        print("half scale", repeat, decided([LAWS[0], LAWS[1], HALF], 100_000 + 1000 * repeat), flush=True)
    wrong = 0
    for repeat in range(repeats):
        found = decided(LAWS, 10_000 + 1000 * repeat)
        wrong += bool(found["wrong"])
        print("equal arms", repeat, found, flush=True)
    print(f"repeats of 12 equal arms with a wrong word: {wrong} of {repeats}")


if __name__ == "__main__":
    main()
