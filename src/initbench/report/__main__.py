"""python -m initbench.report STUDY [STUDY]: rebuild a study's report, put two studies side by side, or make several one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from initbench.cli import as_json, streams
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.errors import refusal, shown
from initbench.report import DEFAULT, FORMATS, build, build_focus, build_versus, open_source
from initbench.report.merging import merge
from initbench.startup.processes import alone
from initbench.store.lock import writing

MLFLOW = "mlflow:"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m initbench.report",
        description="Rebuild the report of a study from its saved data, put two studies side by side, or make one study of "
        "several that are parts of it (--merge), e.g. half of the seeds from each of two machines.",
    )
    parser.add_argument(
        "study", nargs="+",
        help="study folder (outputs/default), archive (study.zip) or mlflow:<experiment>; of two, the second is compared with the first",
    )  # fmt: skip
    parser.add_argument("--merge", action="store_true", help="the studies are parts of one: its data and report")
    parser.add_argument("--baseline", metavar="SETUP", help="setup or initializer to compare the others with")
    parser.add_argument(
        "--focus", metavar="SETUP", help="a page of this setup or initializer against all others instead"
    )
    parser.add_argument(
        "--family", metavar="LIST", help="setups or initializers that get a verdict, with commas between (default: all)"
    )
    parser.add_argument(
        "--pairs", action="store_const", const=True, help="every two setups too: a matrix in the report, and pairs.csv"
    )
    parser.add_argument(
        "--target",
        metavar="TARGET",
        help="another target, from the stored history: 0.9, accuracy/val:0.9 or loss/train:0.1",
    )
    parser.add_argument(
        "--format", "--formats", dest="formats", default=",".join(DEFAULT), metavar="LIST",
        help=f"comma-separated list of {', '.join(FORMATS)} (default: {','.join(DEFAULT)})",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="with mlflow:<experiment>: folder of its report (default: outputs/<experiment>-mlflow); with --merge: of the "
        "merged study (default: <study>-merged beside the first part)",
    )
    parser.add_argument(
        "--uri",
        default="auto",
        help="with mlflow:<experiment>: its store (default: MLFLOW_TRACKING_URI, else mlflow.db here)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print leaderboard and comparisons as JSON instead of writing the report"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 with one line for wrong input; the last line printed is the report's path."""
    return answered("initbench.report", lambda: _built(_parser().parse_args(argv)))


def _built(arguments: argparse.Namespace) -> int:
    if len(arguments.study) > 2 and not arguments.merge:
        raise refusal(
            shown(" ".join(arguments.study)),
            f"{len(arguments.study)} studies are too many",
            "name one study, or two to compare; parts of one study are merged with --merge",
        )
    sources = [_source(name, arguments) for name in arguments.study]
    if arguments.merge:
        sources = [merge(sources, arguments.out)]
    if arguments.json:
        return _printed(sources, arguments)
    with writing(sources[-1], lambda text: streams.write(f"initbench.report: {text}", sys.stderr)):
        paths = _paths(sources, arguments)
    for path in sorted(paths.values(), key=lambda path: path.suffix == ".html"):
        print(path)
    return 0


def _printed(sources: Sequence[Path], arguments: argparse.Namespace) -> int:
    """The tables of one study on stdout; nothing is written."""
    if len(sources) > 1:
        raise refusal("--json", "two studies side by side have no leaderboard", "name one study")
    if arguments.focus is not None:
        raise refusal("--focus", "it is a page, and --json prints tables", "use --baseline SETUP")
    asked = {name: getattr(arguments, name) for name in ("baseline", "family", "target", "pairs")}
    source = open_source(sources[0], **asked)
    target = None if source.target is None else dict(zip(("metric", "value"), source.target))
    head = {"study": source.study.get("study"), "target": target}
    every = {"pairs": source.all_pairs} if source.every else {}
    as_json.say({**head, "leaderboard": source.board, "comparisons": source.pairs, **every})
    return 0


def _paths(sources: Sequence[Path], arguments: argparse.Namespace) -> dict[str, Path]:
    """Write the report of one study, or of two side by side."""
    if len(sources) == 2:
        if arguments.focus is not None:
            raise refusal("--focus", "it takes one study", "name one")
        if arguments.baseline is not None:
            raise refusal("--baseline", "with two studies the first one is the baseline", "leave it out")
        if arguments.pairs:
            raise refusal("--pairs", "with two studies each setup is compared with itself", "leave it out")
        if arguments.family is not None:
            raise refusal("--family", "with two studies every common setup is judged", "leave it out")
        return build_versus(*sources, target=arguments.target, formats=arguments.formats)
    if arguments.focus is not None:
        for name in ("baseline", "family", "pairs"):
            if getattr(arguments, name) is not None:
                raise refusal(f"--{name}", "with --focus every setup is compared with that one", "leave it out")
        return build_focus(sources[0], arguments.focus, target=arguments.target)
    asked = {name: getattr(arguments, name) for name in ("baseline", "family", "target", "pairs", "formats")}
    return build(sources[0], **asked)


def _source(name: str, arguments: argparse.Namespace) -> Path:
    """A path on disk; the frames of an experiment are downloaded first, by the only package that imports mlflow."""
    out = arguments.out if not arguments.merge else None
    if not any(one.startswith(MLFLOW) for one in arguments.study) and (out or arguments.uri != "auto"):
        raise refusal(
            "--out, --uri", "they go with mlflow:<experiment>", "a folder's report is written into the folder"
        )
    if not name.startswith(MLFLOW):
        return Path(name)
    from initbench import track

    experiment = name.removeprefix(MLFLOW)
    uri = track.resolve_uri(arguments.uri, "--uri")
    if not experiment or uri is None:
        raise refusal(shown(name), "it names no experiment", "write mlflow:EXPERIMENT, e.g. mlflow:default")
    return track.fetch(experiment, uri, Path(out or f"outputs/{experiment}-mlflow"))


if __name__ == "__main__":
    sys.exit(alone(main))
