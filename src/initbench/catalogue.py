"""python -m initbench.catalogue: every initializer with its formula, source, contract and what it is meant
for.

Exit status: 0 done; 1 a contract is broken (--check); 2 wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from initbench.errors import InputError

COLUMNS = ("name", "formula", "source", "contract", "meant for", "options")
NEEDS = {"nothing": "", "module": "sees the net; ", "data": "sees a batch; ", "gradient": "sees gradients; "}


def rows() -> list[dict[str, str]]:
    """A row an entry, in order of names, with the columns of COLUMNS.

    >>> next(row for row in rows() if row["name"] == "eye")["options"]
    'eye, identity'
    """
    from initbench.initializers import REGISTRY
    from initbench.initializers.option_files import known, load_option

    by_target: dict[str, list[str]] = {}
    for option in known():
        by_target.setdefault(load_option(option)["_target_"], []).append(option)
    return [
        {
            "name": entry.name,
            "formula": entry.formula,
            "source": entry.source,
            "contract": NEEDS[entry.needs] + entry.contract.promise + (f" [{entry.note}]" if entry.note else ""),
            "meant for": entry.meant_for,
            "options": ", ".join(by_target.get(entry.target, [])),
        }
        for entry in sorted(REGISTRY.values(), key=lambda entry: entry.name)
    ]


def markdown(table: list[dict[str, str]]) -> str:
    """The rows as a Markdown table; a bar inside a cell is escaped.

    >>> print(markdown([dict.fromkeys(COLUMNS, "a|b")]).splitlines()[2])
    | a\\|b | a\\|b | a\\|b | a\\|b | a\\|b | a\\|b |
    """
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([row[column] for column in COLUMNS] for row in table)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def show(table: list[dict[str, str]]) -> None:
    """The rows as a table in the terminal, one entry under the other where it is narrow."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    shown = Table(box=None, pad_edge=False, show_lines=False)
    columns = COLUMNS if console.width >= 140 else ("name", "formula", "meant for")
    for column in columns:
        shown.add_column(column, overflow="fold", style="bold" if column == "name" else "")
    for row in table:
        shown.add_row(*(row[column].replace("[", "\\[") for column in columns))
    console.print(shown)
    console.print(f"{len(table)} initializers; --markdown shows all columns, --check NAME tests one's contract")


def check_entry(target: str) -> list[str]:
    """Violations of the contract of an entry or option, or, for a function of one's own, of what all must
    keep.

    All must keep: fill the given matrix with finite numbers, the same for the same generator, other ones for
    another.

    >>> check_entry("orthogonal")
    []
    """
    from initbench.initializers import REGISTRY, needs
    from initbench.initializers.contract import Contract
    from initbench.initializers.option_files import base
    from initbench.initializers.verify import check, draw_all

    function: Callable[..., Any]
    args: dict[str, Any]
    if target in REGISTRY:
        function, args = REGISTRY[target].function, {}
    else:
        function, args, _ = base(target)
    if needs(function) != "nothing":
        raise InputError(f"--check {target}: it fills a whole net; its contract is tested in the test suite only")
    known = [entry for entry in REGISTRY.values() if entry.function is function]
    if known:
        return check(known[0], args=args)
    return draw_all(function, Contract("one's own"), args)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the catalogue, or check contracts; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m initbench.catalogue", description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="show only entries that contain one of these words")
    parser.add_argument("--markdown", action="store_true", help="a Markdown table with all columns")
    parser.add_argument(
        "--check",
        nargs="?",
        const="all",
        metavar="TARGET",
        help="test a contract: an entry, an option, module.function of your own; without a name all of them",
    )
    args = parser.parse_args(argv)
    try:
        return _checked(args.check) if args.check else _listed(args.words, args.markdown)
    except InputError as error:
        print(f"initbench: {error}", file=sys.stderr)
        return 2


def _listed(words: list[str], as_markdown: bool) -> int:
    table = rows()
    if words:
        table = [row for row in table if any(word.lower() in " ".join(row.values()).lower() for word in words)]
    if not table:
        raise InputError(f"no initializer mentions {' or '.join(words)}; without words all are shown")
    if as_markdown:
        print(markdown(table))
    else:
        show(table)
    return 0


def _checked(target: str) -> int:
    from initbench.initializers import REGISTRY

    names = [target] if target != "all" else [name for name, e in sorted(REGISTRY.items()) if e.needs == "nothing"]
    broken = 0
    for name in names:
        found = check_entry(name)
        broken += bool(found)
        print(f"{name}: {'contract holds' if not found else 'contract BROKEN'}")
        for words in found[:10]:
            print(f"  {words}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
