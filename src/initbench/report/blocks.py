"""The blocks of the page, in order: a question, a computed sentence, a figure or a table, how to read it, and n.

Those that rest on verdicts are in judged.py; BLOCKS at the end is the order of the page.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import judged, looked, overview, pairs, sentences, tables, why
from initbench.report import numbers as num
from initbench.report.block import Block, Draw, Item, drawn_settings, in_table, n_of, not_drawn, settings_of, thinned
from initbench.report.figures import forest, steps, training
from initbench.report.figures.common import picked
from initbench.report.source import Source
from initbench.report.words import html, say

LAYER_PANELS = 16


def blocks(source: Source) -> tuple[list[Block], Draw]:
    """All blocks that have something to show, and what was drawn for them."""
    draw = Draw(source)
    shown = [make(source, draw) for make in BLOCKS]
    told = len(drawn_settings(source))
    left = len(source.settings) - told
    for block in shown:
        if left > 0 and len(block.items) >= told:
            block.left_out = f"{num.plural(left, 'more setting')}: in the table of all arms and in leaderboard.csv."
    return [block for block in shown if block.items], draw


def fastest(source: Source, draw: Draw) -> Block:
    block = Block("fastest", "Fastest", "Which setup is fastest, and how sure is that?", [
        "Each row is a setup at its chosen learning rate. The dot is its steps to target divided by the baseline's, "
        "averaged (geometrically) over seeds that both ran; the bar is the 95% interval. Left of 1x takes fewer steps.",
        "The grey band is 1/1.1 to 1.1. An interval that crosses it does not prove equality, and the first of a "
        "ranking of many looks better than it is.",
        "A setup that arrived in fewer than 80% of its seeds has no dot: ▷ says how many arrived. An arrow at the "
        "lr means it lies at the edge of the grid. The word on the right is the verdict (see Methods).",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        sentence = sentences.about_ratios(board)
        figure = None
        if board["ratio"].notna().any() and len(board) > 1:
            title = f"Forest: ratio to {board['baseline'].iloc[0]}"
            figure = draw.svg(forest.forest(board), "forest", setting, title, sentence)
        item = Item(html(sentence), figure, n_of(board) + thinned(board), heading)
        if source.arrives(setting):
            chosen = source.part(source.chosen, setting)
            dots = forest.dots(board, chosen, source.tau(setting))
            summary = "Every run: one dot per seed; runs that never arrived are counted at the right edge"
            item.more = summary, draw.svg(dots, "dots", setting, summary, sentence)
        block.items.append(item)
    return block


def sharing(source: Source, draw: Draw) -> Block:
    block = Block("sharing", "Sharing", "Which initializer with which sharing?", [
        "Each cell is a setup; the number is its mean steps divided by those of the best cell (1x). Rows and columns "
        "are sorted by their means, best first.",
        "Hatched: arrived in fewer than 80% of the seeds; the cell shows the count. Blank: not run. Each mean is over the setup's "
        "own seeds; where setups have unequal seeds, the ratios of the first figure, paired by seed, are the ones to trust.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        board = source.part(source.board, setting)  # every name has its cell
        sentence = sentences.about_sharing(board)
        if board["init"].nunique() < 2 and board["sharing"].nunique() < 2:
            continue
        figure = draw.svg(forest.sharing_map(board), "map", setting, "Initializer by sharing", sentence)
        block.items.append(Item(html(sentence), figure, n_of(board), heading))
    return block


def arrivals(source: Source, draw: Draw) -> Block:
    block = Block("arrivals", "Arrivals", "When do they arrive?", [
        "The share of a setup's seeds that have reached the target by each step. Runs that never arrive stay in the "
        "denominator: a curve that stops short of 1 ends with × and the count.",
        "The table below the curves has the same axis. d: diverged seeds, f: failed seeds. A curve rises only at "
        "evaluations: times are known to one evaluation.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        if not source.arrives(setting):
            continue
        curves = source.part(source.curves, setting)
        sentence = sentences.about_arrivals(board, curves)
        figure = steps.trained(board, curves, source.tau(setting))
        svg = draw.svg(figure, "trained", setting, "Share of seeds arrived by step", sentence)
        grey = len(board) - len(picked(board))
        rest = f"; {grey:,} setups grey" if grey else ""
        block.items.append(Item(html(sentence), svg, n_of(board) + rest, heading))
    return block


def fair_rates(source: Source, draw: Draw) -> Block:
    block = Block("rates", "Learning rates", "Was the learning rate fair?", [
        "A panel per setup, by rank. Dots are seeds, the line joins medians over all seeds and breaks where fewer than "
        "half arrived. Red numbers above the dashed budget count the seeds that never arrived. Shaded: the rate chosen on all seeds; "
        "orange bars: how often each rate was chosen on one half of the seeds, to be judged on the other.",
        "The rate is chosen by the mean over seeds of log steps, never arrived counted as the budget. If the lowest "
        "point is at an end of the grid, the true best may lie outside.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        profile = source.part(source.profile, setting)
        if not source.arrives(setting) or profile.empty:
            continue
        sentence = sentences.about_rates(board, profile)
        svg = None
        if len(board) <= steps.PANELS or profile["lr"].nunique() > 1:  # a strip of many arms at one rate shows nothing
            part = source.part(source.runs, setting)
            figure = steps.rates(board, profile, part, source.tau(setting), _halves(source, board))
            svg = draw.svg(figure, "rates", setting, "Steps to target by learning rate", sentence)
        block.items.append(
            Item(
                html(sentence),
                svg,
                n_of(board) + " and learning rate; red: seeds that never arrived",
                heading,
                looked.rate_table(source, setting),
            )
        )
    return block


def _halves(source: Source, board: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """arm -> (rates, share of halvings and seeds judged at each): what cross-fitting chose."""
    arms = source.judged.arms
    out = {}
    for arm in board["arm"]:
        seeds = arms.seeds(arm)
        if len(seeds):
            panel, fit = arms.on(arm, seeds)
            out[str(arm)] = panel.lrs, np.bincount(fit.rates.ravel(), minlength=len(panel.lrs)) / fit.rates.size
    return out


def all_arms(source: Source, draw: Draw) -> Block:
    how = [f"{c.head.title}: {c.head.meaning}." for c in tables.leaderboard_columns(source) if c.head.meaning]
    block = Block("all", "All arms", "All arms", [
        "Ranked by mean log steps among setups that arrived in at least 80% of their seeds; then by share arrived; "
        "then by final train loss. Click a column header to sort, again to reverse; never and – stay last.",
        " ".join([*how, tables.about_links(source)]).strip(),
        "Tick arms to see them side by side, and out in the figures.",
    ])  # fmt: skip
    columns = tables.leaderboard_columns(source)
    shown = in_table(source.board)
    table = {"kind": "leaderboard", "heads": [c.head for c in columns], "rows": tables.rows(shown, columns)}
    text = "{}; leaderboard.csv has every column."
    if len(shown) < len(source.board):
        text = f"{{}}, the first {len(shown):,} shown; leaderboard.csv has all, and every column."
    block.items.append(Item(html(say(text, num.plural(len(source.board), "arm"))), table=table, n=n_of(source.board)))
    return block


def loss_curves(source: Source, draw: Draw) -> Block:
    block = Block("losses", "Losses", "How did the losses go?", [
        "Solid: median train loss of the seeds, with their 10–90% band; dashed: median validation loss. The band is "
        "the spread of seeds, not the error of the median.",
        "A diverged seed counts as infinite, so it pushes the band up; × marks the last median that is finite.",
    ])  # fmt: skip
    runs = source.chosen[source.chosen["status"] != "failed"]
    for setting, board, heading in settings_of(source):
        arms = [arm for arm in picked(board) if arm in set(runs["arm"])]
        part = runs[runs["arm"].isin(arms)]
        train = stats.loss_bands(source.history, part, "loss/train") if arms else pd.DataFrame()
        if train.empty or not np.isfinite(train["low"]).any():
            continue
        val = stats.loss_bands(source.history, part, "loss/val")
        sentence = sentences.about_losses(board)
        figure = training.losses(board[board["arm"].isin(arms)], train, val)
        svg = draw.svg(figure, "losses", setting, "Loss curves", sentence)
        block.items.append(Item(html(sentence), svg, n_of(board) + not_drawn(len(board) - len(arms)), heading))
    return block


def gradients(source: Source, draw: Draw) -> Block:
    block = Block("gradients", "Gradients", "Why? What reaches each layer", [
        "Norm of the gradient at each layer (rows, 0 = first) and measured step (columns, not evenly spaced), median "
        "over seeds at the chosen learning rate, one colour scale for all panels. It is that of the mean loss on the probe, "
        "the first 256 training samples, not on the training batch.",
        "Layers beside an orange bar share one weight: shown is the gradient of each layer's own use of it, where that "
        "was measured. White: not measured, or diverged in half of the seeds.",
    ])  # fmt: skip
    runs = source.chosen[source.chosen["status"] != "failed"]
    for setting, board, heading in settings_of(source):
        arms = [arm for arm in picked(board, LAYER_PANELS) if arm in set(runs["arm"])]
        maps = gradient_maps(source, runs[runs["arm"].isin(arms)])
        arms = [arm for arm in arms if arm in set(maps["arm"])]
        if not arms:
            continue
        sentence = sentences.about_layers(board, maps)
        figure = training.layers(arms, draw.names, maps, tied_layers(source))
        svg = draw.svg(figure, "layers", setting, "Gradient norm by layer and step", sentence)
        block.items.append(Item(html(sentence), svg, n_of(board) + not_drawn(len(board) - len(arms)), heading))
    return block


def gradient_maps(source: Source, runs: pd.DataFrame) -> pd.DataFrame:
    """`use_grad_norm` where a layer shares its weight, `grad_norm` (of the slot's first layer) elsewhere."""
    maps = [stats.layer_maps(source.history, runs, name) for name in ("use_grad_norm", "grad_norm")]
    return pd.concat(maps, ignore_index=True).drop_duplicates(["arm", "layer", "step"])


def tied_layers(source: Source) -> dict[str, list[int]]:
    """arm -> layers whose weight another layer uses too."""
    return {
        str(arm["label"]): [int(layer["layer"]) for layer in arm.get("layers") or [] if int(layer.get("uses") or 1) > 1]
        for arm in source.arms
    }


def parameters(source: Source, draw: Draw) -> Block:
    block = Block("parameters", "Parameters", "How many parameters?", [
        "Stored: kept in memory and trained, a shared weight once. Used: what the layers compute with, a shared weight "
        "at each use. FLOPs do not fall with sharing: each use is still computed.",
    ])  # fmt: skip
    for setting, board, heading in settings_of(source):
        rows, board = tables.parameter_rows(source, setting), source.part(source.board, setting)
        if rows:
            table = {"kind": "parameters", "rows": rows[:40], "left": len(rows) - len(rows[:40])}
            sentence = html(sentences.about_parameters(rows))
            block.items.append(Item(sentence, table=table, n=num.plural(len(board), "setup"), setting=heading))
    return block


# The order of the page; one more block is one more line here.
BLOCKS: tuple[Callable[[Source, Draw], Block], ...] = (
    overview.settings,
    fastest,
    pairs.every_pair,
    looked.looks,
    judged.decide,
    sharing,
    judged.factors,
    arrivals,
    fair_rates,
    all_arms,
    loss_curves,
    gradients,
    why.why,
    parameters,
    judged.elsewhere,
    pairs.over_settings,
    judged.against,
)
