"""Which test of two arms at a fixed n is wrong in 5% of the studies, and has the most power?

    python -m benchmarks.verdicts.tests [--studies 1000]

Compared, each at level .05: the bootstrap of the whole procedure with and without sqrt(n / (n - 1)); a paired t of the
cross-fitted outcomes, as if the rates had been given; and the exact sign-flip test, which swaps the two arms of a seed at
all rates and chooses the rates anew. Cells: real runs of one law; simulated arms of one law; the same where each arm has
another best rate, which the sign-flip test sees as noise; and each with the second arm 1.5 times as slow.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from benchmarks.verdicts import worlds
from scipy import special

from initbench.stats.crossfit import at_rates, crossfits, halvings
from initbench.stats.panel import Panel

FLIPS = 999


def sign_flip(a: Panel, b: Panel, rng: np.random.Generator) -> float:
    """p of |theta_a - theta_b| among FLIPS random swaps of the two arms in each seed."""
    n = len(a.seeds)
    own = np.concatenate([np.ones((n, 1)), rng.integers(0, 2, (n, FLIPS))], axis=1)  # (n, 1 + FLIPS)
    draws, theta = np.arange(1 + FLIPS), np.zeros((2, 1 + FLIPS))
    for side in halvings(n):
        for i, (x, y) in enumerate(((a, b), (b, a))):
            sums = [[(v[0] * s) @ own + (v[1] * s) @ (1 - own) for s in (side, 1 - side)]
                    for v in ((x.key, y.key), (x.log, y.log))]  # fmt: skip
            (key_one, key_zero), (log_one, log_zero) = sums
            theta[i] += log_zero[key_one.argmin(axis=0), draws] + log_one[key_zero.argmin(axis=0), draws]
    distance = np.abs(theta[0] - theta[1])
    return float((distance >= distance[0] - 1e-9).mean())


def tests(a: Panel, b: Panel, rng: np.random.Generator) -> dict[str, float]:
    """{test: p}"""
    n = len(a.seeds)
    one, two = crossfits([a, b])
    error = float((one.draws - two.draws).std())
    z = at_rates(a.log, one.rates).mean(axis=0) - at_rates(b.log, two.rates).mean(axis=0)

    def p(se: float) -> float:
        return float(2 * special.stdtr(n - 1, -abs(one.mean - two.mean) / se)) if se > 1e-12 else 1.0

    return {
        "bootstrap": p(error),
        "bootstrap x sqrt(n/(n-1)), used": p(error * np.sqrt(n / (n - 1))),
        "paired t, rates as given": p(float(z.std(ddof=1) / np.sqrt(n))),
        "sign flips of the procedure": sign_flip(a, b, rng),
    }


def pair(cell: worlds.Cell | worlds.RealCell, shift: bool, n: int, rng: np.random.Generator) -> list[Panel]:
    """Two arms after n seeds; shift: the second one's best rate is the neighbour of the first one's."""
    world = cell.draw(rng, n)
    tried = np.zeros((2, world.steps.shape[1]), bool)
    first, last = world.start if isinstance(cell, worlds.RealCell) else (1, 6)
    tried[0, first:last] = True
    tried[1, first + shift : last + shift] = True
    found = [world.panel(arm, tried[arm], tried[arm], n, dense=False) for arm in (0, 1)]
    rates = np.arange(last - first, dtype=float)
    return [Panel(rates, one.seeds, one.log, one.reached, one.loss) for one in found]


CELLS: dict[str, Callable[[int, np.random.Generator], list[Panel]]] = {
    "real, one law": partial(pair, worlds.RealCell(2), False),
    "simulated, one law": partial(pair, worlds.Cell(0.25, 2), False),
    "simulated, other best rate": partial(pair, worlds.Cell(0.25, 2), True),
    "simulated, 1.5x": partial(pair, worlds.Cell(0.25, 2, 1.5), False),
    "simulated, 1.5x, other best rate": partial(pair, worlds.Cell(0.25, 2, 1.5), True),
}


def table(studies: int = 1000) -> list[str]:
    """Markdown: share of studies with p < .05, in percent."""
    lines: list[str] = []
    for i, (name, draw) in enumerate(CELLS.items()):
        for n in (8, 10, 20) if "1.5x" not in name else (10,):
            count: dict[str, int] = {}
            for study in range(studies):
                rng = np.random.default_rng([i, n, study])
                for test, p in tests(*draw(n, rng), rng).items():
                    count[test] = count.get(test, 0) + (p < 0.05)
            if not lines:
                lines = [f"| cell | n | {' | '.join(count)} |", f"|{'---|' * (2 + len(count))}"]
            lines.append(f"| {name} | {n} | {' | '.join(f'{100 * k / studies:.1f}' for k in count.values())} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    print("\n".join(table(parser.parse_args().studies)))
