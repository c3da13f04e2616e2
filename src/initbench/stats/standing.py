"""Words that stand: of a study that was looked at until it was decided, each pair keeps what its last look found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

# what a look finds of a pair, as in the comparisons
FOUND = (
    "verdict", "reason", "decide", "seeds_needed", "ratio_of", "ratio", "ratio_low", "ratio_high", "equal_low",
    "equal_high", "p", "p_holm", "test", "family", "p_faster", "p_faster_low", "p_faster_high", "pairs",
    "reached_pairs", "reached_pairs_baseline", "n", "n_baseline", "reached", "reached_baseline", "lr", "lr_baseline",
    "lr_at_edge", "same_as",
)  # fmt: skip


def standing(pairs: pd.DataFrame, looks: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The comparisons with what the last look at each pair found; a word that fell stands, with its n in `decided_at`."""
    last = {(row["setting"], row["setup"]): row for row in looks}
    if not last:
        return pairs
    rows = []
    for row in pairs.to_dict("records"):
        seen = last.get((row["setting"], row["setup"]))
        if seen is not None and seen["baseline"] == row["baseline"]:
            row |= {name: seen[name] for name in FOUND} | {"look": seen["look"]}
            row["decided_at"] = seen["pairs"] if seen["verdict"] != "undecided" else None
        rows.append(row)
    return pd.DataFrame(rows, columns=pairs.columns)
