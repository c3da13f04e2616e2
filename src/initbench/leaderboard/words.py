"""What the leaderboard says in sentences: the answer, what to know before trusting it, how it was made."""

from __future__ import annotations

from collections import Counter

import numpy as np

from initbench.leaderboard.board import GROUPS, Board
from initbench.leaderboard.judged import EDGE
from initbench.leaderboard.shared import Shared
from initbench.report import numbers as num
from initbench.report.words import Bold, Code, Notice, Sentence, join, listed, say
from initbench.stats.family import seeds_to_call
from initbench.stats.rates import GATE

CHANCE = (
    "These words are corrected within each setting, where the chance of any wrong one is at most 5%; in all settings together a few may be "
    "wrong. Quote the words over all settings."
)
HOW = {
    "places": [
        "Each row is an initializer, by the geometric mean over settings of its ratio of steps to the baseline's; the bars are 95% "
        "intervals. The grey band is 1/1.1 to 1.1. Right, the ranks that the bootstrap gives it: where bars overlap, the order is noise.",
        "Groups: “could be the best” are all that are not slower than the first by the test of the report over all settings, but for those "
        "that only rates at an end of the grid keep from being called so; the others "
        "are faster than the baseline, slower, or neither: equivalent to it (shown to be within 10%), or undecided. Words are corrected for "
        "the number of comparisons, the bars are not: a bar may miss 1x and the word be undecided.",
        "By setting: in how many it is faster, equivalent, slower, undecided. Reached: settings where at least 80% of the seeds arrive. Never: runs at the chosen rates that do not arrive, which count as "
        "the budget. lr at an end: settings in which it arrives and the best rate is the first or last of the list. Steps: "
        "geometric mean over settings. x FLOPs: operations to the target over the baseline's, at the rate that is best over all seeds, with "
        "those of the start as far as they are counted (passes of the net; no decompositions, clusters or draws); –: none is counted, since "
        "it is at the target before the first step.",
    ],
    "profile": [
        "Height at 1x: the share of settings in which it is the fastest; at 2x: in which it takes at most twice the steps of the fastest "
        "there. Bands: 95% of the bootstrap draws, pointwise. It depends on who else is on the board: without the best one, others are "
        "nearer to the best.",
    ],
    "heat": [
        "Ratio of steps to the baseline's: blue is faster, orange slower, in steps of a fifth up to 8x. A dot: undecided, the difference "
        "may be noise. =: equivalent within 10%. ×: fewer than 80% of its seeds arrive. ✓: it arrives and the baseline does not; "
        "either in grey: undecided. White: it does not apply. " + CHANCE,
    ],
    "shared": [
        "One weight for all hidden layers (sharing=all) beside a weight for each, same seeds and rates: steps as geometric means over "
        "settings, never arrived = the budget. Verdicts by the rules of the report over all settings, corrected over this table.",
    ],
    "cost": [
        "Steps of all runs at all rates; FLOPs count multiplications and additions of training steps and starts, not evaluations. Stored "
        "bytes are parameters and the optimizer's state of one net, from the smallest setting to the largest.",
    ],
}  # fmt: skip
AS_TEXT = (
    "Ratio of steps to the baseline's; ·: undecided, the difference may be noise; =: equivalent within 10%. 8/10: fewer than 80% of the "
    "seeds arrive, of it or of the baseline, so there is no ratio; 8 of its 10 do. –: it does not apply. " + CHANCE
)
METHODS = (
    "T, the steps to target, is the step of the first evaluation at or past the target (0 counts as 1); a run without T within the budget, or that "
    "diverged before it, never arrived and counts as the budget. In a setting the learning rate is chosen on one half of the seeds and "
    "judged on the other, both ways, over 20 random halvings (theta: the mean of log T).",
    "The score is the mean of theta over settings. Settings weigh the same: they are a full design, so that every data set, depth and "
    "activation counts equally often, each is one question that a reader may have, and a log ratio has no unit, so that settings that "
    "take long do not decide. Over settings an average may hide that an initializer is fast in some and slow in others: see “In which "
    "settings?”.",
    "Intervals and rank intervals: 2,000 bootstrap draws of the seeds within each setting, the same for all initializers, settings apart "
    "from one another, through the whole procedure with the choice of the rate. For ranks, "
    "the draws are stretched to the width of the intervals. Rank intervals are descriptive; no verdict is made of them.",
    "Verdicts by setting are those of every report of this package: ratio where both arrive in 80% of their seeds, exact McNemar "
    "where one does, Holm's correction over the setting, equivalent within 10%, nothing faster than an initializer whose best rate lies at "
    "an end of the grid, none that one evaluation earlier would change. Over settings the same rules are asked of the mean of the log "
    "ratios, with t quantiles for the seeds of one setting and Holm's correction over all initializers; where counts of arrivals decide, the "
    "steps must not say the opposite, and nothing is called faster than an initializer whose best rate lies at an end of the grid in most settings.",
)  # fmt: skip


