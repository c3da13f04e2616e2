"""python -m initbench.export STUDY --to csv|tensorboard|wandb: runs, curves and verdicts of a study for another tool.

Exit status: 0 done; 2 wrong input, a library that is missing among it.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from initbench.cli.ending import answered
from initbench.cli.flags import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write a study for a tool; the line printed says where it is and how to look at it."""
    return answered("initbench.export", lambda: _exported(parser().parse_args(argv)))


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m initbench.export", description="A study for TensorBoard, Weights & Biases, or as CSV files."
    )
    made.add_argument("study", help="study folder, e.g. outputs/default")
    made.add_argument(
        "--to",
        required=True,
        choices=("csv", "tensorboard", "wandb"),
        help="tensorboard and wandb need their library, an extra of initbench",
    )
    made.add_argument("--out", metavar="FOLDER", help="where to (default: STUDY/<tool>)")
    made.add_argument(
        "--metrics", metavar="LIST", help="metrics with commas between, or all (default: those of the whole net)"
    )
    return made


def _exported(args: Namespace) -> int:
    from initbench.export.curves import metrics_of
    from initbench.export.tools import TOOLS, check_folder
    from initbench.study.results import load

    results = load(args.study)
    metrics = metrics_of(results, args.metrics)
    folder = Path(args.out) if args.out else Path(args.study) / args.to
    check_folder(args.to, folder)
    print(f"{args.to}: {TOOLS[args.to](results, metrics, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
