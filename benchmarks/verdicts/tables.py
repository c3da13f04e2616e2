"""The tables of docs/calibration.md from the results of `python -m benchmarks.verdicts`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.verdicts.__main__ import POWER_SEEDS, Job, jobs

from initbench.stats.intervals import wilson

MARK = "<!-- tables: python -m benchmarks.verdicts --doc docs/calibration.md -->"


def write(results: Path, page: Path) -> None:
    """Replace all after the mark."""
    text = page.read_text().split(MARK)[0]
    page.write_text(f"{text}{MARK}\n\n{tables(json.loads(results.read_text()))}\n")


def tables(done: dict[str, Any]) -> str:
    """Markdown of everything measured."""
    parts = [
        ["### Fixed n: resampled real runs, all arms of one law", "", *fixed(done, real=True)],
        ["### Fixed n: simulated arms of one law", "", *fixed(done, real=False)],
        ["### Decided: whole paths, all arms of one law", "", *decided(done)],
        ["### Decided: the second of two arms is slower", "", *ratios(done)],
        ["### Following the advice of each report without counting the looks", "", *naive(done)],
        ["### Tests of two arms at fixed n, p < .05, %", "", *done.get("tests", [])],
        ["### Rules for looking again", *done.get("designs", [])],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def counted(done: dict[str, Any], procedure: str) -> Iterator[tuple[Job, dict[str, float]]]:
    """The jobs of a procedure that have results."""
    return ((job, done[job.key]) for job in jobs() if job.procedure == procedure and job.key in done)


def wrong(c: dict[str, float]) -> str:
    """Share of paths with a wrong word, in percent, with its 95% interval."""
    low, high = wilson(c["any wrong"], int(c["paths"]))
    return f"{100 * c['any wrong'] / c['paths']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def percent(c: dict[str, float], word: str, of: str) -> str:
    return f"{100 * c.get(word, 0) / c[of]:.1f}" if c.get(of) else "–"


def header(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|" + "---:|" * len(names)]


def law(job: Job) -> list[str]:
    """The columns that say what a cell is."""
    cell: Any = job.cell
    return [str(cell.arms), f"{cell.sd:g}", f"{cell.never:.0%}", f"{cell.diverged:.0%}"]


def fixed(done: dict[str, Any], real: bool) -> list[str]:
    names = ["arms"] if real else ["arms", "sd", "never", "diverged"]
    lines = header(*names, "n", "studies", "wrong word in a study, % [95%]", "equivalent, %", "intervals cover, %")
    for job, c in counted(done, "fixed"):
        if real == str(job.cell).startswith("real"):
            cell = [str(job.cell.arms)] if real else law(job)
            row = [*cell, str(job.n), f"{c['paths']:,.0f}", wrong(c), percent(c, "equivalent", "pairs")]
            lines.append(f"| {' | '.join([*row, percent(c, 'covered', 'intervals')])} |")
    return lines


def decided(done: dict[str, Any]) -> list[str]:
    lines = header(
        "runs", "arms", "sd", "never", "diverged", "paths", "wrong word on a path, % [95%]", "equivalent, %",
        "undecided, %", "looks", "runs of a path",
    )  # fmt: skip
    for job, c in counted(done, "decided"):
        real = str(job.cell).startswith("real")
        if getattr(job.cell, "ratio", 1.0) == 1.0:
            cell = ["real", str(job.cell.arms), "", "", ""] if real else ["simulated", *law(job)]
            row = [*cell, f"{c['paths']:,.0f}", wrong(c)]
            row += [percent(c, word, "pairs") for word in ("equivalent", "undecided")]
            row += [f"{c['looks'] / c['paths']:.1f}", f"{c['runs'] / c['paths']:,.0f}"]
            lines.append(f"| {' | '.join(row)} |")
    return lines


def ratios(done: dict[str, Any]) -> list[str]:
    lines = header(
        "ratio", "sd", "paths", "wrong word, % [95%]", "called slower, %", "undecided, %", "mean seeds of an arm",
        "mean runs", "runs of the fixed design of equal power", "decided / fixed",
    )  # fmt: skip
    for job, c in counted(done, "decided"):
        cell: Any = job.cell
        if getattr(cell, "ratio", 1.0) != 1.0:
            runs, equal = c["runs"] / c["paths"], equal_power(done, job, c.get("slower", 0) / c["paths"])
            share = f"{runs / equal:.2f}" if equal else "–"
            row = [f"{cell.ratio:g}x", f"{cell.sd:g}", f"{c['paths']:,.0f}", wrong(c), percent(c, "slower", "pairs"),
                   percent(c, "undecided", "pairs"), f"{c['seeds'] / c['pairs']:.0f}", f"{runs:,.0f}",
                   f"{equal:,.0f}" if equal else "more than 200 seeds", share]  # fmt: skip
            lines.append(f"| {' | '.join(row)} |")
    return lines


def equal_power(done: dict[str, Any], job: Job, power: float) -> float | None:
    """Runs of two arms at five rates with as many seeds as give one look this power (at most 99%), interpolated."""
    seen = [done.get(job._replace(procedure="power", n=n).key) for n in POWER_SEEDS]
    if not all(seen):
        return None
    found = np.maximum.accumulate([c.get("slower", 0) / c["paths"] for c in seen if c])
    wanted = min(power, 0.99)
    if found[-1] < wanted:
        return None
    return float(np.interp(wanted, found, POWER_SEEDS)) * 2 * 5


def naive(done: dict[str, Any]) -> list[str]:
    lines = header("runs", "arms", "sd", "paths", "wrong word at the end, % [95%]", "looks", "runs of a path")
    for job, c in counted(done, "naive"):
        real = str(job.cell).startswith("real")
        cell = ["real", str(job.cell.arms), ""] if real else ["simulated", *law(job)[:2]]
        row = [
            *cell,
            f"{c['paths']:,.0f}",
            wrong(c),
            f"{c['looks'] / c['paths']:.1f}",
            f"{c['runs'] / c['paths']:,.0f}",
        ]
        lines.append(f"| {' | '.join(row)} |")
    return lines
