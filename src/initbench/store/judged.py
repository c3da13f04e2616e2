"""What was judged: a note in the store of every look at a pair of arms, so that a later look knows that it is not the first.

`judged.json` lies in the folder of the pair's first arm key and holds its looks in the order in which they were taken. A
note that is missing or damaged means that nothing is known; it is never an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from initbench.config.arm import digest
from initbench.config.checks import is_whole
from initbench.disk import make_folder, write_text

NAME = "judged.json"
MOST = 2**24  # bytes that are read


class Pair(NamedTuple):
    """Two arms that are compared, by their keys in alphabetical order, at one target."""

    first: str
    second: str
    metric: str
    value: float


class Look(NamedTuple):
    """The sample at which a pair was judged; `planned`: by a study that counts its looks itself."""

    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    level: float
    planned: bool = False

    def inside(self, other: Look) -> bool:
        """Whether this is a strictly smaller part of another sample.

        >>> small, large = Look((0, 1), (0.1,), 0.05), Look((0, 1, 2), (0.1,), 0.05)
        >>> small.inside(large), large.inside(small), small.inside(small)
        (True, False, False)
        """
        ours, theirs = ((set(one.seeds), set(one.rates)) for one in (self, other))
        return ours != theirs and ours[0] <= theirs[0] and ours[1] <= theirs[1]


def pair(one: str, two: str, metric: str, value: float) -> Pair:
    """The pair of two arms, whichever of them is the baseline.

    >>> pair("b", "a", "loss/train", 1) == pair("a", "b", "loss/train", 1.0)
    True
    """
    return Pair(min(one, two), max(one, two), metric, float(value))


def before(looks: Iterable[Look], now: Look) -> list[Look]:
    """The looks at smaller samples of the same runs that came before this one; a planned one counts no planned ones.

    >>> ten, twenty, forty = (Look(tuple(range(n)), (0.1,), 0.05) for n in (10, 20, 40))
    >>> [len(one.seeds) for one in before([ten, forty, twenty], forty)]
    [10]
    """
    found: list[Look] = []
    for look in looks:
        if look == now:
            break
        if look.inside(now) and not (look.planned and now.planned):
            found.append(look)
    return found


def looks_at(root: Path, pairs: Iterable[Pair]) -> dict[Pair, list[Look]]:
    """The looks at each pair, in their order; `root`: of the store."""
    pairs = list(pairs)
    files = {first: _read(root, first) for first in {one.first for one in pairs}}
    return {one: files[one.first].get(one, []) for one in pairs}


def note(root: Path, looks: Mapping[Pair, Iterable[Look]]) -> None:
    """Write down looks at pairs; those that are known keep their place."""
    by_file: dict[str, list[Pair]] = {}
    for one in looks:
        by_file.setdefault(one.first, []).append(one)
    for first, pairs in by_file.items():
        known = _read(root, first)
        new = {one: [look for look in looks[one] if look not in known.get(one, [])] for one in pairs}
        if any(new.values()):
            for one, more in new.items():
                known.setdefault(one, []).extend(dict.fromkeys(more))
            _write(root / first / NAME, known)


def _read(root: Path, first: str) -> dict[Pair, list[Look]]:
    path = root / first / NAME
    try:
        if path.stat().st_size > MOST:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
        found: dict[Pair, list[Look]] = {}
        if content.get("whole", digest(content["looks"])) != digest(content["looks"]):
            return {}
        for one in content["looks"]:
            at = Pair(first, str(one["with"]), str(one["metric"]), float(one["value"]))
            found.setdefault(at, []).append(_look(one))
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _look(one: Mapping[str, Any]) -> Look:
    spans = [(low, high) for low, high in one["seeds"] if is_whole(low) and is_whole(high) and 0 <= high - low <= MOST]
    if len(spans) < len(one["seeds"]) or not isinstance(one["planned"], bool):
        raise ValueError("not a look")
    seeds = tuple(seed for low, high in spans for seed in range(low, high))
    return Look(seeds, tuple(map(float, one["rates"])), float(one["level"]), one["planned"])


def spans(seeds: Iterable[int]) -> list[list[int]]:
    """Ascending seeds as ranges: [first, last + 1] of each run of neighbours.

    >>> spans([0, 1, 2, 7])
    [[0, 3], [7, 8]]
    """
    out: list[list[int]] = []
    for seed in seeds:
        if out and out[-1][1] == seed:
            out[-1][1] = seed + 1
        else:
            out.append([seed, seed + 1])
    return out


def _write(path: Path, looks: Mapping[Pair, Iterable[Look]]) -> None:
    rows = [
        {"with": at.second, "metric": at.metric, "value": at.value, **look._asdict(), "seeds": spans(look.seeds)}
        for at, those in looks.items()
        for look in those
    ]
    make_folder(path.parent)
    write_text(path, json.dumps({"whole": digest(rows), "looks": rows}))
