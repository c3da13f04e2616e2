"""python -m initbench.reproduce: claims of the literature and of the course notes, each run again and judged.

A study is a folder experiments/<slug>/ with a README (question, source, prediction, command, result, limits), results/
summary.csv, and analysis.py with three functions:

    predict() -> str                              what the claim says will come out, with its bound
    measure(folder: Path) -> pandas.DataFrame     run it through initbench's own commands; scratch files go to `folder`
    verdict(measured: pandas.DataFrame) -> Verdict   from what was measured alone, so that false data can be fed to it

Exit status: 0 done (REFUTED too); 1 some study failed; 2 wrong input.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from initbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("CONFIRMED", "REFUTED", "UNDECIDED")
FUNCTIONS = ("predict", "measure", "verdict")


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


def experiments_folder() -> Path:
    """The folder experiments/: at the top of the repository in a clone, inside the package in a wheel."""
    package = Path(__file__).parent
    for folder in (package.parent.parent / "experiments", package / "experiments"):
        if folder.is_dir():
            return folder
    raise InputError(f"no experiments found beside {package}; install initbench again")


def slugs() -> list[str]:
    """The studies that have an analysis, in alphabetical order.

    >>> "replay" in slugs()
    True
    """
    return sorted(path.parent.name for path in experiments_folder().glob("*/analysis.py"))


def analysis(slug: str) -> ModuleType:
    """The analysis of a study; InputError, the nearest name first, if there is none.

    >>> analysis("replay").predict().startswith("all 10 losses")
    True
    """
    known = slugs()
    if slug not in known:
        near = get_close_matches(slug, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{slug}: no such study; {hint}there are {', '.join(known)}, or all")
    name = f"initbench_experiment_{slug.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, experiments_folder() / slug / "analysis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    spec.loader.exec_module(module)
    missing = [function for function in FUNCTIONS if not callable(getattr(module, function, None))]
    if missing:
        raise InputError(f"experiments/{slug}/analysis.py: lacks {', '.join(missing)}")
    return module


def question(slug: str) -> str:
    """The first line of a study's analysis: what it asks.

    >>> question("replay").endswith("?")
    True
    """
    return (analysis(slug).__doc__ or "").strip().splitlines()[0]


def reproduce(slug: str, folder: Path) -> tuple[Verdict, pd.DataFrame]:
    """Run one study; what was measured is written to <folder>/<slug>/summary.csv."""
    study = analysis(slug)
    own = folder / slug
    own.mkdir(parents=True, exist_ok=True)
    measured = study.measure(own)
    measured.to_csv(own / "summary.csv", index=False)
    return study.verdict(measured), measured


def main(argv: Sequence[str] | None = None) -> int:
    """List or run studies; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m initbench.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="names of studies, or all")
    parser.add_argument("--list", action="store_true", help="the studies with their questions and predictions")
    parser.add_argument("--outputs", default="outputs/reproduce", help="folder of results (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        if args.list or not args.studies:
            for slug in slugs():
                print(f"{slug}: {question(slug)}\n  predicted: {analysis(slug).predict()}")
            return 0
        names = slugs() if "all" in args.studies else list(dict.fromkeys(args.studies))
        for name in names:
            analysis(name)  # a wrong name is refused before anything runs
        return run_all(names, Path(args.outputs))
    except InputError as error:
        print(f"initbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("initbench: interrupted; finished runs are stored, the same command goes on", file=sys.stderr)
        return 130


def run_all(names: Sequence[str], folder: Path) -> int:
    """Run studies one after another; a study that breaks does not stop the others."""
    failed = 0
    for name in names:
        print(f"{name}: {question(name)}\n  predicted: {analysis(name).predict()}", flush=True)
        try:
            verdict, measured = reproduce(name, folder)
        except Exception as error:
            failed += 1
            first = (str(error).splitlines() or [""])[0]
            print(f"initbench: {name} failed: {type(error).__name__}: {first}", file=sys.stderr)
            continue
        print("\n".join(f"  {line}" for line in measured.to_string(index=False).splitlines()))
        print(f"  {verdict.line()}")
        print(f"  table: {(folder / name / 'summary.csv').resolve()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
