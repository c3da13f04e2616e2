"""python -m initbench.reproduce: claims of the literature and of the course notes, each run again and judged.

A study is a folder experiments/<slug>/ with a README (question, source, prediction, command, result, limits), results/
summary.csv, and analysis.py with three functions:

    predict() -> str                              what the claim says will come out, with its bound
    measure(folder: Path) -> pandas.DataFrame     run it through initbench's own commands; scratch files go to `folder`
    verdict(measured: pandas.DataFrame) -> Verdict   from what was measured alone, so that false data can be fed to it

and, where it has them, page(measured) -> Markdown and figure(measured) -> SVG: what is printed, and written into the
study's own folder when it ran in full. `measure` may take `quick`, `extra` (overrides), `say` (progress) and `watch`
(progress.Progress.sweep) too; `sweeps(quick)` names the overrides of its sweeps, so that the time left can be said.
CLAIM, SOURCE and size(measured) are what the page of all studies says of it; a claims.Study has all of these.

experiments/README.md and SURPRISES.md are made from the results of all studies (pages.py), at the end of a full run.

Exit status: 0 done (REFUTED too); 1 some study failed; 2 wrong input.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from initbench.cli import streams
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.config.arm import NUMERICS_VERSION
from initbench.config.checks import one_of
from initbench.errors import InputError, printable, refusal, shown
from initbench.grammar import duration, plural
from initbench.reproduce import pages
from initbench.reproduce.outcome import expectation, outcome, overrides_of
from initbench.reproduce.progress import Progress, Stored, tell
from initbench.reproduce.verdict import Verdict
from initbench.reproduce.work import Work, work
from initbench.startup.processes import cores

if TYPE_CHECKING:
    import pandas as pd

START, END = "<!-- result: written by python -m initbench.reproduce -->", "<!-- /result -->"
FUNCTIONS = ("predict", "measure", "verdict")
DIGITS = 10  # of a number in a table of results


def experiments_folder() -> Path:
    """The folder experiments/ at the top of a clone; InputError elsewhere: results are written there, and it is not in the wheel."""
    folder = Path(__file__).parents[3] / "experiments"
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


def known(slug: str) -> None:
    """InputError, the nearest name first, if there is no such study."""
    names = slugs()
    if slug not in names:
        raise refusal(shown(slug), "no such study", one_of(slug, [*names, "all"]))


def analysis(slug: str) -> ModuleType:
    """The analysis of a study; InputError, the nearest name first, if there is none.

    >>> analysis("replay").predict().startswith("all 10 losses")
    True
    """
    known(slug)
    name = f"initbench_experiment_{slug.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, experiments_folder() / slug / "analysis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        said = f"it raised {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise refusal(f"experiments/{slug}/analysis.py", printable(said), "mend it") from error
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


def reproduce(
    slug: str, folder: Path, quick: bool = False, extra: Sequence[str] = (), watch: Callable[[str], Any] | None = None
) -> tuple[Verdict, pd.DataFrame]:
    """Run one study; what was measured is written to <folder>/<slug>/summary.csv.

    A study in full writes its README's result block, results/summary.csv and results/figure.svg too.
    """
    study = analysis(slug)
    own = folder / slug
    own.mkdir(parents=True, exist_ok=True)
    options = {"quick": quick, "extra": extra, "say": lambda text: tell(f"  {text}")}
    if watch is not None:
        options["watch"] = watch
    takes = inspect.signature(study.measure).parameters
    measured = study.measure(own, **{name: value for name, value in options.items() if name in takes})
    name = "summary_quick" if quick and "quick" in takes else "summary"
    put(measured, own / f"{name}.csv")
    measured = table(own / f"{name}.csv")  # what is said is what the file says
    verdict = study.verdict(measured)
    if hasattr(study, "figure"):
        (own / f"{name.replace('summary', 'figure')}.svg").write_text(study.figure(measured), encoding="utf-8")
    if not quick and hasattr(study, "page"):
        publish(experiments_folder() / slug, study, measured)
    return verdict, measured


def publish(home: Path, study: ModuleType, measured: pd.DataFrame) -> None:
    """Write a result into the study's own folder: README.md between its marks, results/summary.csv, results/figure.svg."""
    readme = home / "README.md"
    readme.write_text(written(readme.read_text("utf-8"), study.page(measured)), encoding="utf-8")
    (home / "results").mkdir(exist_ok=True)
    put(measured, home / "results" / "summary.csv")
    if hasattr(study, "figure"):
        (home / "results" / "figure.svg").write_text(study.figure(measured), encoding="utf-8")


def put(measured: pd.DataFrame, path: Path) -> None:
    """Write a table of results with the version of training's numerics, and without the digits in which processors differ."""
    measured.assign(numerics=NUMERICS_VERSION).to_csv(path, index=False, float_format=f"%.{DIGITS}g")


