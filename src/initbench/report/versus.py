"""Two studies side by side: what is faster, slower or the same in the second, arm by arm."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.block import Block, Draw, Item
from initbench.report.figures import judged
from initbench.report.source import Source
from initbench.report.text import csv
from initbench.report.words import (
    Bold,
    Code,
    Notice,
    Sentence,
    code_span,
    escape_markdown,
    html,
    join,
    listed,
    markdown,
    say,
)

MOST_ROWS = 40
HEADS = ["Setup", "Setting", "Ratio B / A", "95% interval", "Verdict on B", "Steps A", "Steps B", "Arrived A", "Arrived B",
         "lr A", "lr B", "Loss A", "Loss B", "Bits", "Differs"]  # fmt: skip
METHODS = (
    "Every setup that both studies have in the same setting is compared, the second study (B) with the first (A): paired by "
    "seed where at least 8 seeds are in both, else as two samples. In each study, learning rates are chosen from the rates "
    "that both tried, on one half of the seeds, and judged on the other; T is taken at the evaluations that both have, "
    "and different targets give no verdict. The whole procedure is bootstrapped. Verdicts follow the rules of a study's "
    "own report, with Holm's correction over all rows. Same bits: all common runs have equal steps and equal final losses.",
)


@dataclass(frozen=True)
class Versus:
    """Two sources and the table of their common arms."""

    a: Source
    b: Source

    @cached_property
    def table(self) -> pd.DataFrame:
        a, b = self.a, self.b
        runs = a.runs, b.runs
        if a.target is not None and a.target == b.target:
            runs = stats.common_evaluations(a.runs, a.history, b.runs, b.history, a.target)
        table = stats.compare_studies(*runs, a.study, b.study)
        if a.target != b.target:  # steps to different targets have no ratio
            table["verdict"], table["reason"] = "undecided", "the targets differ"
            table[["ratio", "ratio_low", "ratio_high", "p", "p_holm", "p_faster"]] = np.nan
        return table

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called: study names, or folders where those are equal."""
        names = str(self.a.study.get("study", "A")), str(self.b.study.get("study", "B"))
        return names if names[0] != names[1] else (str(self.a.folder), str(self.b.folder))


def answer(versus: Versus) -> Sentence:
    """How many arms are faster, slower, equivalent, undecided in B, and by how much overall."""
    table = versus.table
    a, b = versus.names
    counts = table["verdict"].value_counts()
    words = ("faster", "equivalent", "slower", "undecided")
    parts = [f"{counts[word]} {word}" for word in words if counts.get(word, 0)]
    what = num.plural(len(table), "common setup")
    lead = say("B, {}, against A, {}: of {}, {}.", Bold(b), Bold(a), what, ", ".join(parts))
    same = int(table["same_bits"].sum())
    tail = say("{} of {} are the same to the bit.", str(same), str(len(table))) if same else ()
    known = table.dropna(subset=["ratio"])
    far: Sentence = ()
    changed = known[known["verdict"].isin(["faster", "slower"])]
    if len(changed):
        row = changed.iloc[int(np.argmax(np.abs(np.log(changed["ratio"].to_numpy(float)))))]
        span = num.interval(row["ratio_low"], row["ratio_high"], num.times)
        far = say("The largest change: {} takes {} {} the steps.", Bold(row["setup"]), num.times(row["ratio"]), span)
    return join([lead, far, tail])


def only(versus: Versus) -> tuple[list[str], list[str]]:
    """Arms of A that B lacks, and the other way round."""
    keys = [
        {(str(s), str(u)) for s, u in zip(source.board["setting"], source.board["setup"])}
        for source in (versus.a, versus.b)
    ]
    return tuple(sorted(f"{setup} ({setting})" for setting, setup in one - other)  # type: ignore[return-value]
                 for one, other in (keys, keys[::-1]))  # fmt: skip


def unfair(versus: Versus) -> list[Notice]:
    """What to know before trusting the comparison: what is in one study only, and what the two do not have in common."""
    out = [
        Notice(f"{num.plural(len(names), 'setup')} only in {name}", say("{}", listed(names, 8)))
        for names, name in zip(only(versus), versus.names)
        if names
    ]
    a, b = versus.a, versus.b
    if a.target != b.target:
        targets = [num.target_words(*one.target) if one.target else "none" for one in (a, b)]
        text = "{} against {}, so nothing is judged. Set one target for both with {}."
        value = next(f"{one.target[0]}:{one.target[1]:g}" for one in (a, b) if one.target)
        out.append(Notice("The targets differ", say(text, *targets, Code(f"--target {value}"))))
    unlike = versus.table[versus.table["differs"] != ""]
    for what, rows_ in unlike.groupby("differs", sort=False):
        title = f"{num.plural(len(rows_), 'setup')} differ between the studies"
        out.append(Notice(title, say("{} ({}).", str(what), listed([str(name) for name in rows_["setup"]], 8))))
    return out


