"""Blocks that rest on the verdicts: what would decide, what each factor costs, one against one, would it hold elsewhere."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report import tables
from initbench.report.block import Block, Draw, Item, n_of, settings_of
from initbench.report.commands import command_of
from initbench.report.figures import judged
from initbench.report.source import Source
from initbench.report.words import Bold, Code, Sentence, html, join, say
from initbench.stats import remedy

PAIRS = 20
EFFECTS = 24  # rows of a figure
FEWEST_SETTINGS = 5
NAMES = {
    "init.name": "init", "sharing.name": "sharing", "model.depth": "depth", "model.width": "width",
    "model.activation": "activation", "model.parametrization": "parametrization", "data.name": "data",
    "optim.name": "optimizer", "optim.batch_size": "batch size",
}  # fmt: skip


def decide(source: Source, draw: Draw) -> Block:
    block = Block("decide", "What would decide", "What would decide the rest?", [
        "Each row is a setup whose comparison with the baseline is undecided. Seeds: how many in total would probably (80%) "
        "decide it, if the estimates do not change; seeds already trained are not trained again. An interval is too wide if it "
        "contains both 1x and differences above 10%.",
        "decide=true goes on by itself until every comparison has a word or a limit is reached, and counts how often it looks: "
        "typing more seeds by hand and reading the words again makes wrong ones more likely. Either command trains only what "
        "is missing.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        open_ = stats.distinct(source.part(source.pairs, setting))
        open_ = open_[(open_["verdict"] == "undecided") & (open_["ratio_of"] == "steps")]
        if open_.empty:
            continue
        heads = ["Setup", "Ratio", "95% interval", "P after Holm", "Why undecided", "Seeds in total", "Try"]
        shown = open_.assign(_key=open_["seeds_needed"].fillna(10**6)).sort_values("_key", kind="stable").head(PAIRS)
        rows = [
            [str(row["setup"]), num.times(row["ratio"]), num.interval(row["ratio_low"], row["ratio_high"], num.times),
             num.probability(row["p_holm"]), str(row["reason"]), num.whole(row["seeds_needed"]),
             " or ".join(remedy.tries(str(row["decide"]), source.decide)) or num.MISSING]
            for _, row in shown.iterrows()
        ]  # fmt: skip
        sentence = about_decide(source, open_, heading is None)
        left = f"; {len(open_) - len(shown):,} more in comparisons.csv" if len(open_) > len(shown) else ""
        table = {"kind": "plain", "heads": heads, "rows": rows, "text": {4, 6}}
        block.items.append(Item(html(sentence), table=table, n=n_of(board) + left, setting=heading))
    if len(source.settings) > 1 and block.items:
        pairs = stats.distinct(source.pairs)
        open_ = pairs[(pairs["verdict"] == "undecided") & (pairs["ratio_of"] == "steps")]
        block.items.insert(0, Item(html(about_decide(source, open_))))
    return block


def about_decide(source: Source, open_: pd.DataFrame, alone: bool = True) -> Sentence:
    """How many are open and what would decide them; `alone`: with commands, which are of all settings."""
    seeds = sorted({int(seed) for seed in source.runs["seed"]})
    needed = open_["seeds_needed"].dropna().astype(int)
    parts = [say("{} undecided.", num.plural(len(open_), "comparison") + (" is" if len(open_) == 1 else " are"))]
    if source.decide is None and alone:
        goes_on = Code(command_of(source, {"decide": "true"}))
        parts.append(say("This goes on until each has a word or a limit is reached: {}.", goes_on))
    if len(needed) and source.decide is None:
        first = stats.more_seeds(seeds, int(needed.min()))
        typed = say(": {}", command_with(source, first)) if alone else ()
        parts.append(say("{} seeds in total would probably decide the nearest{}.", num.whole(needed.min()), typed))
        half = int(np.quantile(needed, 0.5, method="inverted_cdf"))
        if half > needed.min():
            parts.append(say("{} would probably decide half of them.", num.whole(half)))
    hopeless = int((open_["p_holm"].notna() & (open_["decide"] == "")).sum())
    if hopeless:
        parts.append(say("{} would need more than 1,000.", str(hopeless)))
    return join(parts)


def command_with(source: Source, override: str) -> str:
    """The study's command with one override put in or replaced, as code."""
    key, _, value = shlex.split(override)[0].partition("=")
    return Code(command_of(source, {key: value}))


