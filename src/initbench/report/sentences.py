"""One computed sentence per question: counts, medians, ratios, and the words that the verdicts have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.words import Bold, Code, Sentence, join, listed, say
from initbench.stats import remedy

WORDS = ("faster", "equivalent", "slower", "undecided", stats.NOT_JUDGED)


def word_counts(pairs: pd.DataFrame) -> dict[str, int]:
    """How many setups have each verdict against their baseline, the same nets once: the one count of every sentence.

    >>> word_counts(pd.DataFrame({"verdict": ["slower", "baseline", "slower", "slower"], "same_as": ["", "", "", "a"]}))
    {'slower': 2}
    """
    counts = stats.distinct(pairs)["verdict"].value_counts()
    return {word: int(counts[word]) for word in WORDS if counts.get(word, 0)}


def about_ratios(board: pd.DataFrame) -> Sentence:
    """How many setups have which verdict, and why some intervals beside 1x have none."""
    others = stats.distinct(board[board["setup"] != board["baseline"]])
    base = str(board["baseline"].iloc[0])
    if others.empty:
        return say("{} is the only setup here: nothing to compare it with.", Bold(base))
    low, high = others["ratio_low"].astype(float), others["ratio_high"].astype(float)
    bare = int((others["ratio"].notna() & low.isna()).sum())
    closed = int(others["ratio"].isna().sum())
    by_loss = (board["ratio_of"] == "loss").any()
    apart = (high < 1) | (low > 1)
    if by_loss:
        parts = [
            f"{num.plural(int((high < 1).sum()), 'interval')} of the final train loss wholly below 1x, "
            f"{int((low > 1).sum())} wholly above, {int(((low <= 1) & (high >= 1)).sum())} containing it"
        ]
    else:
        parts = [", ".join(f"{count} {word}" for word, count in word_counts(others).items())]
        open_ = int((apart & (others["verdict"] == "undecided")).sum())
        if open_:
            parts.append(f"{open_} of the undecided with an interval beside 1x (why: see the table of all arms)")
    if bare:
        parts.append(f"{bare} without an interval (fewer than 3 pairs)")
    if closed:
        why = "a loss that is not finite" if by_loss else "fewer than 80% arrived"
        parts.append(f"{closed} without a ratio ({why})")
    return say("{} against {}: {}.", num.plural(len(others), "setup"), Bold(base), "; ".join(parts))


def about_pair(row: pd.Series, limits: Mapping[str, Any] | None = None) -> Sentence:
    """One comparison with its baseline, in one sentence; a row of `comparisons`. `limits`: see `remedy.tries`.

    >>> row = pd.Series({"setup": "a", "baseline": "b", "verdict": "slower", "reason": "", "decide": "", "ratio": 1.9,
    ...     "ratio_low": 1.7, "ratio_high": 2.2, "ratio_of": "steps", "test": "ratio", "pairs": 20, "reached_pairs": 20,
    ...     "reached_pairs_baseline": 20})
    >>> "".join(about_pair(row))
    'a is slower than b: 1.90x [1.70x, 2.20x] the steps, n=20.'
    """
    is_ = {"faster": "is faster than", "slower": "is slower than", "equivalent": "is equivalent to"}
    if num.is_missing(row["ratio"]):
        theirs = num.count(row["reached_baseline"], row["n_baseline"])
        what = f"{num.count(row['reached'], row['n'])} seeds arrive against {theirs}"
    else:
        of = "steps" if row["ratio_of"] == "steps" else "final train loss"
        span = num.interval(row["ratio_low"], row["ratio_high"], num.times)
        what = f"{num.times(row['ratio'])}{' ' + span if span else ''} the {of}, n={row['pairs']}"
    if not num.is_missing(row.get("look")):
        what += f", look {int(row['look']) + 1}"
    if row["verdict"] in is_:
        return say("{} {} {}: {}.", Bold(row["setup"]), is_[row["verdict"]], row["baseline"], what)
    said = say("{} against {} is undecided ({}): {}", Bold(row["setup"]), row["baseline"], row["reason"], what)
    return (*said, *tried(row["decide"], limits))


def tried(decide: str, limits: Mapping[str, Any] | None) -> Sentence:
    """What to type, as the end of a sentence.

    >>> "".join(tried("seeds=20", None))
    '; try decide=true or seeds=20.'
    """
    tries = remedy.tries(decide, limits)
    return (
        (*say("; try {}", Code(tries[0])), *say(" or {}." * len(tries[1:]) or ".", *map(Code, tries[1:])))
        if tries
        else (".",)
    )


def about_sharing(board: pd.DataFrame) -> Sentence:
    """What each sharing costs against `none` (or the best one), averaged over the initializers both arrive with."""
    by_loss = bool((board["ratio_of"] == "loss").any())
    value = "loss_train" if by_loss else "mean_steps"
    open_ = np.isfinite(board["loss_train"].astype(float)) if by_loss else board["share"] >= stats.GATE
    logs = pd.Series(np.log(board[value].astype(float).where(open_).clip(lower=1e-300)), index=board.index)
    table = logs.groupby([board["init"], board["sharing"]], sort=False).min().unstack()
    names = list(dict.fromkeys(board["sharing"]))
    if len(names) < 2:
        return say("Only one sharing scheme ({}): the initializers are compared above.", names[0])
    base = "none" if "none" in names else names[0]
    what = "final train loss" if by_loss else "steps"
    parts: list[Sentence] = []
    for name in names:
        both = (table[name] - table[base]).dropna()
        if name == base or both.empty:
            continue
        ratio = np.exp(both)
        span = ""
        if len(both) > 1:
            span = f", from {num.times(ratio.min())} ({ratio.idxmin()}) to {num.times(ratio.max())} ({ratio.idxmax()})"
        parts.append(
            say(
                "Sharing {} takes {} the {} of {} on average over {}{}.",
                Bold(name), num.times(float(np.exp(both.mean()))), what, base,
                num.plural(len(both), "initializer"), span,
            )
        )  # fmt: skip
    if not parts:
        return say("No initializer arrives both with and without sharing, so there is no average to give.")
    more = [say("{} more in the figure.", str(len(parts) - 3))] if len(parts) > 3 else []
    return join([*parts[:3], *more])


def about_arrivals(board: pd.DataFrame, curves: pd.DataFrame) -> Sentence:
    """The first of the ranking and the baseline at the first's median."""
    full = int((board["reached"] == board["n"]).sum())
    first = board.iloc[0]
    tail = f"In the end all seeds arrive in {full} of {len(board)} setups."
    if not np.isfinite(first["steps"]):
        return say("{}", tail)
    at = float(first["steps"])
    there = [_arrived(curves, str(first["arm"]), at)]
    text = "At step {}, {} has {} seeds at the target"
    base = board[board["setup"] == board["baseline"]].head(1)
    parts: list[object] = [num.steps(at), Bold(first["setup"]), num.count(there[0], first["n"])]
    if len(base) and base["arm"].iloc[0] != first["arm"]:
        text += ", {} {}"
        row = base.iloc[0]
        parts += [row["setup"], num.count(_arrived(curves, str(row["arm"]), at), row["n"])]
    return say(text + ". {}", *parts, tail)


