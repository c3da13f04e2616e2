"""A study that went on until it was decided: when each word fell, what the way there cost, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.block import Block, Draw, Item, n_of, settings_of
from initbench.report.figures import looks as figures
from initbench.report.source import Source
from initbench.report.words import Bold, Sentence, html, join, say

MOST_ROWS = 40


class Cost(NamedTuple):
    """What a path took, and what a design without looks would have taken."""

    runs: int
    minutes: float
    fixed: int  # every arm at every rate tried with the seeds of its setting's last look


def sure(source: Source) -> Sentence:
    """How often words like these are wrong, and what the intervals are."""
    family = int(source.pairs["family"].max()) if len(source.pairs) and source.pairs["family"].notna().any() else 0
    if not family or source.target is None:
        return ()
    several = f"all {num.plural(family, 'comparison')}" if family > 1 else "the one comparison"
    if len(source.settings) > 1:
        several += " of a setting"
    wrong = "If all setups were equal, at most 5% of such studies would call one faster or slower, {}"
    if source.decide is None:
        return say(wrong + " together. Intervals are 95%, each for itself.", several)
    sizes = source.decide["sizes"]
    at = f" and {num.plural(len(sizes), 'planned look')} (n = {', '.join(map(str, sizes))})" if len(sizes) > 1 else ""
    return say(
        wrong + "{} together; a setup that differs by 10% or more is called equivalent in at most 5%. An interval is that of "
        "the look at which its pair stopped, with all looks counted.", several, at,
    )  # fmt: skip


def cost(source: Source) -> Cost | None:
    """What the rounds took; None for a study that was looked at once."""
    if source.decide is None:
        return None
    rounds = source.decide["rounds"]
    tried = source.profile.groupby("arm", sort=False)["lr"].nunique()
    setting = source.board.set_index("arm")["setting"].astype(str)
    last = dict(source.looks.groupby(source.looks["setting"].astype(str))["seeds"].max())
    first = source.decide["sizes"][0]
    fixed = sum(int(rates) * int(last.get(setting.get(arm, ""), first)) for arm, rates in tried.items())
    return Cost(sum(int(one["runs"]) for one in rounds), sum(float(one["seconds"]) for one in rounds) / 60, fixed)


def price(source: Source) -> Sentence:
    """Runs; of a decided study also time, beside the runs of a design that is fixed beforehand."""
    found = cost(source)
    if found is None:  # no time: runs that were stored took theirs in another command
        most = max((source.tau(setting) for setting in source.settings), default=0)
        return say("{} of up to {}.", num.plural(source.all_runs, "run"), num.plural(int(most), "step"))
    shown = source.all_runs
    others = f", {found.runs - shown:,} of them with fewer steps or evaluations" if found.runs > shown else ""
    saved = say("A fixed design, every arm at every rate tried with the seeds of the last look, would have {}.",
                num.plural(found.fixed, "run"))  # fmt: skip
    lead = say("{}{}, {}, in {}.", num.plural(found.runs, "run"), others, took(60 * found.minutes),
               num.plural(len((source.decide or {})["rounds"]), "round"))  # fmt: skip
    return join([lead, saved])


def took(seconds: float) -> str:
    """
    >>> took(61.5), took(372.0), took(9000.0)
    ('62 seconds', '6.2 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def ended(source: Source) -> Sentence:
    """Why no round followed the last one; empty for a study that was looked at once."""
    if source.decide is None:
        return ()
    text = str(source.decide.get("reason") or source.decide["ended"]).rstrip(".")
    return say("{}.", text[:1].upper() + text[1:])


def facts(source: Source) -> list[tuple[str, Sentence]]:
    """What stands under the answer: how sure, what it cost, why it ended."""
    found = [("How sure", sure(source)), ("What it cost", price(source)), ("Why it ended", ended(source))]
    return [(name, sentence) for name, sentence in found if sentence]


def looks(source: Source, draw: Draw) -> Block:
    """The block of a decided study: figure and table of its looks, and its rounds."""
    block = Block("looks", "Looks", "When did each word fall?", [
        "A panel per comparison, the undecided and the longest paths first: the ratio to the baseline with its interval at each "
        "look. The grey band is 1/1.1 to 1.1. The word stands where it fell; a pair with a word gets no more seeds. 3:20 means: no "
        "ratio, 3 seeds of the setup and 20 of the baseline arrived.",
        "A look uses all seeds so far. Its interval and p count every planned look, so the words hold however often the study "
        "looked. Rounds that widen a grid, add steps or evaluate more often make no test of their own.",
    ])  # fmt: skip
    if source.decide is None or source.looks.empty:
        return block
    for setting, board, heading in settings_of(source):
        found = source.part(source.looks, setting)
        found = found[found["arm"].isin(stats.distinct(board)["arm"])]
        if found.empty:
            continue
        order = longest_first(found, board)
        sentence = about_looks(source, found)
        sizes = [int(n) for n in source.decide["sizes"]][: int(found["look"].max()) + 1]
        figure = draw.svg(figures.paths(found, order, sizes), "looks", setting, "Interval by look", sentence)
        left = len(order) - min(len(order), figures.PANELS)
        rest = f"; {left:,} more comparisons in study.json" if left else ""
        block.items.append(Item(html(sentence), figure, n_of(board) + rest, heading, table=last_looks(source, setting)))
    rounds = source.decide["rounds"]
    text = say(
        "{} of {}.", num.plural(len(rounds), "round"), num.plural(sum(int(one["runs"]) for one in rounds), "run")
    )
    block.items.append(Item(html(text), table=round_table(rounds), n="study.json has every look"))
    return block


def longest_first(found: pd.DataFrame, board: pd.DataFrame) -> list[str]:
    """Arms in the order of their panels: undecided, then by number of looks, then by rank."""
    last = found.sort_values("look").groupby("arm").tail(1).set_index("arm")
    rank = dict(zip(board["arm"], board["rank"]))
    key = {str(arm): (row["verdict"] != "undecided", -int(row["look"]), rank[arm]) for arm, row in last.iterrows()}
    return sorted(key, key=lambda arm: key[arm])


def about_looks(source: Source, found: pd.DataFrame) -> Sentence:
    """How many words fell at which look, and the last one."""
    fell = found[found["verdict"] != "undecided"]
    parts = [
        f"{len(part)} at n = {int(part['seeds'].iloc[0])}" for _, part in fell.groupby("look", sort=True) if len(part)
    ]
    pairs = found["arm"].nunique()
    open_ = pairs - fell["arm"].nunique()
    text = say("Of {}, {} got a word{}{}.", num.plural(pairs, "comparison"), str(len(fell)),
               ": " + ", ".join(parts) if parts else "", f"; {open_} stayed undecided" if open_ else "")  # fmt: skip
    if fell.empty:
        return text
    row = fell.sort_values("look", kind="stable").iloc[-1]
    return join([text, say("The last to fall: {}, {}.", Bold(str(row["setup"])), str(row["verdict"]))])


def last_looks(source: Source, setting: str) -> dict[str, Any]:
    """The last look at each pair as a table, by rank: the numbers of the comparisons."""
    pairs = stats.distinct(source.part(source.pairs, setting))
    pairs = pairs[pairs["look"].notna()]
    heads = ["Setup", "Word", "Look", "n", "Ratio", "Interval at that look", "P", "P after correction"]
    rows = [
        [str(row["setup"]), str(row["verdict"]), str(int(row["look"]) + 1), num.whole(row["pairs"]), num.times(row["ratio"]),
         num.interval(row["ratio_low"], row["ratio_high"], num.times), num.probability(row["p"]), num.probability(row["p_holm"])]
        for _, row in pairs.head(MOST_ROWS).iterrows()
    ]  # fmt: skip
    return {"kind": "plain", "heads": heads, "rows": rows, "text": {1}}


def round_table(rounds: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What each round was for and what it took."""
    heads = ["Round", "Why", "Look", "New runs", "Time", "Undecided after it"]
    rows = [
        [str(int(one["round"]) + 1), str(one["why"]), num.MISSING if one.get("look") is None else str(int(one["look"]) + 1),
         f"{int(one['runs']):,}", took(float(one["seconds"])), num.whole(one.get("open"))]
        for one in rounds
    ]  # fmt: skip
    return {"kind": "plain", "heads": heads, "rows": rows, "text": {1}}


def rate_table(source: Source, setting: str) -> dict[str, Any] | None:
    """Each arm's learning rates and what choosing cost, where arms differ in it; None where one line says it."""
    profile = source.part(source.profile, setting)
    if profile.groupby("arm")[["lr", "n"]].agg(tuple).drop_duplicates().shape[0] <= 1:
        return None
    by_arm, rows = dict(list(profile.groupby("arm"))), []
    for _, row in source.part(source.board, setting).head(MOST_ROWS).iterrows():
        part = by_arm.get(row["arm"])
        if part is None:
            continue
        most = int(part["n"].max())
        kept = [num.rate(lr) for lr in part.loc[part["n"] == most, "lr"]]
        gone = [
            f"{num.rate(lr)} (n = {n})" for lr, n in part.loc[part["n"] < most, ["lr", "n"]].itertuples(index=False)
        ]
        spent = int(part.loc[~part["chosen"], "n"].sum())
        rows.append(
            [str(row["setup"]), ", ".join(kept), ", ".join(gone) or num.MISSING, num.rate(row["lr"]), f"{spent:,}"]
        )
    heads = ["Setup", "Rates at all its seeds", "Dropped after", "Chosen", "Runs at other rates"]
    return {"kind": "plain", "heads": heads, "rows": rows, "text": {1, 2}}
