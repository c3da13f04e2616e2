"""python -m initbench.reproduce: claims of the literature and of the course notes, each run again and judged.

A study is a folder experiments/<slug>/ with a README (question, source, prediction, command, result, limits), results/
summary.csv, and analysis.py with three functions:

    predict() -> str                              what the claim says will come out, with its bound
    measure(folder: Path) -> pandas.DataFrame     run it through initbench's own commands; scratch files go to `folder`
    verdict(measured: pandas.DataFrame) -> Verdict   from what was measured alone, so that false data can be fed to it

and, where it has them, page(measured) -> Markdown and figure(measured) -> SVG: what is printed, and written into the
study's own folder when it ran in full. `measure` may take `quick`, `extra` (overrides) and `say` (progress) too.

Exit status: 0 done (REFUTED too); 1 some study failed; 2 wrong input.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.config.checks import one_of
from initbench.errors import refusal, shown

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("CONFIRMED", "REFUTED", "UNDECIDED")
START, END = "<!-- result: written by python -m initbench.reproduce -->", "<!-- /result -->"
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
    """The folder experiments/ at the top of a clone; InputError elsewhere: results are written there, and it is not in the wheel."""
    folder = Path(__file__).parents[2] / "experiments"
    if not folder.is_dir():
        raise refusal(
            "initbench.reproduce", "the folder experiments/ is not installed", "run it in a clone of the repository"
        )
    return folder


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
        raise refusal(shown(slug), "no such study", one_of(slug, [*known, "all"]))
    name = f"initbench_experiment_{slug.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, experiments_folder() / slug / "analysis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    spec.loader.exec_module(module)
    missing = [function for function in FUNCTIONS if not callable(getattr(module, function, None))]
    if missing:
        raise refusal(f"experiments/{slug}/analysis.py", f"it lacks {', '.join(missing)}", "define each as a function")
    return module


def question(slug: str) -> str:
    """The first line of a study's analysis: what it asks.

    >>> question("replay").endswith("?")
    True
    """
    return (analysis(slug).__doc__ or slug).strip().splitlines()[0]


def reproduce(slug: str, folder: Path, quick: bool = False, extra: Sequence[str] = ()) -> tuple[Verdict, pd.DataFrame]:
    """Run one study; what was measured is written to <folder>/<slug>/summary.csv.

    A study in full writes its README's result block, results/summary.csv and results/figure.svg too.
    """
    study = analysis(slug)
    own = folder / slug
    own.mkdir(parents=True, exist_ok=True)
    options = {"quick": quick, "extra": extra, "say": lambda text: print(f"  {text}", flush=True)}
    known = inspect.signature(study.measure).parameters
    measured = study.measure(own, **{name: value for name, value in options.items() if name in known})
    name = "summary_quick" if quick and "quick" in known else "summary"
    measured.to_csv(own / f"{name}.csv", index=False)
    verdict = study.verdict(measured)
    if hasattr(study, "figure"):
        (own / f"{name.replace('summary', 'figure')}.svg").write_text(study.figure(measured), encoding="utf-8")
    if name == "summary" and hasattr(study, "page"):
        publish(experiments_folder() / slug, study, measured)
    return verdict, measured


def publish(home: Path, study: ModuleType, measured: pd.DataFrame) -> None:
    """Write a result into the study's own folder: README.md between its marks, results/summary.csv, results/figure.svg."""
    readme = home / "README.md"
    readme.write_text(written(readme.read_text("utf-8"), study.page(measured)), encoding="utf-8")
    (home / "results").mkdir(exist_ok=True)
    measured.to_csv(home / "results" / "summary.csv", index=False)
    (home / "results" / "figure.svg").write_text(study.figure(measured), encoding="utf-8")


def written(readme: str, result: str) -> str:
    """A README with its result block replaced.

    >>> written(f"a\\n{START}\\nold\\n{END}\\nb", "new").splitlines()[2]
    'new'
    """
    before, _, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md lacks the lines {START} and {END}")
    return f"{before}{START}\n{result}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """List or run studies; returns the exit status."""
    return answered("initbench", lambda: _reproduced(parser().parse_args(argv)), goes_on=True)


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m initbench.reproduce", description=(__doc__ or "").partition("\n")[0])
    made.add_argument("studies", nargs="*", metavar="STUDY", help="names of studies, or all")
    made.add_argument("--list", action="store_true", help="list the studies with their questions and predictions")
    made.add_argument(
        "--quick", action="store_true", help="fewer seeds and settings; the study's own folder is not changed"
    )
    made.add_argument("--workers", type=int, default=None, help="processes that train (default: one per core)")
    made.add_argument(
        "--outputs", default="outputs/reproduce", help="folder of runs and results (default: %(default)s)"
    )
    return made


def _reproduced(args: Namespace) -> int:
    if args.list or not args.studies:
        for slug in slugs():
            print(f"{slug}: {question(slug)}\n  predicted: {analysis(slug).predict()}")
        return 0
    names = slugs() if "all" in args.studies else list(dict.fromkeys(args.studies))
    for name in names:
        analysis(name)  # a wrong name is refused before anything runs
    if args.workers is not None and args.workers < 1:
        raise refusal(f"--workers {args.workers}", "not allowed", "must be a whole number, 1 or more")
    extra = [] if args.workers is None else [f"engine.workers={args.workers}"]
    return run_all(names, Path(args.outputs), args.quick, extra)


def run_all(names: Sequence[str], folder: Path, quick: bool = False, extra: Sequence[str] = ()) -> int:
    """Run studies one after another; a study that breaks does not stop the others."""
    failed = 0
    for name in names:
        print(f"{name}: {question(name)}\n  predicted: {analysis(name).predict()}", flush=True)
        try:
            verdict, measured = reproduce(name, folder, quick, extra)
        except Exception as error:
            failed += 1
            first = (str(error).splitlines() or [""])[0]
            print(f"initbench: {name} failed: {type(error).__name__}: {first}", file=sys.stderr)
            continue
        page = getattr(analysis(name), "page", None)
        print("\n" + page(measured) + "\n" if page else indented(measured))
        print(f"  {verdict.line()}")
        print(f"  results: {(folder / name).resolve()}", flush=True)
    return 1 if failed else 0


def indented(measured: pd.DataFrame) -> str:
    """A frame as text, two spaces in."""
    return "\n".join(f"  {line}" for line in measured.to_string(index=False).splitlines())


if __name__ == "__main__":
    sys.exit(main())
