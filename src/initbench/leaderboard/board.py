"""Everything that a page says, from the entries alone: runs, verdicts, standing, and who cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from initbench.errors import refusal
from initbench.leaderboard.entry import Entry
from initbench.leaderboard.judged import WORDS, Judged, by_setting, over_settings
from initbench.leaderboard.runs import runs_of
from initbench.leaderboard.settings import Grid
from initbench.leaderboard.standing import Standing, standing
from initbench.stats.rates import GATE
from initbench.stats.verdict import MARGIN

GROUPS = ("best", "faster", "like the baseline", "slower")


@dataclass(frozen=True)
class Board:
    """The leaderboard of one kind of sharing. Ranked: the initializers that apply in every setting."""

    grid: Grid
    entries: list[Entry]
    sharing: str = "none"

    @cached_property
    def runs(self) -> pd.DataFrame:
        return runs_of(self.entries, self.grid, self.sharing)

    @cached_property
    def judged(self) -> Judged:
        return by_setting(self.runs, self.grid, self.grid.baseline)

    @cached_property
    def applies(self) -> dict[str, int]:
        """{initializer: in how many settings it has runs}, of those that were trained with this sharing."""
        found = self.runs.groupby("setup", sort=False)["setting"].nunique()
        return {entry.name: int(found.get(entry.name, 0)) for entry in self.entries if entry.results(self.sharing)}

    @cached_property
    def ranked(self) -> list[str]:
        return [name for name, count in self.applies.items() if count == len(self.grid.settings)]

    @cached_property
    def partial(self) -> list[str]:
        """Initializers that do not apply everywhere: judged where they do, without a place."""
        return [name for name, count in self.applies.items() if count < len(self.grid.settings)]

    @cached_property
    def standing(self) -> Standing:
        return standing(self.judged.arms, self.ranked, [one.label for one in self.grid.settings])

    @cached_property
    def order(self) -> list[str]:
        """The ranked ones, the first first."""
        return [self.standing.names[i] for i in self.standing.order]

    @cached_property
    def against_baseline(self) -> pd.DataFrame:
        """Over all settings: judged.over_settings."""
        return over_settings(self.standing, self.grid.baseline, edges=self.edges)

    @cached_property
    def against_best(self) -> pd.DataFrame:
        """The same against the first."""
        return over_settings(self.standing, self.order[0], edges=self.edges)

    @cached_property
    def edges(self) -> dict[str, float]:
        """{initializer: in which share of its settings it arrives with its best rate at an end of the grid}. Where it does not
        arrive at any rate no rate is the best; there it counts with the budget, as one that arrives nowhere does everywhere."""
        board = self.judged.board
        open_ = board[board["share"] >= GATE]
        at_end = (open_["lr_at_edge"] != "").groupby(open_["setup"]).sum()
        return {name: float(at_end.get(name, 0)) / max(count, 1) for name, count in self.applies.items()}

    @cached_property
    def at_start(self) -> dict[str, int]:
        """{initializer: in how many settings a run is at the target before its first step}, where there is one."""
        first = self.runs[self.runs["steps_to_target"] == 0]
        counts = first.groupby("setup")["setting"].nunique()
        return {str(name): int(count) for name, count in counts.items()}

    @cached_property
    def unsearched(self) -> list[str]:
        """Those that only their rates keep from being called slower than the first: in most settings the best is an end of the grid."""
        rows = self.against_best
        return list(rows.index[(rows["why"] == "lr") & (rows["high"] > MARGIN)])

    def group(self, name: str) -> str:
        """Which of GROUPS an initializer is in: `best` are all that are not slower than the first, as far as rates were searched."""
        if name == self.order[0] or (self.against_best["verdict"][name] != "slower" and name not in self.unsearched):
            return GROUPS[0]
        word = self.against_baseline["verdict"][name]
        return {"faster": GROUPS[1], "slower": GROUPS[3]}.get(word, GROUPS[2])

    @cached_property
    def sizes(self) -> dict[str, int]:
        """{group: how many are in it}; the baseline counts only where it could be the best."""
        counted = [self.group(one) for one in self.order]
        own = self.group(self.grid.baseline) == GROUPS[2]
        return {group: counted.count(group) - (own and group == GROUPS[2]) for group in GROUPS}

    def counts(self, name: str) -> dict[str, int]:
        """In how many settings it is faster, equivalent, slower, undecided against the baseline."""
        own = self.judged.pairs[self.judged.pairs["setup"] == name]["verdict"].value_counts()
        return {word: int(own.get(word, 0)) for word in WORDS}

    def place(self, name: str) -> tuple[int, int, int]:
        """Rank and its interval."""
        i = self.standing.names.index(name)
        low, high = self.standing.rank_interval[i]
        return int(self.standing.rank[i]), int(low), int(high)


def board_of(entries: Sequence[Entry], grid: Grid, sharing: str = "none") -> Board:
    """The board of entries that hold the baseline; InputError where they do not."""
    board = Board(grid, sorted(entries, key=lambda one: one.name), sharing)
    if grid.baseline not in board.ranked:
        raise refusal(
            "initbench.leaderboard",
            f"no entry of {grid.baseline}, with which all are compared",
            "train the catalogue with python -m initbench.leaderboard --run",
        )
    return board
