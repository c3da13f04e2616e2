"""What the catalogue knows of an initializer: its entry, and the decorator that writes it down beside the function."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from initbench.initializers.contract import Contract

F = TypeVar("F", bound=Callable[..., Any])

REGISTRY: dict[str, "Entry"] = {}


@dataclass(frozen=True)
class Entry:
    """One initializer: the function, what it says, where it comes from and what a test may hold it to."""

    name: str
    function: Callable[..., Any]
    formula: str
    source: str
    meant_for: str
    contract: Contract = field(repr=False)
    needs: str = "nothing"  # nothing | module | data | gradient: what the function must see besides the matrix
    note: str = ""  # e.g. "not confirmed: ..."

    @property
    def target(self) -> str:
        """The dotted path a configuration would name.

        >>> REGISTRY["eye"].target
        'initbench.initializers.eye_'
        """
        return f"initbench.initializers.{self.function.__name__}"


def entry_of(function: Callable[..., Any]) -> Entry | None:
    """The entry of a function of the catalogue, or None.

    >>> entry_of(print)
    """
    return next((entry for entry in REGISTRY.values() if entry.function is function), None)


def catalogued(
    *, formula: str, source: str, meant_for: str, contract: Contract, needs: str = "nothing", note: str = ""
) -> Callable[[F], F]:
    """Register an initializer under its name without the trailing underscore; the function itself stays as it is.

    >>> REGISTRY["xavier_normal"].source
    'Glorot & Bengio 2010'
    """

    def register(function: F) -> F:
        name = function.__name__.removesuffix("_")
        REGISTRY[name] = Entry(name, function, formula, source, meant_for, contract, needs, note)
        function.needs = needs  # type: ignore[attr-defined]
        return function

    return register
