"""How often are the verdicts wrong? Simulated studies in which the truth is known.

    python benchmarks/calibration.py                     # all cells, resumes; about 20 minutes on one core
    python benchmarks/calibration.py --studies 200       # a quick look
    python benchmarks/calibration.py --doc docs/calibration.md      # its tables, from the results

A study has 8 arms of one law and a baseline among them: log T = log 66 + profile(lr) + seed effect + noise, rounded up
to the next evaluation (every step to 20, then 5% apart), infinite beyond the budget or if the run diverges. Whoever is
called faster or slower there is called so wrongly. Two more arms, 1.5 and 1.1 times as slow by construction, tell power
and false equivalence. Beside the procedure of `initbench.stats` the same data is judged in three naive ways.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from scipy import special
from scipy import stats as sps

from initbench.stats import verdict
from initbench.stats.crossfit import Crossfit, crossfits, halvings, judged
from initbench.stats.intervals import wilson
from initbench.stats.panel import Panel

RESULTS = Path(__file__).parent / "results" / "calibration.json"
STUDIES = 2000
MEDIAN, BUDGET, SEED_EFFECT = 66.0, 300.0, 0.15
PROFILE = np.array([0.8, 0.2, 0.0, 0.05, 0.7])  # of log T over five learning rates
ARMS = 8
MARK = "<!-- tables: python benchmarks/calibration.py --doc docs/calibration.md -->"
SLOWER, NEAR = 1.5, 1.1


def cells() -> list[dict[str, float]]:
    """n seeds, sd of the noise, share that never arrives within the budget, share that diverges."""
    never_diverged = [(0.0, 0.0), (0.0, 0.1), (0.15, 0.0), (0.7, 0.0)]
    grid = product((8, 10, 20), (0.25, 0.5), never_diverged)
    return [{"n": n, "sd": sd, "never": never, "diverged": diverged} for n, sd, (never, diverged) in grid]


def name(cell: dict[str, float]) -> str:
    return " ".join(f"{key}={value:g}" for key, value in cell.items())


# ---- data


def evaluations(budget: float) -> np.ndarray:
    grid = list(range(21))
    while grid[-1] < budget:
        grid.append(int(min(budget, max(grid[-1] + 1, np.ceil(grid[-1] * 1.05)))))
    return np.array(grid, dtype=float)


def draw(cell: dict[str, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """(T (arms, L, n) with infinity, evaluation grid, budget); the last two arms are SLOWER and NEAR copies of arm 7."""
    n, sd = int(cell["n"]), cell["sd"]
    log = np.log(MEDIAN) + PROFILE[:, None] + rng.normal(0, SEED_EFFECT, n) + rng.normal(0, sd, (ARMS, len(PROFILE), n))
    log = np.concatenate([log, log[-1:] + np.log(SLOWER), log[-1:] + np.log(NEAR)])
    budget = BUDGET
    if cell["never"]:
        budget = round(MEDIAN * np.exp(sps.norm.ppf(1 - cell["never"]) * np.hypot(sd, SEED_EFFECT)))
    grid = evaluations(budget)
    t = np.exp(log)
    at = np.searchsorted(grid, np.minimum(t, budget))
    dead = rng.random((ARMS, *log.shape[1:])) < cell["diverged"]
    lost = (t > budget) | np.concatenate([dead, dead[-1:], dead[-1:]])
    return np.where(lost, np.inf, grid[at]), grid, budget


def panels_of(t: np.ndarray, budget: float, loss: np.ndarray) -> list[Panel]:
    rates, seeds = np.arange(t.shape[1], dtype=float), np.arange(t.shape[2])
    log = np.log(np.maximum(np.minimum(t, budget), 1.0))
    return [Panel(rates, seeds, log[i], np.isfinite(t[i]).astype(float), loss[i]) for i in range(len(t))]


# ---- the procedure, and three naive ones


def side_of(panel: Panel) -> verdict.Side:
    best = int(np.argmin(panel.key.mean(axis=1)))
    edge = "low" if best == 0 else "high" if best == len(panel.lrs) - 1 else ""
    return verdict.Side(float(panel.reached[best].mean()), edge)


class Study:
    """One simulated study, judged; families are lists of arms against arm 0."""

    def __init__(self, cell: dict[str, float], rng: np.random.Generator) -> None:
        self.t, self.grid, self.budget = draw(cell, rng)
        self.loss = rng.random(self.t.shape)
        self.panels = panels_of(self.t, self.budget, self.loss)
        self.sides = [side_of(panel) for panel in self.panels]
        self.fits = crossfits(self.panels)
        self._earlier: tuple[list[Panel], list[Crossfit]] | None = None
        self._contrasts: dict[tuple[int, bool], verdict.Contrast] = {}

    @property
    def earlier(self) -> tuple[list[Panel], list[Crossfit]]:
        """Every T one evaluation earlier."""
        if self._earlier is None:
            at = np.searchsorted(self.grid, np.where(np.isfinite(self.t), self.t, 0.0))
            before = np.where(np.isfinite(self.t), self.grid[np.maximum(at - 1, 0)], np.inf)
            panels = panels_of(before, self.budget, self.loss)
            self._earlier = panels, crossfits(panels)
        return self._earlier

    def contrasts(self, arms: list[int], shifted: bool = False) -> list[verdict.Contrast]:
        panels, fits = self.earlier if shifted else (self.panels, self.fits)
        for i in arms:
            if (i, shifted) not in self._contrasts:
                self._contrasts[i, shifted] = verdict.contrast(panels[i], fits[i], panels[0], fits[0])
        return [self._contrasts[i, shifted] for i in arms]

    def verdicts(self, arms: list[int]) -> tuple[list[verdict.Contrast], list[verdict.Verdict]]:
        sides = [self.sides[i] for i in arms]
        bases = [self.sides[0]] * len(arms)
        contrasts = self.contrasts(arms)
        found = verdict.verdicts(contrasts, sides, bases)
        if any(one.word in verdict.DECIDED for one in found):
            again = verdict.verdicts(self.contrasts(arms, shifted=True), sides, bases)
            found = [verdict.stands(one, other) for one, other in zip(found, again)]
        return contrasts, found

    def finished_only(self, arms: list[int]) -> list[tuple[float, float, float]]:
        """(estimate, SE, p): Welch's test of the mean steps of finished runs, at the rate with the best such mean."""
        best = []
        for t in self.t[[0, *arms]]:
            rows = [row[np.isfinite(row)] for row in t]
            rows = [row for row in rows if len(row) > 1]
            best.append(min(rows, key=np.mean) if rows else np.zeros(0))
        out = []
        for row in best[1:]:
            if not (len(row) and len(best[0])):
                out.append((np.nan, np.nan, 1.0))
                continue
            a, b = row.var(ddof=1) / len(row), best[0].var(ddof=1) / len(best[0])
            se = float(np.sqrt(a + b))
            df = se**4 / (a**2 / (len(row) - 1) + b**2 / (len(best[0]) - 1)) if se else 1.0
            p = float(2 * sps.t.sf(abs(row.mean() - best[0].mean()) / se, df)) if se else 1.0
            ratio = np.log(row.mean() / best[0].mean())
            out.append((float(ratio), float(se / row.mean()), p))
        return out

    def same_seeds(self, arms: list[int]) -> list[tuple[float, float, float]]:
        """The best rate on all seeds, then a paired t-test on the same seeds."""
        at_best = [panel.log[np.argmin(panel.key.mean(axis=1))] for panel in self.panels]
        return [_paired(at_best[i] - at_best[0], len(at_best[0]) - 1) for i in arms]

    def plain_halves(self, arms: list[int]) -> list[tuple[float, float, float]]:
        """One halving, rates chosen on the other half; then the scores are resampled as if the rates were given.

        The bootstrap's SE of a mean is sd / sqrt(n), its p normal: exact in the limit of many resamples.
        """
        one = halvings(self.t.shape[2])[0]
        scores = []
        for panel in self.panels:
            on = [int(np.argmin(panel.key[:, one == k].mean(axis=1))) for k in (0, 1)]
            scores.append(np.where(one == 1, panel.log[on[0]], panel.log[on[1]]))
        return [_paired(scores[i] - scores[0], np.inf, ddof=0) for i in arms]