def answer(board: Board) -> Sentence:
    """Who is first, how many could be, and how many differ from the baseline."""
    first, baseline = board.order[0], board.grid.baseline
    row, n = board.against_baseline.loc[first], len(board.order)
    groups = Counter(board.group(name) for name in board.order)
    words = board.against_baseline["verdict"].value_counts()
    lead = say(
        "Of {} in {}, {} is first: {} {} the steps of {}.", num.plural(n, "initializer"),
        num.plural(len(board.grid.settings), "setting"), Bold(first), num.times(row["ratio"]),
        num.interval(row["low"], row["high"], num.times), Bold(baseline),
    )  # fmt: skip
    if first == baseline:
        lead = say("Of {} in {}, {}, the baseline, is first.", num.plural(n, "initializer"),
                   num.plural(len(board.grid.settings), "setting"), Bold(first))  # fmt: skip
    others = [name for name in board.order if board.group(name) == GROUPS[0] and name != first]
    like = say("It is faster than every other one.")
    if board.unsearched:
        like = say(
            "It is faster than all others but {}, whose best rate lies at an end of the grid in most settings.",
            listed(board.unsearched, 6),
        )
    if others:
        like = say("It cannot be told from {}: {}.", num.plural(len(others), "other"), listed(others, 6))
    tail = say(
        "Against {}: {} faster, {} equivalent, {} slower, {} undecided.", baseline,
        *(str(int(words.get(word, 0))) for word in ("faster", "equivalent", "slower", "undecided")),
    )  # fmt: skip
    return join([lead, like if groups else (), tail])


def noise(board: Board) -> Sentence:
    """How many places are one and the same."""
    n = len(board.order)
    ends = board.standing.rank_interval
    width = int(np.median(ends[:, 1] - ends[:, 0])) + 1
    return say(
        "{} of {} could be the best, {} are equivalent to {} or undecided; the 95% interval of a rank spans {} (median).",
        str(board.sizes[GROUPS[0]]), str(n), str(board.sizes[GROUPS[2]]),
        Bold(board.grid.baseline), num.plural(width, "place"),
    )  # fmt: skip