def factors(source: Source, draw: Draw) -> Block:
    block = Block("factors", "Factors", "What does each factor cost?", [
        "A bold row compares a level of a factor with the reference level, averaged over all matched pairs of setups that "
        "differ only in that factor; a thin row is the same within one level of another factor. Right of 1x takes more steps.",
        "Only pairs in which both arrive in at least 80% of their seeds count; where fewer than half of the pairs do, mean "
        "ranks are compared instead and never arrived counts as last. Intervals are 95% over seeds, for these levels.",
    ])  # fmt: skip
    found = source.effects
    if found.empty:
        return block
    main = found[found["given"] == ""]
    order = main.assign(_size=_size(main)).sort_values("_size", ascending=False, kind="stable")
    rows = []
    for _, row in order.iterrows():
        rows.append(row)
        within = found[(found["factor"] == row["factor"]) & (found["level"] == row["level"]) & (found["given"] != "")]
        within = within[within["scale"] == row["scale"]]
        clear = within[_clear(within)]  # differs from the other levels for sure
        rows += [other for _, other in clear.iterrows()]
    table = pd.DataFrame(rows).reset_index(drop=True)
    for scale in sorted(set(table["scale"]), reverse=True):  # ratios of steps, then the ranks of what has none
        part = table[table["scale"] == scale].head(EFFECTS).reset_index(drop=True)
        words = {str(i): _words(row) for i, row in part.iterrows()}
        sentence = about_effects(table[table["scale"] == scale])
        references = {NAMES.get(row["factor"], row["factor"]): row["reference"] for _, row in part.iterrows()}
        against = ", ".join(f"{name}={level}" for name, level in references.items())
        figure = draw.svg(
            judged.effects(part, words, against), f"effects-{scale}", source.settings[0], "Effects of factors", sentence
        )
        left = len(table[table["scale"] == scale]) - len(part)
        rest = f"; {left} more rows: effects.csv" if left else ""
        few, many = int(part["cells"].min()), int(part["cells"].max())
        cells = f"{num.plural(many, 'matched pair')} per row" if few == many else f"{few}–{many} matched pairs per row"
        block.items.append(Item(html(sentence), figure, f"n = {int(part['seeds'].min())} seeds, {cells}{rest}"))
    return block


def _size(table: pd.DataFrame) -> pd.Series:
    effect = table["effect"].astype(float)
    return pd.Series(
        np.where(table["scale"] == "steps", np.abs(np.log(effect.clip(lower=1e-9))), effect.abs()), table.index
    )


def _clear(table: pd.DataFrame) -> pd.Series:
    """Interactions whose interval leaves no effect out."""
    none = np.where(table["scale"] == "steps", 1.0, 0.0)
    return (table["interaction_low"] > none) | (table["interaction_high"] < none)


def _words(row: pd.Series) -> str:
    name = NAMES.get(row["factor"], row["factor"])
    if row["given"]:
        factor, _, level = str(row["given"]).partition("=")
        return f"under {NAMES.get(factor, factor)}={level}"
    return f"{name}={row['level']}"