def rows(table: pd.DataFrame) -> list[list[str]]:
    """Cells of the table, row by row."""
    return [
        [str(r["setup"]), str(r["setting"]), num.times(r["ratio"]), num.interval(r["ratio_low"], r["ratio_high"], num.times),
         str(r["verdict"]) + (f" ({r['reason']})" if r["reason"] else ""), num.steps(r["steps_a"]), num.steps(r["steps_b"]),
         num.count(r["reached_a"], r["n_a"]), num.count(r["reached_b"], r["n_b"]), num.rate(r["lr_a"]), num.rate(r["lr_b"]),
         num.real(r["loss_a"]), num.real(r["loss_b"]), "same" if r["same_bits"] else "differ", str(r["differs"])]
        for _, r in table.iterrows()
    ]  # fmt: skip


def block(versus: Versus, draw: Draw) -> Block:
    """The forest of ratios and the table."""
    out = Block("versus", "Side by side", "What changed?", [
        "Each row is a setup: its steps to target in B divided by those in A, with the 95% interval. "
        "Left of 1x B is faster. The grey band is 1/1.1 to 1.1; rows without a dot arrive in too few seeds.",
    ])  # fmt: skip
    table = versus.table
    known = table.dropna(subset=["ratio"]).sort_values("ratio", kind="stable").head(MOST_ROWS)
    figure = None
    sentence = answer(versus)
    if len(known):
        drawn = known.rename(columns={"ratio": "effect", "ratio_low": "low", "ratio_high": "high"})
        drawn = drawn.assign(given="", scale="steps").reset_index(drop=True)
        words = {str(i): str(row["setup"]) for i, row in drawn.iterrows()}
        figure = draw.svg(
            judged.effects(drawn, words, "A"), "versus", versus.a.settings[0], "Ratios of the two studies", sentence
        )
    left = len(table) - len(known)
    rest = f"; {left} without a ratio or not drawn" if left else ""
    shown = {"kind": "plain", "heads": HEADS, "rows": rows(table), "text": {1, 4, 14}}
    out.items.append(Item(html(sentence), figure, n=f"{num.plural(len(table), 'common setup')}{rest}", table=shown))
    return out


def page(versus: Versus) -> str:
    """versus.html: the same clothes as report.html."""
    from initbench.report.page import render, where_it_ran
    from initbench.report.svg import drawing

    draw = Draw(versus.a)
    with drawing():
        shown = block(versus, draw)
    a, b = versus.names
    table = versus.table
    notices = unfair(versus)
    facts = [
        (f"{name}: {key}", value)
        for name, source in zip(("A", "B"), (versus.a, versus.b))
        for key, value in where_it_ran(source)
    ]
    command = shlex.join(["python", "-m", "initbench.report", str(versus.a.folder), str(versus.b.folder)])
    return render(
        draw, title=f"{b} against {a}", subtitle=f"A = {a} · B = {b} · {num.plural(len(table), 'common setup')}",
        answer=html(answer(versus)),
        told=[("A", str(versus.a.folder)), ("B", str(versus.b.folder))],
        four=[(str(int((table["verdict"] == word).sum())), word, f"in {b}") for word in ("faster", "equivalent", "slower", "undecided")],
        notices=[{"title": one.title, "text": html(one.text)} for one in notices], ran=[("A", str(versus.a.study.get("command") or "")), ("B", str(versus.b.study.get("command") or ""))], blocks=[shown], methods=METHODS,
        command=command, facts=facts, pack="", files=[(f"{stem(versus)}.csv", "the table"), (f"{stem(versus)}.md", "the answer and the table for a pull request")],
    )  # fmt: skip


def stem(versus: Versus) -> str:
    """File name of the comparison, in the folder of B."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in versus.a.folder.name)
    return f"versus-{name}"


def report_markdown(versus: Versus) -> str:
    """The sentence and the table."""
    a, b = (escape_markdown(name) for name in versus.names)
    lines = [
        f"# {b} against {a}",
        "",
        markdown(answer(versus)),
        "",
        f"A: {code_span(str(versus.a.folder))}; B: {code_span(str(versus.b.folder))}.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + " --- |" * len(HEADS),
    ]
    lines += ["| " + " | ".join(escape_markdown(cell) for cell in row) + " |" for row in rows(versus.table)]
    found = unfair(versus)
    if found:
        lines += ["", "**Read before you trust**", ""]
        lines += [f"- **{escape_markdown(one.title)}.** {markdown(one.text)}" for one in found]
    return "\n".join([*lines, ""])


def files(versus: Versus, wanted: list[str]) -> dict[str, str | bytes]:
    """{name: content}, of html, md and csv."""
    makers: dict[str, Any] = {
        "html": page,
        "md": report_markdown,
        "csv": lambda v: csv(v.table),
    }
    return {f"{stem(versus)}.{form}": make(versus) for form, make in makers.items() if form in wanted}
