"""What each flag of the command does: add one, run all, check some, make the pages."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from initbench.cli import terminal
from initbench.disk import naming, published
from initbench.errors import InputError, refusal, shown
from initbench.grammar import plural
from initbench.leaderboard import checks, training
from initbench.leaderboard import entry as files
from initbench.leaderboard.board import Board, board_of
from initbench.leaderboard.entry import Entry
from initbench.leaderboard.settings import Grid
from initbench.leaderboard.training import Broken as Broken


def say(text: str) -> None:
    """A line of progress."""
    terminal.err.print(text)


def entries_of(folder: Path, grid: Grid, but: str | None = None) -> list[Entry]:
    """The entries of a leaderboard's folder; a line for each that does not fit, and the last of them ends the command.

    `but`: one that is not read, since it is made again.
    """
    found, refused = files.read_all(folder / "entries", grid, but)
    for error in refused[:-1]:
        say(f"initbench: {error}")
    if refused:
        raise refused[-1]
    return found


def add(name: str, grid: Grid, folder: Path, outputs: Path, extra: Sequence[str]) -> int:
    """Train one initializer, write its entry and show its place."""
    from initbench.leaderboard import place

    if not checks.name(name):
        raise refusal(
            f"--add {shown(name)}",
            "must name one initializer, in letters, digits and _ of ASCII",
            "an option of init, or module.function of your own",
        )
    known = entries_of(folder, grid, but=name)
    if name != grid.baseline:
        board_of(known, grid)  # refused before anything is trained
    entry = training.trained(name, grid, outputs, extra=extra, say=say)
    known = [one for one in known if one.name != entry.name]
    board = board_of([*known, entry], grid)
    if entry.name in board.order[: grid.best]:
        entry = training.merged(entry, training.trained(name, grid, outputs, "all", extra, say))
    replaced = other_code(entry, folder / "entries")
    path = files.write(entry, folder / "entries")
    if replaced:
        say(
            f"{path}: made from other code until now, replaced; to keep both, name your module so that nobody else does"
        )
    if entry.name in board.partial:
        count = board.applies[entry.name]
        terminal.out.print(
            f"{entry.name}: applies in {count} of {plural(len(grid.settings), 'setting')}, so it has no place"
        )
    else:
        place.show(board, entry.name)
    terminal.out.print(f"entry: {path}")
    terminal.out.print("page: python -m initbench.leaderboard")
    return 0


def other_code(entry: Entry, folder: Path) -> bool:
    """Whether an entry of this name is there that comes from other code: an earlier state of it, or another person's."""
    try:
        there = files.loaded(files.path_of(entry.name, folder))
    except InputError:  # none, or none that can be read
        return False
    return isinstance(there, dict) and there.get("source") != entry.content["source"]


def run(grid: Grid, folder: Path, outputs: Path, extra: Sequence[str]) -> int:
    """Train the catalogue without sharing, then the first of the ranking with sharing=all; then the pages."""
    names, failed = catalogue(grid), 0
    have, began = fitting(folder, grid), time.monotonic()
    todo = [name for name in names if name not in have]
    for i, name in enumerate(todo):
        failed += _train(name, "none", grid, folder, outputs, extra, have)
        say(f"{i + 1} of {len(todo)} trained with sharing=none{left(began, i + 1, len(todo))}")
    board = board_of(list(have.values()), grid)
    first = [*board.order[: grid.best], grid.baseline] if grid.best else []
    todo = [name for name in dict.fromkeys(first) if not have[name].results("all") and not have[name].own]
    began = time.monotonic()
    for i, name in enumerate(todo):
        failed += _train(name, "all", grid, folder, outputs, extra, have)
        say(f"{i + 1} of {len(todo)} trained with sharing=all{left(began, i + 1, len(todo))}")
    return max(pages(grid, folder), 1 if failed else 0)


