"""Named cells of the engine benchmark: a net, how many runs, how many steps; and the same work for every peer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BATCH, INPUTS, CLASSES, SAMPLES = 64, 64, 10, 1437
LR = 0.01


@dataclass(frozen=True)
class Cell:
    """R runs of a depth x width ReLU net on 64 inputs and 10 classes, cross-entropy, SGD, batch 64, float32."""

    name: str
    runs: int
    width: int
    depth: int = 6
    steps: int = 60
    measured: bool = False  # with the default evaluations and light measures (JAX: most of them)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (INPUTS, *[self.width] * self.depth, CLASSES)

    @property
    def flops(self) -> int:
        """Multiplications and additions of a training step in matrix products; the inputs get no gradient."""
        pairs = list(zip(self.sizes, self.sizes[1:]))
        return 6 * BATCH * sum(a * b for a, b in pairs) - 2 * BATCH * pairs[0][0] * pairs[0][1]


CELLS = [
    Cell("w16_r20", 20, 16, steps=300),
    Cell("w32_r1", 1, 32, steps=600),
    Cell("w32_r5", 5, 32, steps=300),
    Cell("w32_r20", 20, 32, steps=150),
    Cell("w32_r100", 100, 32),
    Cell("w32_r1000", 1000, 32, steps=20),
    Cell("w64_r5", 5, 64, steps=200),
    Cell("w64_r20", 20, 64),
    Cell("w64_r100", 100, 64, steps=20),
    Cell("w128_r5", 5, 128),
    Cell("w128_r20", 20, 128, steps=30),
    Cell("w256_r20", 20, 256, steps=12),
    Cell("d2_w64_r20", 20, 64, depth=2, steps=150),
    Cell("d30_w32_r20", 20, 32, depth=30, steps=30),
    Cell("w32_r20_measured", 20, 32, steps=300, measured=True),
    Cell("w64_r20_measured", 20, 64, steps=300, measured=True),
]


QUICK = ("w32_r5", "w32_r20", "w64_r20", "w64_r20_measured")  # a look of a minute or two


def named(name: str) -> Cell:
    """The cell of a name."""
    return next(cell for cell in CELLS if cell.name == name)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs (SAMPLES, 64) and classes (SAMPLES,), the same for every peer."""
    draw = np.random.default_rng(0)
    return draw.standard_normal((SAMPLES, INPUTS)).astype("f4"), draw.integers(0, CLASSES, SAMPLES)


def start(cell: Cell) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (R, m, n) and biases (R, m) of every layer."""
    draw = np.random.default_rng(1)
    pairs = zip(cell.sizes, cell.sizes[1:])
    return [
        ((draw.standard_normal((cell.runs, m, n)) * (2 / n) ** 0.5).astype("f4"), np.zeros((cell.runs, m), "f4"))
        for n, m in pairs
    ]


def batches(cell: Cell) -> np.ndarray:
    """Sample numbers (T, R, B)."""
    return np.random.default_rng(2).integers(0, SAMPLES, (cell.steps, cell.runs, BATCH)).astype(np.int32)
