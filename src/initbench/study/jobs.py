"""What each job of another launcher trains: the arms of a study, split and packed into as many jobs as were asked for.

A job is what a person could type: the overrides of its first arm, and in `hydra.sweeper.arms` those of its further arms.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from initbench.config.arm import Run, runs_of
from initbench.overrides.read import key_of, quoted
from initbench.store.parts import Store
from initbench.study.plan import PlannedArm

# operations of a job that is worth its start, which takes seconds: about a minute of one processor
WORTH = 1e12

Runs = Mapping[str, frozenset[Run]]  # by arm key


@dataclass(frozen=True)
class Piece:
    """Overrides that make an arm and its controls, and the runs of these that they train."""

    line: tuple[str, ...]
    runs: Runs
    operations: float


@dataclass(frozen=True)
class Job:
    """One job of a launcher."""

    overrides: tuple[str, ...]
    runs: Runs


def jobs(plan: Any, arms: Sequence[PlannedArm] | None, taken: Runs, tasks: int | None) -> list[Job]:
    """The jobs that train what neither the store has nor another job will train (`taken`).

    `arms`: those of a round of a study that goes on; None: all. `tasks`: at most so many jobs; None: one for each arm.
    """
    found = pieces(plan, arms, taken)
    if tasks is None:
        packs = [[piece] for piece in found]
    else:
        share = max(WORTH, sum(one.operations for one in found) / tasks)
        packs = packed([part for piece in found for part in split(piece, share)], tasks)
    return [job_of(pack, f"study={quoted(plan.config.name)}") for pack in packs]


def pieces(plan: Any, arms: Sequence[PlannedArm] | None, taken: Runs) -> list[Piece]:
    """Every line of overrides that has runs to train."""
    store, found = Store(plan.root), dict[tuple[str, ...], Piece]()
    for arm in plan.arms if arms is None else arms:
        done = set() if plan.config.rerun else store.runs(arm.key)
        left = set(arm.config.runs) - done - taken.get(arm.key, frozenset())
        for line, runs in [(plain(arm.job), left)] if arms is None else round_lines(arm, left):
            if runs:
                each = arm.costs()["flops_per_step"] * arm.config.train.steps
                known = found.get(line, Piece(line, {}, 0.0))
                more = {arm.key: known.runs.get(arm.key, frozenset()) | runs}
                found[line] = replace(
                    known, runs={**known.runs, **more}, operations=known.operations + each * len(runs)
                )
    return [seeded(piece) for piece in found.values()]


def plain(job: Iterable[str]) -> tuple[str, ...]:
    """The overrides of an arm without those of the study."""
    return tuple(one for one in job if not one.startswith(("hydra.", "hydra/", "study=")))


def round_lines(arm: PlannedArm, left: set[Run]) -> list[tuple[tuple[str, ...], set[Run]]]:
    """The overrides that train what is left of an arm in a round: one line for its seeds at the rates that are kept, one
    for each set of seeds that dropped rates were tried at."""
    config = arm.config
    parts: dict[tuple[int, ...], list[float]] = {}
    for lr, seeds in config.dropped:
        parts.setdefault(seeds, []).append(lr)
    asked = [(config.seeds, list(config.optim.lrs)), *parts.items()]
    own = [*alone(arm), f"train.steps={config.train.steps}", f"train.evaluate.dense={config.train.evaluate.dense}"]
    return [
        ((*own, listed("seeds", seeds), listed("optim.lr", rates)), left & set(runs_of(seeds, rates)))
        for seeds, rates in asked
    ]


def alone(arm: PlannedArm) -> list[str]:
    """The overrides that make an arm alone: without its controls, and a control without the arm that asks for it."""
    left = ("seeds=", "optim.lr=", "decide.", "train.steps=", "train.evaluate", "sharing.controls=")
    lines = [one for one in plain(arm.job) if not one.startswith(left)]
    if not arm.control_of or arm.config.sharing.name != "none":
        return [*lines, "sharing.controls=false"]
    lines = [one for one in lines if not one.startswith(("sharing=", "sharing.", "model.width="))]
    width = arm.config.model.width
    wide = "" if arm.config.model.name == "module" else f"model.width={str(width).replace(' ', '')}"
    return [*lines, "sharing=none", *([wide] if wide else [])]


def listed(key: str, values: Iterable[float]) -> str:
    """
    >>> listed("seeds", (0, 1))
    'seeds=[0,1]'
    """
    return f"{key}=[{','.join(map(repr, values))}]"


def seeds_of(piece: Piece) -> list[int]:
    """Every seed of the runs of a piece."""
    return sorted({seed for runs in piece.runs.values() for seed, _ in runs})


def seeded(piece: Piece) -> Piece:
    """A piece whose overrides name the seeds that it trains, and no others."""
    line = tuple(one for one in piece.line if key_of(one) != "seeds")
    return replace(piece, line=(*line, listed("seeds", seeds_of(piece))))


def split(piece: Piece, share: float) -> list[Piece]:
    """A piece of more than a job's share of the work in several, by seeds."""
    seeds = seeds_of(piece)
    count = min(len(seeds), max(1, round(piece.operations / share)))
    parts = [seeds[len(seeds) * i // count : len(seeds) * (i + 1) // count] for i in range(count)]
    return [
        seeded(replace(piece, runs={key: frozenset(run for run in runs if run.seed in part) for key, runs in piece.runs.items()},
                       operations=piece.operations * len(part) / len(seeds)))
        for part in parts
    ]  # fmt: skip


def packed(found: Sequence[Piece], tasks: int) -> list[list[Piece]]:
    """At most `tasks` packs of about equal work, the heaviest piece first to the lightest pack.

    >>> packs = packed([Piece((name,), {}, work) for name, work in [("a", 3.0), ("b", 2.0), ("c", 1.0)]], 2)
    >>> [[piece.line[0] for piece in pack] for pack in packs]
    [['a'], ['b', 'c']]
    """
    packs: list[list[Piece]] = [[] for _ in range(min(tasks, len(found)))]
    lightest = [(0.0, 0, i) for i in range(len(packs))]  # by pieces where they are no work: train.steps=0
    for piece in sorted(found, key=lambda one: -one.operations):
        work, count, i = heapq.heappop(lightest)
        packs[i].append(piece)
        heapq.heappush(lightest, (work + piece.operations, count + 1, i))
    return packs


def job_of(pack: Sequence[Piece], study: str) -> Job:
    """The job of a pack."""
    first, *more = pack
    runs: dict[str, frozenset[Run]] = {}
    for piece in pack:
        for key, some in piece.runs.items():
            runs[key] = runs.get(key, frozenset()) | some
    further = [f"hydra.sweeper.arms={quoted(written([piece.line for piece in more]))}"] if more else []
    return Job((*first.line, study, *further), runs)


def written(lines: Sequence[Sequence[str]]) -> str:
    """Overrides as one text, which OmegaConf takes for no interpolation.

    >>> read(written([["outputs=${oc.env:HOME}/a", "seeds=[0,1]"]]))
    [['outputs=${oc.env:HOME}/a', 'seeds=[0,1]']]
    """
    return json.dumps(lines).replace("$", "\\u0024")


def read(text: str) -> list[list[str]]:
    """The overrides that `written` gives."""
    return json.loads(text)


def master(plan: Any) -> list[str]:
    """The overrides of Hydra itself, those of the first job among them: its launcher, and the folder of the jobs."""
    lines = [one for one in plan.arms[0].job if not one.startswith("study=")]
    return ["hydra/sweeper=initbench", *lines, f"study={quoted(plan.config.name)}"]
