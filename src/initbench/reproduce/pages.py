"""The pages of all studies, experiments/README.md and SURPRISES.md: made from the shipped results, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from initbench.grammar import plural
from initbench.reproduce.outcome import Outcome
from initbench.reproduce.verdict import WORDS

if TYPE_CHECKING:
    from initbench.claims.found import Found

COMMAND = "python -m initbench.reproduce --pages"
MADE = f"<!-- written by {COMMAND} -->"
OPEN = "not yet run in full"

README = """# What is true about initializing and sharing weights?

Claims of papers and of course notes about how to start the weights of a multilayer perceptron (MLP), and about layers that
share them. Each was tested by one command: first what should come out was written down and committed, then it was run.

- **CONFIRMED**: what the claim says holds in at least three quarters of the settings in which it was tested.
- **REFUTED**: some part of it fails in more than a quarter of them.
- **UNDECIDED**: the data allow neither.

A *setting* is a combination such as one data set, one activation and one depth. In each of them a claim *holds*, *fails* or
stays open, by an interval over many seeds: random starts that differ in nothing else. After the semicolon stands what was
measured and its median over the settings, with the smallest and the largest in parentheses. A ratio such as 0.88x compares
two nets; "steps: 0.88x" is 0.88x the training steps to the same accuracy, each net at its own best learning rate. The column n
says how many seeds, nets or numbers are behind each word. A small net on a small data set says little about large ones: what is
refuted here may be true there, and each study says what it left out.

"""
AFTER = """
What surprised: [SURPRISES.md](SURPRISES.md).{board}

Run one again, or all: `python -m initbench.reproduce {first}`, `python -m initbench.reproduce all` (`--quick`: fewer seeds). A
number here is one of a study's `results/summary.csv`; the pages are made of those files by `{command}`.
"""
SURPRISES = """# Surprises

What did not come out as claimed, or not as expected. *Expected* is the word that was written down and committed before the first
run. Each line links the study and its numbers; how to read them: [README.md](README.md).
"""


def readme(outcomes: Sequence[Outcome], board: bool = False) -> str:
    """All studies in one table, verdict first. `board`: whether there is a leaderboard to link."""
    counts = [f"{sum(word_of(one) == word for one in outcomes)} {word.lower()}" for word in WORDS]
    waiting = sum(one.verdict is None for one in outcomes)
    counts += [f"{waiting} {OPEN}"] * bool(waiting)
    rows = [
        f"**{plural(len(outcomes), 'study', 'studies')}: {', '.join(counts)}.**\n",
        "| verdict | claim | what came out | n | source | study |",
        "|---|---|---|---|---|---|",
    ]
    order = [*WORDS, OPEN]
    for one in sorted(outcomes, key=lambda one: (order.index(word_of(one)), one.slug)):
        cells = (
            f"**{word_of(one)}**",
            one.claim,
            came_out(one),
            one.size,
            one.source,
            f"[{one.slug}]({one.slug}/README.md)",
        )
        rows.append(f"| {' | '.join(map(cell, cells))} |")
    linked = "\n\nWhich initializer is fastest: the [leaderboard](leaderboard/README.md)." if board else ""
    after = AFTER.format(board=linked, first=min((one.slug for one in outcomes), default="all"), command=COMMAND)
    return f"{MADE}\n{README}" + "\n".join(rows) + f"\n{after}"


def word_of(one: Outcome) -> str:
    return one.verdict.word if one.verdict else OPEN


def cell(text: str) -> str:
    """Text that a Markdown table can hold.

    >>> cell("|x| of\\ntwo lines")
    '\\\\|x\\\\| of two lines'
    """
    return " ".join(text.split()).replace("|", "\\|")


def came_out(one: Outcome) -> str:
    """What was measured, part by part."""
    if one.verdict is None:
        return f"expected: {one.expected}"
    if not one.parts:
        return one.verdict.measured + (f" ({one.verdict.interval})" if one.verdict.interval else "")
    return "<br>".join(said(part) for part in one.parts)


def said(part: Found) -> str:
    """What a part says, and what became of it."""
    counts = f"holds in {part.holds} and fails in {part.fails} of {plural(part.cells, 'setting')}"
    of = f"{part.quantity}: " * bool(part.quantity)
    return f"{part.says}: {part.word.lower()}, {counts}; {of}{part.spread}"


def surprises(outcomes: Sequence[Outcome]) -> str:
    """Refuted; true here and false there; numbers that did not come out; not as expected."""
    done = [one for one in outcomes if one.verdict]
    refuted = [
        item(one, [said(part) for part in one.parts if part.word == "REFUTED"] or [came_out(one)])
        for one in done
        if word_of(one) == "REFUTED"
    ]
    split = [
        item(one, lines)
        for one in done
        if (lines := [f"{part.says}: {part.where}" for part in one.parts if part.holds and part.fails])
    ]
    missed = [
        item(one, lines)
        for one in done
        if (lines := [f"{part.name}: {text}" for part in one.parts for text in part.missed])
    ]
    other = [
        item(one, lines)
        for one in done
        if (lines := [f"expected {part.expected}: {said(part)}" for part in one.parts if part.word != part.expected])
    ]
    sections = {
        "Refuted": refuted,
        "Holds in some settings and fails in others (data, activation, depth, optimizer)": split,
        "Numbers that did not come out as claimed": missed,
        "Not as expected before the first run": other,
    }
    return f"{MADE}\n{SURPRISES}" + "".join(section(title, items) for title, items in sections.items())


def section(title: str, items: Iterable[str]) -> str:
    return f"\n## {title}\n\n" + ("\n".join(items) or "None.") + "\n"


def item(one: Outcome, lines: Sequence[str]) -> str:
    """A claim with what is to be said of it."""
    links = f"[study]({one.slug}/README.md), [numbers]({one.slug}/results/summary.csv)"
    return "\n".join([f"- **{one.claim}** ({links})", *(f"  - {line}" for line in lines)])