def about_effects(table: pd.DataFrame) -> Sentence:
    """The largest main effects, and where they differ: "sharing=all costs 1.9x [1.6, 2.2], but 1.1x under orthogonal"."""
    main = table[table["given"] == ""]
    parts = []
    for _, row in main.head(2).iterrows():
        name = Bold(f"{NAMES.get(row['factor'], row['factor'])}={row['level']}")
        by_rank = row["scale"] == "rank"
        show = (lambda v: f"{v:+.2f}") if by_rank else num.times
        what = f"{show(row['effect'])} {num.interval(row['low'], row['high'], show)}"
        text = "{} moves the mean rank by {} against {} on average over {}" if by_rank else (
            "{} takes {} the steps of {} on average over {}")  # fmt: skip
        sentence = say(text, name, what, row["reference"], num.plural(int(row["cells"]), "matched pair"))
        within = table[(table["factor"] == row["factor"]) & (table["level"] == row["level"]) & (table["given"] != "")]
        if len(within):
            far = within.loc[(_size(within) - float(_size(main.loc[[row.name]]).iloc[0])).abs().idxmax()]
            sentence = join([sentence, say("but {} {}.", show(far["effect"]), _words(far))], ", ")
        else:
            sentence = (*sentence, ".")
        parts.append(sentence)
    return join(parts)


def against(source: Source, draw: Draw) -> Block:
    block = Block("against", "One against one", "One against one: how often is each faster?", [
        "The share of seeds in which a setup arrives before the baseline, with its 95% interval; arrived beats never, and "
        "never against never counts half. This is how often it is faster; the first figure shows by how much.",
        "Each seed is judged at rates chosen on other seeds.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        pairs = stats.distinct(source.part(source.pairs, setting))
        pairs = pairs[pairs["p_faster"].notna()]
        if pairs.empty:
            continue
        shown = pairs.head(PAIRS)
        ties = int(((pairs["reached_pairs"] == 0) & (pairs["reached_pairs_baseline"] == 0)).sum())
        first = shown.iloc[0]
        sentence = say(
            "{} arrives before {} in {} of the seeds, {}{}.", Bold(first["setup"]), first["baseline"],
            num.percent(round(first["p_faster"], 3)),
            num.interval(first["p_faster_low"], first["p_faster_high"], lambda v: f"{v:.2f}"),
            f"; in {ties} pairs neither side arrives" if ties else "",
        )  # fmt: skip
        figure = draw.svg(judged.p_faster(shown), "against", setting, "P(faster)", sentence)
        rest = f"; {len(pairs) - len(shown):,} more in comparisons.csv" if len(pairs) > len(shown) else ""
        block.items.append(Item(html(sentence), figure, n_of(board) + rest, heading))
    return block


def elsewhere(source: Source, draw: Draw) -> Block:
    block = Block("elsewhere", "Elsewhere", "Would it hold elsewhere?", [
        "Profile: the share of settings in which a setup takes at most x times the steps of the best setup there. A curve "
        "that stops short of 1 does not arrive in the other settings. It depends on which setups are compared: without "
        "the best one, the order can change.",
        "Table: rank, median steps, arrived seeds and verdict at other targets and at nine tenths of the budget, learning "
        "rates chosen anew; ≠ marks a verdict that changes. These are the same runs: this checks the choice of target and is not "
        "new evidence.",
    ])  # fmt: skip
    if len(source.settings) >= FEWEST_SETTINGS:
        table = stats.performance_profile(source.board)
        order = table.groupby("setup", sort=False)["share"].mean().sort_values(ascending=False, kind="stable")
        best = table[table["setup"] == order.index[0]].iloc[0]
        sentence = say(
            "{} is the best in {} of {} settings.", Bold(best["setup"]), str(best["within"]), str(best["settings"])
        )
        figure = draw.svg(
            judged.profile(table, list(order.index)), "profile", source.settings[0], "Performance profile", sentence
        )
        left = len(order) - judged.CURVES
        rest = f"; {left} setups not drawn" if left > 0 else ""
        block.items.append(Item(html(sentence), figure, f"{num.plural(int(best['settings']), 'setting')}{rest}"))
    for setting, board, heading in settings_of(source):
        if not source.arrives(setting) or source.history.empty:
            continue
        heads, rows, said = tables.target_table(source, setting)
        left = len(board) - len(rows)
        rest = f"; the first {len(rows)} shown" if left > 0 else ""
        table_ = {"kind": "plain", "heads": heads, "rows": rows}
        block.items.append(Item(html(said), table=table_, n=n_of(board) + rest, setting=heading))
    return block
