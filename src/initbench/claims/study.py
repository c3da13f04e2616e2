"""A claim's study: its folder with predictions.yaml, and the tests that its frames are put to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.claims import page
from initbench.claims.cells import Entry
from initbench.claims.found import Found, found
from initbench.claims.placed import Placed
from initbench.claims.prediction import Prediction, family, load
from initbench.claims.words import claim_word, corrected, part_words, spread
from initbench.overrides.read import completed
from initbench.reproduce.verdict import Verdict

Watch = Callable[[str], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def unwatched(sweep: str) -> Iterator[Callable[[int], None]]:
    """Nobody asks how far a sweep is, or how many runs it has."""
    yield lambda runs: None


@dataclass(frozen=True)
class Study:
    """`tests`: from (runs, history) alone to an entry a test."""

    folder: Path
    tests: Callable[[pd.DataFrame, pd.DataFrame], Sequence[Entry | Placed]]

    @cached_property
    def given(self) -> Prediction:
        return load(self.folder)

    def predict(self) -> str:
        """What each part says, and the word that was expected before the first run."""
        return "; ".join(f"{part.name}: {part.says} [expected: {part.expected}]" for part in self.given.parts)

    def measure(
        self,
        folder: Path,
        quick: bool = False,
        extra: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: None,
        watch: Watch = unwatched,
    ) -> pd.DataFrame:
        """Train, and test every part in every cell. An error, and no word, where runs failed or tests are missing."""
        runs, history = swept(self.given, folder, quick, extra, say, watch)
        whole(runs)
        measured = self.analyse(runs, history, family(self.folder, quick))
        left = [part.name for part in self.given.parts if part.name not in set(measured["part"])]
        if left and not quick:  # the analysis looks for setups that no sweep has
            raise LookupError(f"nothing was measured of {', '.join(left)}")
        made, planned = page.tested(measured), self.given.tests["full"] + self.given.numbers["full"]
        if made < planned and not quick:  # a cell lacks a setup
            raise LookupError(f"{made} of {planned} tests were made: a setup is missing in some cells")
        return measured

    def analyse(self, runs: pd.DataFrame, history: pd.DataFrame, family: int) -> pd.DataFrame:
        """A row a test, from the frames alone."""
        return corrected(self.tests(runs, history), family, self.given.digest)

    def verdict(self, measured: pd.DataFrame) -> Verdict:
        """The verdict of the claim from its table of words alone."""
        words = part_words(measured, self.given.parts)
        said = []
        for name, word in words.items():
            rows = measured[measured["part"] == name]
            held = f"holds in {(rows['word'] == 'holds').sum()} of {len(rows)}"
            said.append(f"{name} {word}, {held}, median {spread(rows)}")
        sizes = measured["n"].dropna()
        text = f"intervals cell by cell in the table, n={sizes.min():,.0f} to {sizes.max():,.0f}" if len(sizes) else ""
        return Verdict(claim_word(list(words.values())), "; ".join(said), text)

    def found(self, measured: pd.DataFrame) -> list[Found]:
        """What came out of each part."""
        return found(self.given, measured)

    def size(self, measured: pd.DataFrame) -> str:
        """How many seeds or nets each cell has."""
        return page.sizes(self.given, measured)

    def page(self, measured: pd.DataFrame) -> str:
        """The result as Markdown: what stands in README.md."""
        return page.block(self.given, measured)

    def figure(self, measured: pd.DataFrame) -> str:
        """The result as SVG."""
        return page.figure(self.given, measured)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """What an analysis.py is asked for: predict, measure, analyse, verdict, page, figure."""
        return self.predict, self.measure, self.analyse, self.verdict, self.page, self.figure


def whole(runs: pd.DataFrame) -> None:
    """An error if runs failed: an analysis would count them as nets that never arrived, or leave their cell out.

    >>> whole(pd.DataFrame({"arm": ["a", "a"], "status": ["completed", "failed"]}))
    Traceback (most recent call last):
    RuntimeError: 1 of 2 runs failed, first of a: no verdict; the same command trains them again
    """
    failed = runs["status"] == "failed"
    if failed.any():
        raise RuntimeError(
            f"{failed.sum():,} of {len(runs):,} runs failed, first of {runs.loc[failed, 'arm'].iloc[0]}: no verdict; "
            "the same command trains them again"
        )


def swept(
    given: Prediction,
    folder: Path,
    quick: bool,
    extra: Sequence[str],
    say: Callable[[str], None],
    watch: Watch = unwatched,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, history) of all sweeps of a study, by the package's own command; the store stands beside `folder`, so that studies share
    their runs."""
    import initbench as ib

    runs, history = [], []
    sweeps = given.overrides(quick)
    for i, (name, overrides) in enumerate(sweeps.items()):
        say(f"sweep {i + 1} of {len(sweeps)}: {name}")
        fixed = [
            *("track.uri=null", "report.formats=[csv]"),
            *(f"outputs={folder.parent}", f"study={folder.name}_{name}{'_quick' if quick else ''}"),
            *extra,
        ]
        with watch(name) as ended:
            one = ib.run(completed(overrides, fixed=fixed), progress=False)  # `watch` says how far it is
            assert one is not None  # no dry run
            ended(len(one.runs))
        runs.append(one.runs.assign(sweep=name))
        history.append(one.history.assign(run=one.history["run"].astype(str), metric=one.history["metric"].astype(str)))
    frame = pd.concat(runs, ignore_index=True).drop_duplicates("run")
    return frame, pd.concat(history, ignore_index=True)