def _arrived(curves: pd.DataFrame, arm: str, step: float) -> int:
    part = curves[(curves["arm"] == arm) & (curves["step"] <= step)]
    return int(part["arrived"].max()) if len(part) else 0


def about_rates(board: pd.DataFrame, profile: pd.DataFrame) -> Sentence:
    """Where in the grid the chosen rates lie, and how many runs the choice took."""
    chosen = board.dropna(subset=["lr"])
    if chosen.empty:
        return say("No learning rate could be chosen.")
    common = chosen["lr"].value_counts(sort=False).sort_index()
    top = f"{num.rate(common.idxmax())} is chosen most often ({int(common.max())} of {len(chosen)} setups)"
    if (chosen["lr_at_edge"] == "only").all():
        return say("One learning rate, {}: nothing was tuned.", num.rate(chosen["lr"].iloc[0]))
    low, high = (int((chosen["lr_at_edge"] == side).sum()) for side in ("low", "high"))
    text = (
        "{}; {} are best at the smallest rate tried, {} at the largest. The choice took {} of {}: those at other rates."
    )
    other = int(profile.loc[~profile["chosen"], "n"].sum())
    return say(text, top, str(low), str(high), f"{other:,}", num.plural(int(profile["n"].sum()), "run"))


def about_losses(board: pd.DataFrame) -> Sentence:
    """Lowest and highest final train loss."""
    losses = board.assign(loss=board["loss_train"].astype(float))
    losses = losses[np.isfinite(losses["loss"])]
    if losses.empty:
        return say("No setup has a finite final loss in half of its seeds.")
    best, worst = losses.loc[losses["loss"].idxmin()], losses.loc[losses["loss"].idxmax()]
    text = "The median final train loss runs from {} ({}) to {} ({})"
    lost = len(board) - len(losses)
    tail = f"; {num.plural(lost, 'setup')} diverged or failed in at least half of the seeds." if lost else "."
    return say(text + "{}", num.real(best["loss"]), Bold(best["setup"]), num.real(worst["loss"]), worst["setup"], tail)


def about_layers(board: pd.DataFrame, maps: pd.DataFrame) -> Sentence:
    """First against last layer at the start, for the first and the last of the ranking."""
    parts = []
    start = maps[maps["step"] == maps["step"].min()]
    shown = [arm for arm in board["arm"] if arm in set(start["arm"])]
    for arm in dict.fromkeys([*shown[:1], *shown[-1:]]):
        part = start[start["arm"] == arm].sort_values("layer")
        first, last = float(part["median"].iloc[0]), float(part["median"].iloc[-1])
        if last > 0 and np.isfinite([first, last]).all():
            name = board.set_index("arm")["setup"][arm]
            parts.append(f"{first / last:.2g} for {name}")
    if not parts:
        return say("Gradient norms at the chosen learning rates.")
    return say("Gradient norm of the first layer over that of the last, at the start: {}.", listed(parts))


def about_parameters(rows: list[dict[str, object]]) -> Sentence:
    """How much the sharing that stores least stores."""
    least = min(rows, key=lambda row: float(str(row["stored"])) / max(float(str(row["used"])), 1.0))
    share = float(str(least["stored"])) / max(float(str(least["used"])), 1.0)
    text = "{} stores {} of the {} parameters its layers use ({})."
    return say(
        text, Bold(str(least["sharing"])), num.whole(least["stored"]), num.whole(least["used"]), num.percent(share)
    )


def about_targets(firsts: dict[str, str]) -> Sentence:
    """Whether the first of the ranking changes with the target; `firsts`: target in words -> setup."""
    known = {target: setup for target, setup in firsts.items() if setup}
    if len(known) < 2:
        return say("Only one of these targets was reached by any setup.")
    if len(set(known.values())) == 1:
        return say("{} is first at each of them.", Bold(next(iter(known.values()))))
    return say("The first place changes with the target: {}.", listed([f"{s} at {t}" for t, s in known.items()], 6))