def _train(
    name: str, sharing: str, grid: Grid, folder: Path, outputs: Path, extra: Sequence[str], have: dict[str, Entry]
) -> int:
    """Train one and write its entry; 1 if it cannot have one."""
    try:
        entry = training.trained(name, grid, outputs, sharing, extra, say)
    except InputError as error:
        say(f"initbench: {error}")
        return 1
    have[name] = training.merged(have[name], entry) if sharing != "none" else entry
    files.write(have[name], folder / "entries")
    return 0


def left(began: float, done: int, all_: int) -> str:
    """How long the rest takes if it goes on like this."""
    minutes = (time.monotonic() - began) / 60 / done * (all_ - done)
    return f", about {minutes:.0f} min left" if done < all_ else ""


def catalogue(grid: Grid) -> list[str]:
    """Every option of init, the baseline first, but those that the settings leave out."""
    from initbench.initializers.option_files import known

    wrong = next((name for name in (grid.baseline, *grid.left_out) if name not in known()), None)
    if wrong is not None:
        raise refusal(grid.path, f"{shown(wrong)} is no option of init", "see python -m initbench.catalogue")
    return [grid.baseline, *(name for name in known() if name != grid.baseline and name not in grid.left_out)]


def fitting(folder: Path, grid: Grid) -> dict[str, Entry]:
    """The entries that fit; those of the catalogue that do not are made anew, one of your own is refused."""
    found, options = {}, catalogue(grid)
    for path in sorted((folder / "entries").glob("*.json")):
        try:
            found[path.stem] = files.read(path, grid)
        except InputError as error:
            if path.stem not in options:
                raise
            say(f"made anew: {error}")
    return found


def check(names: Sequence[str], grid: Grid, folder: Path, extra: Sequence[str]) -> int:
    """Train entries again, in a folder without stored runs, and compare what is reproducible byte for byte."""
    known = {one.name: one for one in entries_of(folder, grid)}
    for name in names:
        if name not in known:
            raise refusal(f"--check {shown(name)}", "it has no entry", f"train it with --add {shown(name)}")
    differ = 0
    for name in names or spread(board_of(list(known.values()), grid), known):
        with tempfile.TemporaryDirectory() as scratch:
            again = training.trained(name, grid, Path(scratch), extra=extra, say=say)
            for sharing in known[name].content["results"]:
                if sharing != "none":
                    again = training.merged(again, training.trained(name, grid, Path(scratch), sharing, extra, say))
        same = again.reproducible == known[name].reproducible
        differ += not same
        terminal.out.print(f"{name}: {verdict(again, known[name])}")
    return 1 if differ else 0


def verdict(again: Entry, entry: Entry) -> str:
    """Whether two entries are the same, and where they are not."""
    ours, theirs = again.reproducible, entry.reproducible
    if ours == theirs:
        return f"the same, {len(ours.encode()):,} bytes"
    for sharing, rows in entry.content["results"].items():
        for new, old in zip(again.results(sharing), rows):
            if new != old:
                keys = [key for key in old if old[key] != new.get(key)]
                return f"DIFFERS: sharing={sharing}, {old['setting']}: {', '.join(keys)}"
    keys = [
        key for key in entry.content if key not in ("made", "hash") and entry.content[key] != again.content.get(key)
    ]
    return f"DIFFERS: {', '.join(keys)}"


def spread(board: Board, known: dict[str, Entry]) -> list[str]:
    """The first, the middle and the last of the ranking among those that are no one's own code."""
    names = [name for name in board.order if not known[name].own]
    return list(dict.fromkeys(names[i] for i in (0, len(names) // 2, len(names) - 1)))


def pages(grid: Grid, folder: Path) -> int:
    """README.md and index.html from the entries."""
    from initbench.leaderboard.page import files_of

    entries = entries_of(folder, grid)
    if not entries:
        raise refusal(
            folder / "entries", "no entry in it", "train the catalogue with --run, or one initializer with --add"
        )
    for name, text in files_of(entries, grid).items():
        path = folder / name
        with naming(path), published(path) as new:
            new.write_text(text, encoding="utf-8")
        terminal.out.print(f"{path}: {plural(len(entries), 'entry', 'entries')}, {len(text.encode()) / 1e6:.2f} MB")
    return 0
