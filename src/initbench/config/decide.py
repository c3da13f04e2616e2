"""The limits of a study that goes on until its question is answered."""

from __future__ import annotations

from dataclasses import dataclass

from initbench.config.checks import check_number, check_whole

FEWEST = 8  # seeds below which no word falls


@dataclass(frozen=True)
class DecideConfig:
    """Whether to go on until every comparison has a word, and what ends it before. None of it changes a run."""

    enabled: bool = False
    minutes: float | None = 60.0  # of work; null: no limit
    seeds: int = 200  # most seeds of an arm
    steps: int | None = None  # most steps of a run; null: four times train.steps
    rates: int = 9  # most learning rates of an arm

    def __post_init__(self) -> None:
        if self.minutes is not None:
            check_number("decide.minutes", self.minutes, above=0.0, note=", or null for no limit")
        check_whole("decide.seeds", self.seeds, low=FEWEST)
        if self.steps is not None:
            check_whole("decide.steps", self.steps, low=1, note=", or null for four times train.steps")
        check_whole("decide.rates", self.rates, low=1)
