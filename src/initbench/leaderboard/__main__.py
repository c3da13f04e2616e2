"""python -m initbench.leaderboard: one table of every initializer, from entry files that anybody can add.

Without flags the page is made from experiments/leaderboard/entries/: README.md and index.html. `--run` trains what has no entry yet, and
the first of the ranking with sharing=all too; the same command goes on where it was stopped. `--add my_init.my_init` trains your own
function from the current folder on the same seeds, shows its place and writes its entry, which is all that a pull request needs.

Exit status: 0 done; 1 an initializer has no entry since its code fails, or --check found a difference; 2 wrong input, an entry that
does not fit among it; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from initbench.cli import streams
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.errors import printable, refusal

CHECKED = 3  # entries that --check makes again


def main(argv: Sequence[str] | None = None) -> int:
    """Make the page, add, run or check; returns the exit status."""
    return answered("initbench", lambda: _asked(parser().parse_args(argv)), goes_on=True)


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m initbench.leaderboard", description=(__doc__ or "").partition("\n")[0])
    add = made.add_argument
    add(
        "--add",
        metavar="NAME",
        help="train one initializer (an option of init, or module.function of your own), show its place",
    )
    add(
        "--run",
        action="store_true",
        help="train every initializer of the catalogue that has no entry, then make the page",
    )
    add(
        "--check",
        nargs="*",
        metavar="NAME",
        help=f"make entries again and compare byte for byte; without a name {CHECKED} of them",
    )
    add("--settings", metavar="FILE", help="the grid (default: experiments/leaderboard/settings.yaml)")
    add("--folder", metavar="DIR", help="where page and entries are (default: the folder of the settings)")
    add("--outputs", default="outputs", help="folder of the trained runs (default: %(default)s)")
    add("--workers", type=int, default=None, help="processes that train (default: one per core)")
    return made


def _asked(args: Namespace) -> int:
    from initbench.leaderboard import settings

    if args.workers is not None and args.workers < 1:
        raise refusal(f"--workers {args.workers}", "not allowed", "must be a whole number, 1 or more")
    asked = [
        name for name, given in (("--add", args.add), ("--run", args.run), ("--check", args.check is not None)) if given
    ]
    if len(asked) > 1:
        raise refusal(" ".join(asked), "only one of them can be used at a time", f"leave out {asked[-1]}")
    path = Path(args.settings) if args.settings else _own_folder() / "settings.yaml"
    grid = settings.read(path)
    folder = Path(args.folder) if args.folder else path.parent
    extra = [] if args.workers is None else [f"engine.workers={args.workers}"]
    outputs = Path(args.outputs)
    from initbench.leaderboard import steps

    try:
        if args.add:
            return steps.add(args.add, grid, folder, outputs, extra)
        if args.run:
            return steps.run(grid, folder, outputs, extra)
        if args.check is not None:
            return steps.check(args.check, grid, folder, extra)
        return steps.pages(grid, folder)
    except steps.Broken as error:
        streams.write(printable(f"initbench: {error}"), sys.stderr)
        return 1


def _own_folder() -> Path:
    from initbench.reproduce import experiments_folder

    return experiments_folder() / "leaderboard"


if __name__ == "__main__":
    sys.exit(main())
