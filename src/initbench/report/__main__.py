"""python -m initbench.report FOLDER: rebuild a study's report from its folder alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from initbench.errors import InputError
from initbench.report import FORMATS, build


class _Parser(argparse.ArgumentParser):
    """One line on stderr and exit status 2, without the usage block."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"initbench.report: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m initbench.report", description="Rebuild the report of a study from its folder.")
    parser.add_argument("folder", help="study folder, e.g. outputs/default")
    parser.add_argument("--baseline", metavar="SETUP", help="setup or initializer that ratios refer to")
    parser.add_argument(
        "--target", metavar="TARGET", help="0.9, accuracy/val:0.9 or loss/train:0.1: steps to target from the history"
    )
    parser.add_argument(
        "--format", "--formats", dest="formats", default="html,md,csv", metavar="LIST",
        help=f"comma-separated, of {', '.join(FORMATS)} (default: html,md,csv)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 with one line for wrong input; the last line printed is the report's path."""
    arguments = _parser().parse_args(argv)
    try:
        paths = build(arguments.folder, baseline=arguments.baseline, target=arguments.target, formats=arguments.formats)
    except (InputError, OSError) as error:
        print("initbench.report: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    ordered = [path for name, path in paths.items() if name != "report.html"]
    for path in [*ordered, *([paths["report.html"]] if "report.html" in paths else [])]:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
