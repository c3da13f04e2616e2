"""Modules that are imported at their first use: importing them takes longer than what most commands need of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from initbench.startup.plain import plain_start


class Late:
    """Stands for a module until something of it is asked for; `known` are names that need no import at first.

    >>> float(Late("scipy.stats").norm.ppf(0.5))
    0.0
    """

    def __init__(self, name: str, **known: Any) -> None:
        self._name = name
        if plain_start():
            import_module(name)
        else:
            self.__dict__.update(known)

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        self.__dict__[attribute] = found
        return found


class LateFamily:
    """A location-scale family of scipy.stats whose mean and variance are known in closed form: they need no import.

    An arm's theory asks for nothing else of most initializers, and importing scipy.stats takes half a second. `mean` and
    `var` are those at location 0 and scale 1, functions of the family's `shapes` positive parameters.

    >>> uniform = LateFamily("uniform", mean=lambda: 0.5, var=lambda: 1 / 12)
    >>> law = uniform(-1.0, 2.0)
    >>> law.mean(), float(law.cdf(0.0)), float(uniform.cdf(0.25))
    (0.0, 0.5, 0.25)
    """

    def __init__(self, name: str, mean: Callable[..., float], var: Callable[..., float], shapes: int = 0) -> None:
        self._name, self._mean, self._var, self._shapes = name, mean, var, shapes

    def __call__(self, *args: float, loc: float = 0.0, scale: float = 1.0) -> LateLaw:
        shapes, place = args[: self._shapes], args[self._shapes :]
        return LateLaw(self, shapes, *place, *(loc, scale)[len(place) :])

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(import_module("scipy.stats"), self._name), attribute)


class LateLaw:
    """One law of such a family; what is not known in closed form comes from scipy's frozen law."""

    def __init__(self, family: LateFamily, shapes: tuple[float, ...], loc: float, scale: float) -> None:
        self._family, self._shapes, self._loc, self._scale = family, shapes, loc, scale

    def mean(self) -> float:
        """Expected value; nan where the scale or a shape is not positive, as scipy has it."""
        return self._family._mean(*self._shapes) * self._scale + self._loc if self._valid else float("nan")

    def var(self) -> float:
        """Variance; nan where the scale or a shape is not positive."""
        return self._family._var(*self._shapes) * self._scale * self._scale if self._valid else float("nan")

    @property
    def _valid(self) -> bool:
        return all(value > 0 for value in (self._scale, *self._shapes))

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # copy and pickle ask for their hooks before there is a family
            raise AttributeError(attribute)
        return getattr(self._family.freeze(*self._shapes, self._loc, self._scale), attribute)


stats: Any = Late(
    "scipy.stats",
    norm=LateFamily("norm", mean=lambda: 0.0, var=lambda: 1.0),
    uniform=LateFamily("uniform", mean=lambda: 0.5, var=lambda: 1 / 12),
    beta=LateFamily(
        "beta", mean=lambda a, b: a / (a + b), var=lambda a, b: a * b / ((a + b) ** 2 * (a + b + 1)), shapes=2
    ),
)
optimize: Any = Late("scipy.optimize")
special: Any = Late("scipy.special")  # a fifth of a second: it imports numpy.f2py and numpy.testing
linalg: Any = Late("scipy.linalg")
