"""Laws that SciPy does not have; each offers `cdf`, `mean` and `var`, as SciPy's frozen distributions do."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from initbench.startup.late import special, stats


@dataclass(frozen=True)
class Mirrored:
    """S X with S a fair sign and X from a law on the positive numbers.

    >>> float(Mirrored(stats.uniform(5, 5)).cdf(0.0))
    0.5
    """

    size: Any

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return (1 + self.size.cdf(x) - self.size.cdf(-np.asarray(x))) / 2

    def mean(self) -> float:
        return 0.0

    def var(self) -> float:
        return float(self.size.var() + self.size.mean() ** 2)


@dataclass(frozen=True)
class Signs:
    """+-size with a fair sign.

    >>> float(Signs(2.0).cdf(0.0)), Signs(2.0).var()
    (0.5, 4.0)
    """

    size: float

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return 0.5 * (np.asarray(x) >= -self.size) + 0.5 * (np.asarray(x) >= self.size)

    def mean(self) -> float:
        return 0.0

    def var(self) -> float:
        return self.size**2


@dataclass(frozen=True)
class Mixture:
    """X from the first law with probability p, else from the second.

    >>> Mixture(0.25, stats.norm(4), stats.norm(0)).mean()
    1.0
    """

    p: float
    first: Any
    second: Any

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return self.p * self.first.cdf(x) + (1 - self.p) * self.second.cdf(x)

    def mean(self) -> float:
        return float(self.p * self.first.mean() + (1 - self.p) * self.second.mean())

    def var(self) -> float:
        square = self.p * (self.first.var() + self.first.mean() ** 2)
        square += (1 - self.p) * (self.second.var() + self.second.mean() ** 2)
        return float(square - self.mean() ** 2)


@dataclass(frozen=True)
class TwoSigma:
    """A normal of this mean and std, cut at 2 std on both sides; its true std is .87962566 std.

    SciPy's truncnorm says the same, ten times slower.

    >>> round(TwoSigma(0.0, 1.0).var() ** 0.5, 8)
    0.87962566
    """

    centre: float
    std: float

    def cdf(self, x: np.ndarray) -> np.ndarray:
        low, high = special.ndtr([-2.0, 2.0])
        z = np.clip((np.asarray(x) - self.centre) / self.std, -2, 2)
        return (special.ndtr(z) - low) / (high - low)

    def mean(self) -> float:
        return self.centre

    def var(self) -> float:
        density = np.exp(-2.0) / np.sqrt(2 * np.pi)
        return float(self.std**2 * (1 - 4 * density / np.diff(special.ndtr([-2.0, 2.0]))[0]))


def sphere_entry(dimension: int, radius: float = 1.0) -> Any:
    """Law of one coordinate of a uniform point on the sphere of that radius: also of an entry of a Haar matrix.

    (1 + x/radius)/2 ~ Beta((d-1)/2, (d-1)/2); in one dimension +-radius.

    >>> round(float(sphere_entry(4, 2.0).var()), 12)
    1.0
    """
    if dimension == 1:
        return Signs(radius)
    half = (dimension - 1) / 2
    return stats.beta(half, half, loc=-radius, scale=2 * radius)


def arcsine(bound: float) -> Any:
    """Law of bound sin(U), U uniform on the circle: variance bound^2 / 2.

    >>> round(float(arcsine(2**0.5).var()), 12)
    1.0
    """
    return stats.arcsine(-bound, 2 * bound)
