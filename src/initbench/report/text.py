"""report.md, the CSV files and the LaTeX table: the same leaderboard in other clothes."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from initbench import stats
from initbench.report import overview, pairs, tables
from initbench.report.answer import four_numbers
from initbench.report.block import drawn_settings
from initbench.report.looked import facts
from initbench.report.notices import notices
from initbench.report.page import rebuild_commands, where_it_ran
from initbench.report.sentences import about_pair
from initbench.report.source import Source
from initbench.report.words import escape_markdown, markdown

MOST_ROWS = 24
MOST_PAIRED = 12  # setups of a matrix


def report_markdown(source: Source) -> str:
    """Answer, table, warnings, command: for a README or a pull request."""
    study = escape_markdown(str(source.study.get("study", "study")))
    lines = [f"# {study}: which setup trains fastest?", ""]
    lines += [markdown(overview.first_answer(source)), ""]
    if overview.several(source):
        lines += ["| " + " | ".join(overview.HEADS) + " |", "|" + " --- |" * len(overview.HEADS)]
        lines += ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in overview.rows(source)]
        lines.append("")
    lines += [f"- {name}: {markdown(sentence)}" for name, sentence in facts(source)]
    lines.append("")
    lines += [", ".join(f"{value} {escape_markdown(name)}" for value, name, _ in four_numbers(source)) + ".", ""]
    columns = [
        c for c in tables.leaderboard_columns(source) if c.head.title not in ("FLOPs to target", "Used params", "Runs")
    ]
    own = dict(overview.each(source))
    for setting in drawn_settings(source):
        board = source.part(source.board, setting)
        if setting in own:
            lines += [f"## {escape_markdown(setting)}", "", markdown(own[setting]), ""]
        lines += _table([c for c in columns if c.head.title != "Setting"], board.head(MOST_ROWS))
        if len(board) > MOST_ROWS:
            lines += ["", f"{len(board) - MOST_ROWS:,} more in leaderboard.csv."]
        base = board["baseline"].dropna()
        if len(base):
            span = "95% interval" if source.decide is None else "interval of the look at which the pair stopped"
            lines += ["", f"Ratio: to {escape_markdown(str(base.iloc[0]))}, paired by seed, {span}. "
                      "Steps: median over all seeds, never arrived = infinite, 95% bootstrap interval."]  # fmt: skip
        lines.append("")
        said = stats.distinct(source.part(source.pairs, setting))
        said = said[~said["verdict"].isin(["baseline", stats.NOT_JUDGED])]
        lines += [f"- {markdown(about_pair(row, source.decide))}" for _, row in said.head(MOST_ROWS).iterrows()]
        if len(said) > MOST_ROWS:
            lines.append(f"- {len(said) - MOST_ROWS:,} more in comparisons.csv")
        lines.append("")
        if source.every:
            lines += [f"All pairs. {markdown(pairs.about_pairs(source, setting))}", ""]
            lines += _matrix(pairs.matrix(source, setting, MOST_PAIRED))
    if left := len(source.settings) - len(drawn_settings(source)):
        lines += [f"{left:,} more settings in leaderboard.csv and comparisons.csv.", ""]
    if told := pairs.ranks_told(source):
        lines += [markdown(told), "", *_ranks(source.average_ranks)]
    found = notices(source)
    if found:
        lines += ["**Read before you trust**", ""]
        lines += [f"- **{escape_markdown(n.title)}.** {markdown(n.text)}" for n in found]
        lines.append("")
    command = rebuild_commands(source)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", command)), default=0))
    lines += [f"{fence}sh", command, fence, ""]
    ran = dict(where_it_ran(source))
    lines += [f"{escape_markdown(ran['Versions'])}; commit {escape_markdown(ran['Commit'])}.", ""]
    return "\n".join(lines)


def _table(columns: list[tables.Column], board: pd.DataFrame) -> list[str]:
    def show(cell: tables.Cell) -> str:
        return escape_markdown(f"{cell.text} {cell.small}".strip())

    lines = ["| " + " | ".join(escape_markdown(c.head.title) for c in columns) + " |"]
    lines.append("|" + "|".join(" --- " if c.head.is_text else " ---: " for c in columns) + "|")
    lines += ["| " + " | ".join(show(cell) for cell in row) + " |" for row in tables.rows(board, columns)]
    return lines


def _matrix(rows: list[pairs.Row]) -> list[str]:
    """Every two setups: the verdict on the row, its ratio to the column and the interval."""
    if not rows:
        return []
    lines = [
        "| Row against column | " + " | ".join(str(rank) for rank, *_ in rows) + " |",
        "|" + " --- |" * (len(rows) + 1),
    ]
    for rank, setup, cells in rows:
        shown = [" ".join(cell[:3]).strip() if cell else "" for cell in cells]
        lines.append("| " + " | ".join(escape_markdown(text) for text in (f"{rank} {setup}", *shown)) + " |")
    return [*lines, ""]


def _ranks(found: stats.AverageRanks | str) -> list[str]:
    """The critical-difference diagram as a table."""
    if isinstance(found, str):
        return []
    lines = ["| Setup | Average rank | Joined by a bar with |", "| --- | ---: | --- |"]
    for i, setup in enumerate(found.setups):
        joined = [found.setups[j] for j in sorted({j for group in found.groups if i in group for j in group} - {i})]
        lines.append(f"| {escape_markdown(setup)} | {found.ranks[i]:.2f} | {escape_markdown(', '.join(joined))} |")
    return [*lines, ""]


def report_latex(source: Source) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    columns = [c for c in tables.leaderboard_columns(source) if c.head.title not in ("Used params", "Runs")]
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{''.join('l' if c.head.is_text else 'r' for c in columns)}}}",
        r"\toprule",
        " & ".join(escape_latex(c.head.title) for c in columns) + r" \\",
        r"\midrule",
    ]
    for row in tables.rows(source.board, columns):
        lines.append(" & ".join(escape_latex(f"{cell.text} {cell.small}".strip()) for cell in row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "·": r"$\cdot$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "…": r"\dots{}", "[": "{[}", "]": "{]}", "\n": " ",
}  # fmt: skip


def escape_latex(text: str) -> str:
    r"""
    >>> escape_latex("a_b 50%")
    'a\\_b 50\\%'
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def csv(frame: pd.DataFrame) -> str:
    """Never arrived is inf, unknown is empty. Text that a spreadsheet would run as a formula has a ' before it.

    >>> csv(pd.DataFrame({"setup": ["=1+1", "eye"], "ratio": [-1.0, 2.0]}))
    "setup,ratio\\n'=1+1,-1.0\\neye,2.0\\n"
    """
    numeric = pd.api.types.is_numeric_dtype
    texts = [column if numeric(column.dtype) else column.map(_no_formula) for _, column in frame.items()]
    return str(pd.concat(texts, axis=1).to_csv(index=False, lineterminator="\n"))


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
