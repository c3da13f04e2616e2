"""What came out of each part of a claim, in words for pages that speak of many claims."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from initbench.claims.page import of_part, records, where
from initbench.claims.placed import number, region
from initbench.claims.prediction import Prediction
from initbench.claims.words import is_placed, part_words, spread


class Found(NamedTuple):
    """A part: the word that was expected, the word that came out, in how many of its `cells` it holds and fails.

    `spread`: median of what was measured, with smallest and largest; `quantity`: what that is. `missed`: of a claim about numbers, those that are
    not where the claim puts them.
    """

    name: str
    says: str
    expected: str
    word: str
    cells: int
    holds: int
    fails: int
    spread: str
    where: str
    missed: tuple[str, ...] = ()
    quantity: str = ""


def found(given: Prediction, measured: pd.DataFrame) -> list[Found]:
    """Every part, from its table alone."""
    out = []
    for part, word in zip(given.parts, part_words(measured, given.parts).values()):
        rows = of_part(measured, part.name)
        holds, fails = ((rows["word"] == said) for said in ("holds", "fails"))
        missed = tuple(map(miss, records(rows[fails]))) if is_placed(rows) else ()
        counts = (len(rows), int(holds.sum()), int(fails.sum()))
        quantity = ", ".join(dict.fromkeys(rows["quantity"]))
        out.append(
            Found(part.name, part.says, part.expected, word, *counts, spread(rows), where(rows), missed, quantity)
        )
    return out


def miss(row: dict[str, object]) -> str:
    """A number that is not where the claim puts it.

    >>> miss({"quantity": "E u^2", "setup": "tied", "cell": "N 4", "ratio": 9.0, "low": 8.5, "high": 9.5, "n": 20.0,
    ...     "predicted": 7.5, "least": 7.1, "most": 7.9})
    'E u^2 of tied, N 4: 9 [8.5, 9.5], claimed 7.5 (7.1 to 7.9)'
    """
    value, low, high, predicted, least, most = (
        float(str(row[name])) for name in ("ratio", "low", "high", "predicted", "least", "most")
    )
    ends = f" [{number(low)}, {number(high)}]" if low < high else ""
    return (
        f"{row['quantity']} of {row['setup']}, {row['cell']}: {number(value)}{ends}, "
        f"claimed {region(predicted, least, most)}"
    )
