"""README.md and index.html of a leaderboard: the same entries give the same bytes. In the clothes of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from initbench.leaderboard import figures, tables
from initbench.leaderboard.board import GROUPS, Board, board_of
from initbench.leaderboard.entry import Entry
from initbench.leaderboard.profile import profile, shares
from initbench.leaderboard.settings import Grid
from initbench.leaderboard.shared import Shared, shared_of
from initbench.leaderboard.words import AS_TEXT, HOW, METHODS, answer, facts, noise, notices, ran, sharing_sentence
from initbench.report import numbers as num
from initbench.report.block import Block, Item
from initbench.report.page import render
from initbench.report.svg import Styles, drawing, inline_svg
from initbench.report.words import Bold, Sentence, escape_markdown, html, listed, markdown, plain, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = 6
TITLE = "Leaderboard: which initializer trains an MLP fastest?"
COMMAND = "python -m initbench.leaderboard"


class Draw:
    """The figures of the page and their styles."""

    def __init__(self) -> None:
        self.styles = Styles()

    def svg(
        self, figure: Figure, key: str, title: str, sentence: Sentence, arms: dict[str, tuple[str, str]] | None = None
    ) -> Markup:
        return inline_svg(figure, key, title, plain(sentence), self.styles, arms)


def files_of(entries: Sequence[Entry], grid: Grid) -> dict[str, str]:
    """{name: content} of the pages."""
    board = board_of(entries, grid)
    shared = shared_of(board, entries)
    return {"README.md": readme(board, shared), "index.html": page(board, shared)}


def page(board: Board, shared: Shared | None) -> str:
    """The whole page."""
    draw = Draw()
    with drawing():
        blocks = [_places(board, draw), _profile(board, draw), _heat(board, draw)]
        if shared is not None:
            blocks.append(_shared(shared, draw))
        blocks.append(_cost(board, shared))
    n = len(board.order)
    return render(
        draw,  # type: ignore[arg-type]
        title=TITLE,
        subtitle=f"{num.plural(n, 'initializer')} in {num.plural(len(board.grid.settings), 'setting')} · {num.whole(len(board.runs))} runs",
        answer=html(answer(board)),
        told=[],
        four=[(str(board.sizes[group]), words, f"of {n}") for group, words in zip(GROUPS, FOUR)],
        notices=[{"title": one.title, "text": html(one.text)} for one in notices(board)],
        ran=ran(board),
        blocks=blocks,
        methods=METHODS,
        command=f"{COMMAND} --run\n{COMMAND}",
        facts=facts(board),
        pack="",
        files=[
            ("README.md", "the same as text"),
            ("settings.yaml", "the grid"),
            ("entries/", "one file an initializer"),
        ],
    )


FOUR = ("could be the best", "faster than the baseline", "equivalent to it or undecided", "slower")


def _places(board: Board, draw: Draw) -> Block:
    names = board.order
    rows = {name: (f"#arm-{i}", "") for i, name in enumerate(names)}
    sentence = noise(board)
    figure = draw.svg(figures.places(board), "places", "Ratios to the baseline and ranks", sentence, rows)
    table = {"kind": "leaderboard", "heads": tables.heads(board), "rows": tables.rows(board)}
    items = [
        Item(html(sentence), figure, n=_n(board)),
        Item(html(say("All of it, sortable.")), n=_n(board), table=table),
    ]
    if board.partial:
        shown = {"kind": "plain", "heads": tables.PARTIAL_HEADS, "rows": tables.partial_rows(board), "text": {2, 3}}
        text = say(
            "{} without a place: they do not apply in every setting.", num.plural(len(board.partial), "initializer")
        )
        items.append(Item(html(text), n=_n(board), table=shown))
    return Block("all", "Ranking", "Who is fastest, and which differences are noise?", HOW["places"], items)


def _n(board: Board) -> str:
    return f"n = {board.standing.seeds} seeds in each of {num.plural(len(board.grid.settings), 'setting')}"


def curves(board: Board) -> list[str]:
    """The initializers with a curve: the first ones, each net once, and the baseline."""
    first: list[str] = []
    for name in board.order:
        if name != board.grid.baseline and not any(board.standing.alike(name, other) for other in first):
            first.append(name)
    return [name for name in board.order if name in (*first[: CURVES - 1], board.grid.baseline)]


def _profile(board: Board, draw: Draw) -> Block:
    names = curves(board)
    found = profile(board.standing, names=names)
    every, count = shares(board.standing), len(board.grid.settings)
    at_one, last = every[:, 0], every[:, -1]

    def most(share: np.ndarray) -> str:
        return listed([board.standing.names[i] for i in np.flatnonzero(share == share.max())], 3)

    text = say(
        "Fastest most often: {}, in {} of {}; within {}x of the fastest most often: {}, in {}.",
        most(at_one), str(round(at_one.max() * count)), num.plural(count, "setting"), f"{found.ratios[-1]:g}",
        most(last), str(round(last.max() * count)),
    )  # fmt: skip
    figure = draw.svg(figures.profiles(found, names), "profile", "Performance profile", text)
    return Block(
        "profile", "Profile", "How often is it near the best?", HOW["profile"], [Item(html(text), figure, n=_n(board))]
    )


def _heat(board: Board, draw: Draw) -> Block:
    names = [*board.order, *board.partial]
    pairs = board.judged.pairs[board.judged.pairs["verdict"] != "baseline"]
    counts = pairs["verdict"].value_counts()
    words = ", ".join(f"{counts.get(word, 0):,} {word}" for word in tables.WORDS)
    text = say("Of {} comparisons with {}, one by one: {}.", num.whole(len(pairs)), board.grid.baseline, words)
    figure = draw.svg(figures.heat(board, names), "heat", "Ratio to the baseline by setting", text)
    return Block("settings", "By setting", "In which settings?", HOW["heat"], [Item(html(text), figure, n=_n(board))])


def _shared(shared: Shared, draw: Draw) -> Block:
    text = sharing_sentence(shared)
    rows = [(str(row["name"]), float(row["alone"]), float(row["shared"])) for _, row in shared.table.iterrows()]
    figure = draw.svg(figures.shared(rows, num.steps), "shared", "Steps with and without sharing", text)
    table = {"kind": "plain", "heads": tables.SHARED_HEADS, "rows": tables.shared_rows(shared), "text": set()}
    return Block("sharing", "Sharing", "Where does sharing change the order?", HOW["shared"],
                 [Item(html(text), figure, n=_n(shared.together), table=table)])  # fmt: skip


def _cost(board: Board, shared: Shared | None) -> Block:
    boards = {"none": board} | ({"all": shared.together} if shared is not None else {})
    minutes = sum(float(entry.content["made"]["minutes"]) for entry in board.entries)
    text = say("Making all entries took {} minutes of commands.", f"{minutes:,.0f}")
    table: dict[str, Any] = {
        "kind": "plain",
        "heads": tables.COST_HEADS,
        "rows": tables.cost_rows(boards),
        "text": set(),
    }
    return Block("cost", "Cost", "What did it cost?", HOW["cost"], [Item(html(text), table=table)])


# ------------------------------------------------------------------------------------------------ Markdown


def readme(board: Board, shared: Shared | None) -> str:
    """The same as text, for a repository."""
    heads = [head.title for head in tables.heads(board)]
    lines = [
        f"# {TITLE}", "", f"Made by `{COMMAND}` from the files in entries/; do not edit. With figures: [index.html](index.html).", "",
        markdown(answer(board)), "", markdown(noise(board)), "", *_table(heads, [[_cell(cell) for cell in row] for row in tables.rows(board)]), "", _n(board), "",
        *(line for text in HOW["places"] for line in (text, "")),
    ]  # fmt: skip
    if board.partial:
        lines += ["## Without a place", "", *_table(tables.PARTIAL_HEADS, tables.partial_rows(board)), ""]
    lines += [
        "## By setting",
        "",
        AS_TEXT,
        "",
        _n(board),
        "",
        "<details><summary>the table</summary>",
        "",
    ]
    labels = [one.label for one in board.grid.settings]
    lines += [
        *_table(["Initializer", *labels], tables.setting_rows(board, [*board.order, *board.partial])),
        "",
        "</details>",
        "",
    ]
    if shared is not None:
        lines += [
            "## Where sharing changes the order",
            "",
            markdown(sharing_sentence(shared)),
            "",
            _n(shared.together),
            "",
        ]
        lines += [*_table(tables.SHARED_HEADS, tables.shared_rows(shared)), ""]
    boards = {"none": board} | ({"all": shared.together} if shared is not None else {})
    lines += ["## What it cost", "", *_table(tables.COST_HEADS, tables.cost_rows(boards)), ""]
    lines += [
        "## Read before you trust",
        "",
        *(f"- {markdown((Bold(one.title + '.'), ' ', *one.text))}" for one in notices(board)),
        "",
    ]
    lines += ["## How it was made", "", *(line for text in METHODS for line in (text, ""))]
    lines += [f"- {name}: {escape_markdown(value)}" for name, value in (*ran(board), *facts(board))]
    lines += ["", "## Add your own", "", *ADD]
    return "\n".join([*lines, ""])


ADD = [
    "Write a function `(weight, *, generator, ...) -> weight` in my_init.py, then", "", "```bash",
    f"{COMMAND} --add my_init.my_init", "```", "",
    "It trains only that function, on the same seeds, shows its place and writes entries/my_init.my_init.json: a pull request with "
    "that file is a submission. Nothing in an entry is executed when the page is made; `--check my_init.my_init` trains it again and "
    "compares byte for byte.",
]  # fmt: skip


def _cell(cell: Any) -> str:
    return f"{cell.text} {cell.small}".strip()


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[escape_markdown(str(cell)) for cell in row] for row in (heads, *rows)]
    out = ["| " + " | ".join(line) + " |" for line in lines]
    return [out[0], "|" + " --- |" * len(heads), *out[1:]]