def _paired(d: np.ndarray, degrees: float, ddof: int = 1) -> tuple[float, float, float]:
    """Estimate, SE and p of t with so many degrees of freedom (infinity: normal)."""
    se = float(d.std(ddof=ddof) / np.sqrt(len(d)))
    return float(d.mean()), se, float(2 * special.stdtr(degrees, -abs(d.mean()) / se)) if se > 0 else 1.0


# ---- counting


def simulate(cell: dict[str, float], studies: int, seed: int) -> dict[str, float]:
    """Counts over `studies` studies."""
    rng = np.random.default_rng(seed)
    count: dict[str, float] = {"studies": 0}
    null, power, near = list(range(1, ARMS)), [*range(1, ARMS - 1), ARMS], [*range(1, ARMS - 1), ARMS + 1]

    def add(key: str, value: float = 1.0) -> None:
        count[key] = count.get(key, 0.0) + value

    t95 = float(sps.t.ppf(0.975, cell["n"] - 1))
    for _ in range(studies):
        study = Study(cell, rng)
        count["studies"] += 1
        contrasts, found = study.verdicts(null)
        words = [one.word for one in found]
        add("any wrong", bool({"faster", "slower"} & set(words)))
        for word in ("faster", "slower", "equivalent", "undecided"):
            add(f"null {word}", words.count(word))
        for one, said in zip(contrasts, found):
            if said.test == "ratio":
                low, high = one.interval()
                add("ratios")
                add("covered", low <= 0 <= high)
        contrasts, found = study.verdicts(power)
        add(f"slow {found[-1].word}")
        if found[-1].test == "ratio":
            add("slow ratios")
            add("slow log", contrasts[-1].estimate)
            add("slow covered", abs(contrasts[-1].estimate - np.log(SLOWER)) <= t95 * contrasts[-1].error)
            needed = verdict.seeds_to_decide(
                contrasts[-1]._replace(estimate=np.log(SLOWER), n=int(cell["n"])), "ratio", 7
            )
            add("slow needed", needed or 1000)
        add(f"near {study.verdicts(near)[1][-1].word}")
        for way in ("finished_only", "same_seeds", "plain_halves"):
            tests = getattr(study, way)(null)
            add(f"{way} any wrong", bool((verdict.holm([p for *_, p in tests]) < verdict.ALPHA).any()))
            critical = 1.96 if way == "plain_halves" else t95
            for estimate, se, _ in tests:
                if np.isfinite(estimate):
                    add(f"{way} intervals")
                    add(f"{way} covered", abs(estimate) <= critical * se)
    return count


