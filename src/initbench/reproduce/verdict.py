"""What a study comes to: one of three words, the measurement, its interval."""

from __future__ import annotations

from dataclasses import dataclass

WORDS = ("CONFIRMED", "REFUTED", "UNDECIDED")


@dataclass(frozen=True)
class Verdict:
    """What came out: one of the three words, the measurement in words, and its interval where there is one.

    >>> Verdict("CONFIRMED", "ratio 3.1", "95% interval 2.7 to 3.6").line()
    'CONFIRMED: ratio 3.1 (95% interval 2.7 to 3.6)'
    """

    word: str
    measured: str
    interval: str = ""

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise ValueError(f"verdict {self.word}: one of {', '.join(WORDS)}")

    def line(self) -> str:
        return f"{self.word}: {self.measured}" + (f" ({self.interval})" if self.interval else "")
