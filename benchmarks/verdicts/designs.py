"""Which rule for looking again needs the fewest seeds at the same error? Normal differences, looks at 10, 20, 40, 80, 200.

    python -m benchmarks.verdicts.designs

Each rule is a boundary for |Z_k| whose probability of ever being crossed by equal arms is alpha. Compared are a union bound;
one level for all looks (Pocock 1977); C / sqrt(n_k) (O'Brien and Fleming 1979); Lan and DeMets (1983) spending of either
type; and a confidence sequence, valid at every n (normal mixture, Robbins 1970, tightest at n = 40), used at these looks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats as sps

from initbench.stats import nested

SIZES = nested.sizes(10, 200)
T = np.array(SIZES) / SIZES[-1]
RATIOS = (1.0, 1.1, 1.25, 1.5, 2.0)
PATHS = 200_000


def paths(rng: np.random.Generator, number: int = PATHS) -> np.ndarray:
    """(number, K) Z_k of equal arms."""
    steps = np.sqrt(np.diff([0, *SIZES])) * rng.standard_normal((number, len(SIZES)))
    return np.asarray(np.cumsum(steps, axis=1) / np.sqrt(SIZES))


def spent(spending: Callable[[np.ndarray], np.ndarray], null: np.ndarray) -> np.ndarray:
    """Boundaries that spend the error as `spending(T)` says, found on simulated paths of equal arms."""
    alive, bounds, before = np.ones(len(null), bool), [], 0.0
    for k, total in enumerate(spending(T)):
        alpha = (total - before) / alive.mean()
        bound = float(np.quantile(np.abs(null[alive, k]), 1 - alpha)) if alpha * alive.sum() > 5 else np.inf
        bounds.append(bound)
        alive &= np.abs(null[:, k]) < bound
        before = total
    return np.array(bounds)


def rules(alpha: float, null: np.ndarray) -> dict[str, np.ndarray]:
    """{rule: (K,) boundaries of |Z_k|}"""
    z = float(sps.norm.isf(alpha / 2))
    n, rho = np.array(SIZES), 40 / (-2 * np.log(alpha) + np.log(-2 * np.log(alpha)) + 1)
    scale = np.quantile((np.abs(null) * np.sqrt(T)).max(axis=1), 1 - alpha)
    return {
        "union bound": np.full(len(T), sps.norm.isf(alpha / 2 / len(T))),
        "one level (Pocock), used here": np.full(len(T), sps.norm.isf(nested.level(SIZES, alpha) / 2)),
        "O'Brien-Fleming": scale / np.sqrt(T),
        "Lan-DeMets, Pocock type": spent(lambda t: alpha * np.log(1 + (np.e - 1) * t), null),
        "Lan-DeMets, O'Brien-Fleming type": spent(lambda t: 2 * sps.norm.sf(z / np.sqrt(t)), null),
        "confidence sequence": np.sqrt((n + rho) / n * np.log((n + rho) / (rho * alpha**2))),
    }


def outcome(z: np.ndarray, bounds: np.ndarray) -> tuple[float, float]:
    """(share decided, mean seeds of an arm) of paths that stop where they cross, or at the last look."""
    hit = np.abs(z) >= bounds
    decided = hit.any(axis=1)
    return float(decided.mean()), float(np.array(SIZES)[np.where(decided, hit.argmax(axis=1), -1)].mean())


def fixed(power: float, drift: float, alpha: float) -> float:
    """Seeds of the fixed design with this power: ((z_{alpha/2} + z_power) / drift)^2, power at most 99%."""
    return float(((sps.norm.isf(alpha / 2) + sps.norm.ppf(min(power, 0.99))) / drift) ** 2)


def table(sd: float, alpha: float, seed: int = 3) -> list[str]:
    """Markdown: for each rule the error, and at each ratio the share decided, mean seeds, and those of the fixed design."""
    rng = np.random.default_rng(seed)
    null, test = paths(rng), paths(rng)
    lines = ["| rule | wrong, % | " + " | ".join(f"{r}x: decided %, seeds (fixed)" for r in RATIOS[1:]) + " |"]
    lines.append("|---" * (len(RATIOS) + 1) + "|")
    for name, bounds in rules(alpha, null).items():
        cells = [f"{100 * outcome(test, bounds)[0]:.2f}"]
        for ratio in RATIOS[1:]:
            drift = np.log(ratio) / (sd * np.sqrt(2))
            share, seeds = outcome(test + drift * np.sqrt(SIZES), bounds)
            cells.append(f"{100 * share:.0f}, {seeds:.0f} ({fixed(share, drift, alpha):.0f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def tables() -> list[str]:
    """Markdown of all cells."""
    lines: list[str] = []
    for sd in (0.25, 0.5):
        for alpha, words in ((0.05, "one comparison"), (0.05 / 7, "the first of seven by Holm")):
            lines += ["", f"Noise sd {sd} of log steps, level {alpha:.4f} ({words}):", "", *table(sd, alpha)]
    return lines


if __name__ == "__main__":
    print("\n".join(tables()))