def favour(noise: float, n: int, studies: int, seed: int = 7) -> dict[str, float]:
    """Mean ratio of an arm with five equally good, noisy rates to one with a single rate; the truth is 1."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[float]] = {"fair": [], "same seeds": []}
    for _ in range(studies):
        log = rng.normal(np.log(MEDIAN), noise, (len(PROFILE) + 1, n))
        seeds, ones = np.arange(n), np.ones((len(PROFILE), n))
        many = Panel(np.arange(len(PROFILE), dtype=float), seeds, log[:-1], ones, ones)
        fit = crossfits([many], 1)[0]
        out["fair"].append(float(judged(many.log, fit.rates).mean() - log[-1].mean()))
        out["same seeds"].append(float(log[:-1].mean(axis=1).min() - log[-1].mean()))
    return {way: float(np.exp(np.mean(values))) for way, values in out.items()}


def run(studies: int, results: Path, block: int = 250) -> None:
    """Fill every cell up to `studies`, block by block; each finished block is written down."""
    done: dict[str, dict[str, float]] = json.loads(results.read_text()) if results.is_file() else {}
    for number, cell in enumerate(cells()):
        key = name(cell)
        while (have := int(done.get(key, {}).get("studies", 0))) < studies:
            started = time.process_time()
            size = min(block, studies - have)
            counts = simulate(cell, size, seed=10_000 * number + have)
            before = done.get(key, {})
            done[key] = {k: before.get(k, 0.0) + counts.get(k, 0.0) for k in sorted({*before, *counts})}
            results.parent.mkdir(parents=True, exist_ok=True)
            results.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
            print(f"{key}: {have + size}/{studies}, {time.process_time() - started:.0f} s", flush=True)


# ---- tables


def _share(count: dict[str, float], key: str, of: float) -> str:
    return f"{100 * count.get(key, 0.0) / of:.1f}" if of else "–"


def _needed(count: dict[str, float], n: float) -> str:
    """Seeds that would give 80% power where both arms pass the gate: errors of this cell, its own mean effect.

    Never arrived counts as the budget, which shrinks the effect; seeds needed go with its inverse square.
    """
    of = count.get("slow ratios", 0.0)
    if of < 50:
        return "–"
    effect = count["slow log"] / of
    needed = count["slow needed"] / of * (np.log(SLOWER) / effect) ** 2
    return f"{needed:.0f}" if needed > n + 2 else f"≤ {n:g}"


def _rows(done: dict[str, dict[str, float]]) -> Iterator[tuple[list[str], dict[str, float]]]:
    for cell in cells():
        count = done.get(name(cell))
        if count:
            yield [f"{cell['n']:g}", f"{cell['sd']:g}", f"{cell['never']:.0%}", f"{cell['diverged']:.0%}",
                   f"{count['studies']:,.0f}"], count  # fmt: skip


def table(results: Path) -> str:
    """Markdown of everything measured."""
    done = json.loads(results.read_text())
    head = ["n", "sd", "never", "diverged", "studies"]
    first = [
        *head,
        "false alarm in a study, % [95%]",
        "faster",
        "slower",
        "equivalent",
        "undecided",
        "intervals cover, %",
    ]
    second = [*head, "called slower (power), %", "called equivalent", "called faster", "covers log 1.5, %", "both pass the gate, %", "n for 80% there",
              "1.1x called equivalent, %"]  # fmt: skip
    third = [*head, "this procedure", "mean of finished", "same seeds", "plain halves", "covers: this", "finished",
             "same seeds ", "halves"]  # fmt: skip
    rows: dict[str, list[list[str]]] = {"a": [], "b": [], "c": []}
    for start, c in _rows(done):
        n, tests = c["studies"], c["studies"] * (ARMS - 1)
        low, high = wilson(c.get("any wrong", 0.0), int(n))
        wrong = f"{_share(c, 'any wrong', n)} [{100 * low:.1f}, {100 * high:.1f}]"
        words = [_share(c, f"null {word}", tests) for word in ("faster", "slower", "equivalent", "undecided")]
        rows["a"].append([*start, wrong, *words, _share(c, "covered", c.get("ratios", 0.0))])
        of = c.get("slow ratios", 0.0)
        uncensored = start[2] == "0%" and start[3] == "0%"
        rows["b"].append(
            [*start, _share(c, "slow slower", n), _share(c, "slow equivalent", n), _share(c, "slow faster", n),
             _share(c, "slow covered", of) if uncensored else "–", _share(c, "slow ratios", n),
             _needed(c, float(start[0])), _share(c, "near equivalent", n)]
        )  # fmt: skip
        ways = ("finished_only", "same_seeds", "plain_halves")
        rows["c"].append(
            [*start, _share(c, "any wrong", n), *[_share(c, f"{way} any wrong", n) for way in ways],
             _share(c, "covered", c.get("ratios", 0.0)),
             *[_share(c, f"{way} covered", c.get(f"{way} intervals", 0.0)) for way in ways]]
        )  # fmt: skip
    blocks = []
    for title, columns, body in (("Eight equal arms", first, rows["a"]), ("One slower arm", second, rows["b"]),
                                 ("Beside naive ways: false alarm in a study, %, and coverage, %", third, rows["c"])):  # fmt: skip
        lines = ["| " + " | ".join(columns) + " |", "|" + " ---: |" * len(columns)]
        blocks.append("\n".join([f"### {title}", "", *lines, *["| " + " | ".join(row) + " |" for row in body]]))
    lines = ["| sd | n | rate chosen on other seeds | chosen on the same seeds |", "|" + " ---: |" * 4]
    for noise, n in product((0.25, 0.5), (10, 20)):
        ratio = favour(noise, n, 2000)
        lines.append(f"| {noise} | {n} | {ratio['fair']:.3f} | {ratio['same seeds']:.3f} |")
    blocks.append("\n".join(["### Five equally good rates against one: mean ratio, truth 1", "", *lines]))
    return "\n\n".join(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated studies a cell")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the tables of what is there")
    parser.add_argument("--doc", type=Path, help="write the tables into this page, below its mark")
    arguments = parser.parse_args()
    if arguments.doc is not None:
        text = arguments.doc.read_text(encoding="utf-8")
        head = text[: text.index(MARK) + len(MARK)] if MARK in text else f"{text}\n{MARK}"
        arguments.doc.write_text(f"{head}\n\n{table(arguments.results)}\n", encoding="utf-8")
    elif arguments.table:
        print(table(arguments.results))
    else:
        run(arguments.studies, arguments.results)


if __name__ == "__main__":
    main()