def notices(board: Board) -> list[Notice]:
    """What to know before trusting the board."""
    out, settings = [], board.grid.settings
    family, n = len(board.judged.board["setup"].unique()) - 1, board.standing.seeds
    needed = seeds_to_call(max(family, 1))
    if needed > n:
        text = (
            "With {} comparisons in a setting, {} seeds cannot call {}/{} against 0/{} there ({} would): such cells are undecided. Over all "
            "settings they are called."
        )
        out.append(
            Notice(
                "Never and always may be undecided in one setting", say(text, *map(str, (family, n, n, n, n, needed)))
            )
        )
    base = board.judged.board[board.judged.board["setup"] == board.grid.baseline]
    missing = [str(row["setting"]) for _, row in base.iterrows() if row["share"] < GATE]
    if missing:
        text = "There no ratio is judged, and its runs count as the budget: {}."
        out.append(
            Notice(
                f"{board.grid.baseline} rarely arrives in {num.plural(len(missing), 'setting')}",
                say(text, listed(missing, 6)),
            )
        )
    trained = board.at_start
    if trained:
        text = "Its start alone is at the target there, which counts as 1 step, so that its ratio says little: {}."
        told = [f"{name}: {num.plural(count, 'setting')}" for name, count in trained.items()]
        out.append(Notice("At the target before the first step", say(text, listed(told, 6))))
    edge = [name for name in board.order if board.edges[name] > EDGE]
    if edge:
        text = "Nothing is called faster than {} over all settings: in most of them the best rate lies at an end of the grid."
        out.append(Notice("Rates at the end of the grid", say(text, listed(edge, 6))))
    budget = sorted({one.steps for one in settings})
    text = "What never arrives counts as the budget ({} steps): with a larger one its ratio would be larger."
    out.append(Notice("Ratios depend on the budget", say(text, ", ".join(map(str, budget)))))
    own = [entry.name for entry in board.entries if entry.own]
    if own:
        text = "Their numbers are believed, not verified: {} trains {} again."
        out.append(
            Notice(
                f"{num.plural(len(own), 'entry', 'entries')} by other people",
                say(text, Code(f"--check {own[0]}"), listed(own, 6)),
            )
        )
    return out


def sharing_sentence(shared: Shared) -> Sentence:
    """How many pairs change their order with sharing, and how many surely."""
    table, k = shared.table, len(shared.names)
    words = table["verdict"].value_counts()
    pairs = k * (k - 1) // 2
    lead = say(
        "Of {} trained with one shared weight, {} faster so, {} slower, {} equivalent, {} undecided.",
        num.plural(k, "initializer"), *(str(int(words.get(word, 0))) for word in ("faster", "slower", "equivalent", "undecided")),
    )  # fmt: skip
    turned = [f"{a} before {b}" for a, b in shared.turned]
    order = say("Of {} pairs, {} come in another order than without sharing, {} of them beyond noise{}.", str(pairs), str(shared.crossed),
                str(len(turned)), f" (alone: {listed(turned, 4)})" if turned else "")  # fmt: skip
    return join([lead, order])


def ran(board: Board) -> list[tuple[str, str]]:
    """The grid in words."""
    grid = board.grid
    targets = {
        one.study: f"{num.target_words(*one.target)} within {one.steps:,} steps ({one.study})" for one in grid.settings
    }
    rates = sorted({lr for one in grid.settings for lr in one.lrs})
    left = [f"{name} ({why})" for name, why in grid.left_out.items()]
    return [
        ("Settings", "; ".join(one.label for one in grid.settings)),
        ("Targets and budgets", "; ".join(targets.values())),
        ("Learning rates", ", ".join(num.rate(lr) for lr in rates)),
        ("Seeds", ", ".join(map(str, grid.settings[0].seeds))),
        ("Baseline", grid.baseline),
        ("Commands", "; ".join(f"python -m initbench {' '.join(lines)}" for lines in grid.studies.values())),
        *([("Left out", "; ".join(left))] if left else []),
    ]


def facts(board: Board) -> list[tuple[str, str]]:
    """Versions and machines of the entries, each with how many were made so; and the grid's hash."""
    versions = Counter(_pairs(entry.content["made"]["versions"]) for entry in board.entries)
    machines = Counter(_pairs(entry.content["made"]["machine"]) for entry in board.entries)
    return [
        (
            "Versions",
            "; ".join(f"{text} ({num.plural(k, 'entry', 'entries')})" for text, k in sorted(versions.items())),
        ),
        (
            "Machines",
            "; ".join(f"{text} ({num.plural(k, 'entry', 'entries')})" for text, k in sorted(machines.items())),
        ),
        ("Hash of the grid", board.grid.digest),
        ("Median standard error of a log ratio", f"{np.median([_error(board, name) for name in board.order]):.3f}"),
    ]


def _error(board: Board, name: str) -> float:
    row = board.against_baseline.loc[name]
    return float(np.log(row["high"] / row["low"])) / 2 / 2.262 if row["low"] < row["high"] else 0.0


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(values.items()))
