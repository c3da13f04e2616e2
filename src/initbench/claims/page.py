"""What a claim's result looks like: the block of its README and of the terminal, and its figure."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from initbench.claims.placed import number, region
from initbench.claims.prediction import Prediction
from initbench.claims.words import COSTS, claim_word, is_placed, part_words, spread
from initbench.report.numbers import plural, times
from initbench.report.palette import TONES

COST_NAMES = dict(zip(COSTS, ("in FLOPs", "stored bytes", "activations")))
COST_NOTE = (
    "Beside the steps of a race: the ratio in operations up to the target, of the bytes that are stored (parameters, gradients, "
    "optimizer state), and of the activations that are kept for the backward pass. Where the last is 1.00x, the two nets "
    "need equal activation memory."
)
EXACT = "exact, no chance"
WORDS = ("holds", "fails", "undecided")
COLOUR = {"holds": TONES["c1"].light, "fails": TONES["c2"].light, "undecided": TONES["muted"].light}
MARK = {"holds": "o", "fails": "X", "undecided": "D"}


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return rows.to_dict("records")  # type: ignore[return-value]


def block(given: Prediction, measured: pd.DataFrame) -> str:
    """The result in Markdown: verdict, parts, where each holds and where not, every cell."""
    words = part_words(measured, given.parts)
    lines = [
        f"**Verdict: {claim_word(list(words.values()))}.** {_count(given, measured)}",
        "",
        *_parts(given, measured, words),
        "",
    ]
    for part in given.parts:
        lines += [f"- {part.name}: {where(of_part(measured, part.name))}"]
    placed = measured["part"].isin([part.name for part in given.parts if is_placed(of_part(measured, part.name))])
    tables = [_cells(measured[~placed]), _numbers(measured[placed])]
    return "\n".join(line for table in [lines, *tables] if table for line in [*table, ""]).rstrip("\n")


def of_part(measured: pd.DataFrame, part: str) -> pd.DataFrame:
    return measured[measured["part"] == part]


def sizes(given: Prediction, measured: pd.DataFrame) -> str:
    """How many seeds, nets, ... a cell has: of the smallest and of the largest; or that nothing is left to chance."""
    known = measured["n"].dropna()
    ends = list(dict.fromkeys(f"{int(size):,}" for size in (known.min(), known.max()))) if len(known) else []
    return f"{' to '.join(ends)} {given.unit}" if ends else EXACT


def tested(measured: pd.DataFrame) -> int:
    """How many tests a table has, exact ratios left out."""
    return int((measured["n"].notna() | measured.get("least", pd.Series(np.nan, measured.index)).notna()).sum())


def _count(given: Prediction, measured: pd.DataFrame) -> str:
    n = sizes(given, measured)
    n = n if n == EXACT else f"n = {n}"
    family = int(measured["family"].iloc[0])
    quick = (
        ""
        if tested(measured) >= given.tests["full"] + given.numbers["full"]
        else "Quick version, fewer seeds and cells than planned. "
    )
    raced = not is_placed(measured)
    holm = f", Holm over the {family} comparisons of the suite" if raced else ""
    return (
        f"{quick}{plural(measured['cell'].nunique(), 'cell')}, {n} in each{holm}; "
        f"predictions {measured['predictions'].iloc[0]}."
    )


def _parts(given: Prediction, measured: pd.DataFrame, words: dict[str, str]) -> list[str]:
    out = [
        "| part | says | expected | verdict | holds | fails | undecided | measured: median (smallest to largest) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in given.parts:
        rows = of_part(measured, part.name)
        counts = " | ".join(f"{(rows['word'] == word).sum()}/{len(rows)}" for word in WORDS)
        says = part.says.replace("|", "\\|")
        out.append(f"| {part.name} | {says} | {part.expected} | {words[part.name]} | {counts} | {spread(rows)} |")
    return out


def where(rows: pd.DataFrame) -> str:
    """Where a part holds, fails, and is undecided; cells that differ in their last word only are named together.

    >>> where(pd.DataFrame({"cell": ["digits, relu, depth 3", "digits, relu, depth 8", "digits, tanh, depth 3"],
    ...     "setup": "a", "word": ["holds", "holds", "fails"]}))
    'holds on digits relu (depth 3, 8); fails on digits tanh (depth 3)'
    >>> where(pd.DataFrame({"cell": ["tied"], "setup": "a", "word": ["holds"]}))
    'holds on tied'
    >>> where(pd.DataFrame({"cell": ["own", "shuffled"], "setup": ["own", "shuffled"], "word": ["holds", "holds"]}))
    'holds on own, shuffled'
    >>> where(pd.DataFrame({"cell": ["digits, orthogonal", "mnist1d, orthogonal"], "setup": "a", "word": ["fails", "fails"]}))
    'fails on digits orthogonal, mnist1d orthogonal'
    """
    several = rows["setup"].nunique() > 1 and list(rows["setup"]) != list(rows["cell"])
    said = []
    for word in WORDS:
        groups: dict[tuple[str, str], list[str]] = {}
        for row in records(rows[rows["word"] == word]):
            *first, last = str(row["cell"]).split(", ")
            name, _, value = last.rpartition(" ") if first else ("", "", "")
            named = name or last.isidentifier()  # "digits, orthogonal", but not "N = 4, 8"
            place = " ".join(first if name else [*first, last]) if named else str(row["cell"])
            groups.setdefault((place + (f" {row['setup']}" if several else ""), name), []).append(value)
        if groups:
            places = (
                f"{place} ({name} {', '.join(dict.fromkeys(values))})" if name else place
                for (place, name), values in groups.items()
            )
            said.append(f"{'is ' if word == 'undecided' else ''}{word} on {', '.join(places)}")
    return "; ".join(said) or "not measured"


def _cells(measured: pd.DataFrame) -> list[str]:
    """The table of races and other ratios; nothing where there are none."""
    if measured.empty:
        return []
    named = COST_NAMES if _differ_in_costs(measured) else {}
    out = [
        *[COST_NOTE, ""] * bool(named),
        f"| part | cell | compared | ratio [95% interval] |{''.join(f' {name} |' for name in named.values())} n "
        "| Holm's p | lr | word | why, arrived |",
        "|---|---|---|---|" + "---|" * len(named) + "---|---|---|---|---|",
    ]
    for row in records(measured):
        spent = "".join(f" {times(row[name])} |" for name in named)
        ends = "" if np.isnan(row["low"]) else f" [{times(row['low'])}, {times(row['high'])}]"
        ratio = f"{times(row['ratio'])}{ends}"
        n = "exact" if np.isnan(row["n"]) else str(int(row["n"]))
        p = "–" if np.isnan(row["p_holm"]) else "<0.0001" if row["p_holm"] < 1e-4 else f"{row['p_holm']:.3g}"
        rates = " / ".join(f"{rate:g}" for rate in (row["lr"], row["lr_baseline"]) if not np.isnan(rate)) or "–"
        why = "; ".join(text for text in (row["reason"], row["note"]) if isinstance(text, str) and text)
        beyond = f", {row['claims']}" if str(row["claims"])[-1:].isdigit() else ""
        compared = f"{row['quantity']}: {row['setup']} / {row['baseline']}{beyond}".replace("|", "\\|")
        out.append(
            f"| {row['part']} | {row['cell']} | {compared} | {ratio} |{spent} {n} | {p} | {rates} | {row['word']} | {why} |"
        )
    return out


def _differ_in_costs(measured: pd.DataFrame) -> bool:
    """Whether some race is between nets that differ in more than steps."""
    if not set(COSTS) <= set(measured):  # a table written before there were costs
        return False
    rest = measured[list(COSTS)].assign(flops=measured["flops"] / measured["ratio"]).to_numpy(float)
    return bool((np.isfinite(rest) & ~np.isclose(rest, 1.0, rtol=1e-3)).any())


def _numbers(measured: pd.DataFrame) -> list[str]:
    """The table of numbers against a region; nothing where there are none."""
    if measured.empty:
        return []
    out = [
        "| part | cell | measured | value [99% interval] | claimed | n | word | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in records(measured):
        n = "exact" if np.isnan(row["n"]) else f"{int(row['n']):,}"
        ends = (
            ""
            if np.isnan(row["low"]) or row["low"] == row["high"]
            else f" [{number(row['low'])}, {number(row['high'])}]"
        )
        why = "; ".join(text for text in (row["reason"], row["note"]) if isinstance(text, str) and text)
        claimed = region(row["predicted"], row["least"], row["most"])
        compared = f"{row['quantity']}: {row['setup']}".replace("|", "\\|")
        cell = str(row["cell"]).replace("|", "\\|")
        out.append(
            f"| {row['part']} | {cell} | {compared} | {number(row['ratio'])}{ends} | {claimed} | {n} | {row['word']} "
            f"| {why} |"
        )
    return out


def figure(given: Prediction, measured: pd.DataFrame) -> str:
    """An SVG: every test's ratio or number with its interval, one panel per part; the same bytes for the same table."""
    parts = [part.name for part in given.parts if len(of_part(measured, part.name))]
    most = max((len(of_part(measured, part)) for part in parts), default=1)
    drawing = {"svg.hashsalt": "initbench", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 8}
    with mpl.rc_context(drawing):
        page = Figure(figsize=(3.2 + 3.2 * len(parts), 1.4 + 0.2 * most), layout="constrained", facecolor="white")
        for i, part in enumerate(parts):
            rows = of_part(measured, part)
            (_placed if is_placed(rows) else _panel)(page.add_subplot(1, len(parts), i + 1), rows, part)
        keys = [Line2D([], [], color=COLOUR[word], marker=MARK[word], ls="", ms=4, label=word) for word in WORDS]
        page.legend(handles=keys, loc="outside lower center", ncols=len(WORDS), frameon=False, fontsize=7)
        out = io.StringIO()
        page.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _named(ax: Any, rows: pd.DataFrame, part: str, below: str) -> None:
    """A panel's title, a name for each of its rows, and the words below it."""
    several = rows["setup"].nunique() > 1
    labels = [", ".join([row["cell"], *[row["setup"]] * several]) for row in records(rows)]
    ax.tick_params(axis="x", which="both", labelsize=6, rotation=45)
    ax.set_yticks(range(len(rows)), labels, fontsize=6)
    ax.invert_yaxis()
    ax.set_title(part, fontsize=9, loc="left")
    ax.set_xlabel(f"{rows['quantity'].iloc[0]}{below}", fontsize=7)