def results(slug: str) -> pd.DataFrame | None:
    """The shipped table of a study; None where it has not run in full."""
    path = experiments_folder() / slug / "results" / "summary.csv"
    return table(path) if path.is_file() else None


def table(path: Path) -> pd.DataFrame:
    """A table of results; names stay text, also where all of them are numbers."""
    import pandas as pd

    return pd.read_csv(path, dtype=dict.fromkeys(("part", "cell", "setup", "baseline"), str))


def all_pages() -> dict[str, str]:
    """{name: text} of the pages of all studies, from their shipped results."""
    outcomes = [outcome(slug, analysis(slug), results(slug)) for slug in slugs()]
    board = (experiments_folder() / "leaderboard" / "README.md").is_file()
    return {"README.md": pages.readme(outcomes, board), "SURPRISES.md": pages.surprises(outcomes)}


def write_pages() -> list[Path]:
    """Write the pages of all studies; returns their paths."""
    found = {experiments_folder() / name: text for name, text in all_pages().items()}
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
    return list(found)


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
    made.add_argument(
        "--pages", action="store_true", help="write the pages of all studies from their results; nothing runs"
    )
    made.add_argument("--workers", type=int, default=None, help="processes that train (default: one per core)")
    made.add_argument(
        "--outputs", default="outputs/reproduce", help="folder of runs and results (default: %(default)s)"
    )
    return made


def _reproduced(args: Namespace) -> int:
    if args.pages:
        if args.studies:
            raise refusal(f"--pages {shown(args.studies[0])}", "the pages are of all studies", "leave the name out")
        for path in write_pages():
            tell(str(path))
        return 0
    if args.list or not args.studies:
        for slug in slugs():
            tell(f"{slug}: {question(slug)}\n  predicted: {analysis(slug).predict()}")
        return 0
    for name in args.studies:  # a wrong one is refused before anything runs, also beside all
        if name != "all":
            (known if "all" in args.studies else analysis)(name)
    names = slugs() if "all" in args.studies else list(dict.fromkeys(args.studies))
    if args.workers is not None and args.workers < 1:
        raise refusal(f"--workers {args.workers}", "not allowed", "must be a whole number, 1 or more")
    extra = [] if args.workers is None else [f"engine.workers={args.workers}"]
    return run_all(names, Path(args.outputs), args.quick, extra, args.workers or cores())


def run_all(
    names: Sequence[str], folder: Path, quick: bool = False, extra: Sequence[str] = (), workers: int = 1
) -> int:
    """Run studies one after another, then say all verdicts; a study that breaks does not stop the others."""
    tell(f"{plural(len(names), 'study', 'studies')}: counting their runs")
    progress = Progress({name: plan(name, quick) for name in names}, Stored(folder / "store"), workers)
    lines, failed = [], 0

    def fails(what: str, error: Exception) -> str:
        nonlocal failed
        failed += 1
        first = (str(error).splitlines() or [""])[0]
        said = first if isinstance(error, InputError) else f"{type(error).__name__}: {first}"
        streams.write(f"initbench: {what} failed: {said}", sys.stderr)
        return said

    for name in names:
        progress.begin(name)
        began = time.monotonic()
        try:
            word, expected, came_out = one(name, folder, quick, extra, progress)
        except Exception as error:
            word, expected, came_out = "failed", "", fails(name, error)
        progress.end(name)
        took = duration(time.monotonic() - began)
        lines.append(f"{word:9}  {name}  [{took}]  expected: {expected}  measured: {came_out}")
    if not quick and failed < len(names):
        try:
            write_pages()
        except Exception as error:
            fails("the page of all studies", error)
    tell("\n" + "\n".join(lines))
    tell(progress.total() + "; quick: fewer seeds and settings than planned" * quick)
    return 1 if failed else 0


def plan(name: str, quick: bool) -> Mapping[str, Work]:
    """{sweep: its work} of a study; nothing of one that does not say, or is broken: that is said at its turn."""
    try:
        return {sweep: work(overrides) for sweep, overrides in overrides_of(analysis(name), quick).items()}
    except Exception:
        return {}


def one(name: str, folder: Path, quick: bool, extra: Sequence[str], progress: Progress) -> tuple[str, str, str]:
    """Run a study and print its result: verdict, what was expected, what was measured."""
    study = analysis(name)
    tell(f"{name}: {question(name)}\n  predicted: {study.predict()}")
    verdict, measured = reproduce(name, folder, quick, extra, progress.sweep)
    page = getattr(study, "page", None)
    tell("\n" + page(measured) + "\n" if page else indented(measured))
    tell(f"  {verdict.line()}")
    tell(f"  results: {(folder / name).resolve()}")
    return verdict.word, expectation(study), verdict.measured


def indented(measured: pd.DataFrame) -> str:
    """A frame as text, two spaces in."""
    return "\n".join(f"  {line}" for line in measured.to_string(index=False).splitlines())
