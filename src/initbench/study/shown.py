"""How results show themselves: ten lines in a console, the leaderboard with its verdicts in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup, escape

from initbench import stats
from initbench.cli import terminal
from initbench.errors import InputError
from initbench.grammar import plural

if TYPE_CHECKING:
    from initbench.study.results import Results

LINES = 5  # of the leaderboard, in a console
ROWS = 20  # and in a notebook
COLOURS = {"faster": "#00805c", "slower": "#c24a00"}  # readable on white and on black


def goal(study: Any) -> str:
    """What is counted, in words."""
    target = study.get("target")
    return f"steps to {target['metric']} {target['value']:g}" if target else "no target"


def head(results: Results) -> str:
    """Name, size and place of a study."""
    study = results.study
    size = f"{plural(len(study.get('arms') or []), 'arm')}, {plural(len(results.runs), 'run')}"
    return f"Results of {study.get('study', 'a study')}: {size}, {goal(study)}, in {results.folder}"


def text(results: Results) -> str:
    """At most ten lines: the first arms of the first setting, by rank. Nothing is resampled for it, so no verdict stands
    there."""
    lines = [head(results)]
    try:
        board = stats.ordered(results.runs, results.study)
        settings = list(dict.fromkeys(board["setting"]))
        rows = board[board["setting"] == settings[0]]
        lines.append(f"{settings[0]}:")
        lines += table(rows.head(LINES)).to_string(index=False).splitlines()
        more = [plural(len(rows) - LINES, "more arm")] if len(rows) > LINES else []
        more += [plural(len(settings) - 1, "more setting")] if len(settings) > 1 else []
        lines.append("; ".join([*more, ".leaderboard() has the verdicts; .plot(), .report(), .runs, .history"]))
    except Exception:  # a repr must not fail, whatever was done to the frames
        lines.append(".runs, .history and .study hold what there is")
    return "\n".join(lines)


def table(rows: pd.DataFrame, verdicts: bool = False) -> pd.DataFrame:
    """Rows of a leaderboard as text."""
    filled = rows.assign(**{name: None for name in ("verdict", "ratio") if name not in rows})
    target = bool(rows["steps"].notna().any())
    found: list[dict[Any, Any]] = filled.to_dict("records")
    frame = pd.DataFrame([terminal.cells(row, target) for row in found]).rename(columns={"": "#"})
    return frame if verdicts else frame.drop(columns=["x base", "verdict"])


def html(results: Results) -> str:
    """The leaderboard of each setting with verdicts, and what to know before trusting them."""
    parts = [Markup("<p><b>{}</b></p>").format(head(results))]
    try:
        board = results.leaderboard()
    except InputError as error:
        return str(Markup("{}<p>{}</p>").format(parts[0], error))
    settings = list(dict.fromkeys(board["setting"]))
    for setting in settings[: terminal.SHOWN_SETTINGS]:
        rows = board[board["setting"] == setting]
        shown = table(rows.head(ROWS), verdicts=True)
        parts.append(Markup("<p>{}: {}</p>").format(setting, goal(results.study)))
        parts.append(Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(
            Markup("").join(Markup("<th>{}</th>").format(name) for name in shown.columns),
            Markup("").join(Markup("<tr>{}</tr>").format(cells(row)) for row in shown.to_dict("records")),
        ))  # fmt: skip
        if len(rows) > ROWS:
            parts.append(Markup("<p>{} in .leaderboard()</p>").format(plural(len(rows) - ROWS, "more arm")))
    if len(settings) > terminal.SHOWN_SETTINGS:
        more = plural(len(settings) - terminal.SHOWN_SETTINGS, "more setting")
        parts.append(Markup("<p>{} in .leaderboard()</p>").format(more))
    titles = [str(one["title"]) for one in results.study.get("cautions") or []]
    if titles:
        parts.append(Markup("<p>Read before you trust: {}</p>").format("; ".join(titles)))
    return str(Markup("").join(parts))


def cells(row: dict[Any, Any]) -> Markup:
    """A row's cells; the words faster and slower have a colour."""
    out = Markup("")
    for name, value in row.items():
        align = "left" if name in ("setup", "verdict") else "right"
        colour = f"; color: {COLOURS[value]}; font-weight: bold" if name == "verdict" and value in COLOURS else ""
        out += Markup('<td style="text-align: {}{}">{}</td>').format(align, Markup(colour), escape(value))
    return out