def _panel(ax: Any, rows: pd.DataFrame, part: str) -> None:
    for y, row in enumerate(records(rows)):
        if np.isnan(row["ratio"]):
            ax.text(1, y, f"no ratio: {row['note']}", va="center", fontsize=6, color=COLOUR[row["word"]])
            continue
        if not np.isnan(row["low"]):
            ax.plot([row["low"], row["high"]], [y, y], color=COLOUR[row["word"]], lw=1.4)
        ax.plot([row["ratio"]], [y], MARK[row["word"]], color=COLOUR[row["word"]], ms=4)
    said = rows["baseline"] + " " + rows["claims"]
    bound = said.str.extract(r"(?:bound|above|below) ([\d.]+)", expand=False).dropna().astype(float)
    ax.axvline(bound.iloc[0] if len(bound) else 1.0, color=TONES["ink"].light, lw=0.8, ls=":")
    ax.set_xscale("log")
    within = ax.get_xlim()[1] / ax.get_xlim()[0]
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}x") if within < 8 else NullFormatter())
    _named(ax, rows, part, f", ratio\n(claimed: {rows['claims'].iloc[0]} the dotted line)")


def _placed(ax: Any, rows: pd.DataFrame, part: str) -> None:
    """Numbers with their intervals; a grey bar is the region in which the claim puts each."""
    known = rows[["ratio", "low", "high", "least", "most"]].to_numpy(float)
    known = known[np.isfinite(known)]
    if len(known) and known.min() > 0 and known.max() > 20 * known.min():
        ax.set_xscale("log")
    for y, row in enumerate(records(rows)):
        if not np.isfinite(row["ratio"]):
            ax.text(0.5, y, f"no value: {row['note']}", va="center", fontsize=6, transform=ax.get_yaxis_transform())
            continue
        ax.plot([row["low"], row["high"]], [y, y], color=COLOUR[row["word"]], lw=1.4)
        ax.plot([row["ratio"]], [y], MARK[row["word"]], color=COLOUR[row["word"]], ms=4)
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    wide = 0.05 * (high - low)
    log = ax.get_xscale() == "log"
    left, right = (low / 1.1, high * 1.1) if log else (low - wide, high + wide)
    for y, row in enumerate(records(rows)):
        start, end = max(row["least"], left), min(row["most"], right)
        ax.fill_betweenx([y - 0.35, y + 0.35], start, end, color=TONES["muted"].light, alpha=0.25, lw=0)
    ax.set_xlim(*((left, right) if left < right else (left - 1, right + 1)))
    _named(ax, rows, part, "\n(claimed: inside the grey bar)")
