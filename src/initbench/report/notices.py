"""Read before you trust: what could make an answer wrong, each with the override to try."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from initbench import stats
from initbench.grammar import together
from initbench.report import nets
from initbench.report import numbers as num
from initbench.report.commands import axes_of, command_of
from initbench.report.source import Source
from initbench.report.words import Code, Notice, listed, say
from initbench.stats import remedy
from initbench.stats.verdict import ALPHA


def notices(source: Source) -> list[Notice]:
    """Read before you trust: each with the override to try. An empty list would be a clean study."""
    board = source.board
    found = (
        _about_the_plan(source),
        _about_arms(source),
        _about_target(source),
        _about_rates(board, source),
        _about_seeds(board, source),
        _about_looks(source),
        _about_power(source),
        nets.about(source),
        _about_many(source),
        _about_baseline(source),
        _about_grid(source),
    )
    return [one for alike in found for one in folded(alike, source.settings)]


def folded(found: Sequence[Notice], settings: Sequence[str]) -> list[Notice]:
    """Of notices whose titles differ in their setting and in numbers alone, the first, and how many more.

    >>> [one.title for one in folded([Notice(f"{n} arms ({s})", ()) for n, s in enumerate("abcd")], list("abcd"))]
    ['0 arms (a; the like in 3 more settings)']
    """
    kinds: dict[object, list[tuple[str, Notice]]] = {}
    for i, one in enumerate(found):
        setting = next((name for name in settings if one.title.endswith(f" ({name})")), "")
        bare = one.title.removesuffix(f" ({setting})")
        kinds.setdefault(re.sub(r"[\d.,]+", "#", bare) if setting else i, []).append((f" ({setting}", one))
    out = []
    for alike in kinds.values():
        where, first = alike[0]
        if len(alike) > 1:
            title, more = first.title.removesuffix(f"{where})"), num.plural(len(alike) - 1, "more setting")
            first = first._replace(title=f"{title}{where}; the like in {more})")
        out.append(first)
    return out


def _about_the_plan(source: Source) -> list[Notice]:
    """What was found before anything was trained: see `initbench.config.cautions`."""
    out = []
    for one in source.study.get("cautions") or []:
        labels = called([str(label) for label in one["arms"]], source.arms)
        text = str(one["text"]).rstrip(".")
        text = text[:1].upper() + text[1:]
        about = say("{}.", text) if not labels else say("{}: {}.", text, listed(labels, 8))
        out.append(Notice(str(one["title"]), about))
    return out


def called(labels: list[str], arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """Arms by their labels, a setup that is among them in each of its settings by its own name; nothing for all arms.

    >>> arms = [{"label": f"{a} in {s}", "setup": a} for a in "ab" for s in "xy"]
    >>> called(["a in x", "a in y", "b in x"], arms), called([arm["label"] for arm in arms], arms)
    (['a', 'b in x'], [])
    """
    setup_of = {str(arm["label"]): str(arm["setup"]) for arm in arms}
    if set(labels) >= set(setup_of):
        return []
    partly = {setup for label, setup in setup_of.items() if label not in labels}
    names = (setup_of.get(label, label) for label in labels)
    return list(dict.fromkeys(label if name in partly else name for label, name in zip(labels, names)))


def _about_arms(source: Source) -> list[Notice]:
    out = []
    failed = [a for a in source.arms if a.get("status") == "failed"]
    skipped = [a for a in source.arms if a.get("status") == "not applicable"]
    for arms, title in ((failed, "failed"), (skipped, "did not apply")):
        if arms:
            why = [(str(a["label"]), str(a.get("reason") or "no reason was stored")) for a in arms]
            reasons = [f"{label}: {reason}" for label, reason in together(why)]
            out.append(Notice(f"{num.plural(len(arms), 'arm')} {title}", say("{}", listed(reasons, 8))))
    crashed = source.board[(source.board["failed"] > 0) & ~source.board["arm"].isin([a["label"] for a in failed])]
    if len(crashed):
        text = listed([f"{r['setup']} {num.count(r['failed'], r['n'])}" for _, r in crashed.iterrows()])
        out.append(Notice("Some runs failed", say("They count in n as never arrived: {}.", text)))
    died = source.board[(source.board["diverged"] > 0)]
    if len(died):
        before = source.chosen[(source.chosen["status"] == "diverged") & source.chosen["steps_to_target"].notna()]
        arrived = before["arm"].astype(str).value_counts()
        names = [
            f"{r['setup']} {num.count(r['diverged'], r['n'])}"
            + (f", {arrived[r['arm']]} of them after it had arrived" if r["arm"] in arrived else "")
            for _, r in died.iterrows()
        ]
        title = f"{num.plural(len(died), 'arm')} diverged in some seed at the chosen learning rate"
        text = "Every run stays in n; one that arrived first keeps its steps, the others never arrive: {}."
        out.append(Notice(title, say(text if source.target else "Every run stays in n: {}.", listed(names))))
    return out


def _about_target(source: Source) -> list[Notice]:
    if source.target is None:
        text = say("Set one to compare speed: {}.", Code(stats.SOME_TARGET))
        return [Notice("No target: ranked by final train loss", text)]
    out = []
    for setting in source.settings:
        board = source.part(source.board, setting)
        if (board["share"] >= stats.GATE).any() or (board["failed"] == board["n"]).all():
            continue
        where = source.among(setting)
        goal = num.target_words(*source.target)
        if (board["diverged"] + board["failed"] == board["n"]).all():
            smaller = Code(stats.wider(sorted({float(lr) for lr in source.runs["optim.lr"]}), {"low"}))
            ended = "diverged or failed" if board["failed"].any() else "diverged"
            title = f"Every run at the chosen learning rates {ended}{where}"
            out.append(Notice(title, say("Try smaller learning rates: {}.", smaller)))
            continue
        tries = Code(remedy.longer(source.tau(setting)))
        value = reachable(source, setting)
        title = f"No setup reached {goal}"
        if source.arrives(setting):
            title = f"No setup reached {goal} in {num.percent(stats.GATE)} of its seeds: no ratios"
        if value is None:
            out.append(Notice(title + where, say("Train longer: {}.", tries)))
        else:
            easier = Code(target_override(source, value))
            out.append(Notice(title + where, say("Train longer, {}, or set an easier target, {}.", tries, easier)))
    return out


def target_override(source: Source, value: float) -> str:
    """What asks for another value, and for the metric where the report's is not the study's own."""
    assert source.target is not None
    own = source.study.get("target")
    metric = "" if own and own["metric"] == source.target[0] else f"train.target.metric={source.target[0]} "
    return f"{metric}train.target.value={value:g}"


def reachable(source: Source, setting: str) -> float | None:
    """A round value, easier than the target, that the best arm meets in enough seeds at the end; None without one."""
    assert source.target is not None
    metric, target = source.target
    at = source.part(source.chosen, setting)
    if metric not in at:
        return None
    sign = 1.0 if metric.startswith("accuracy") else -1.0
    ends = (sign * at[metric].astype(float)).fillna(-np.inf).groupby(at["arm"].astype(str))
    best = sign * float(ends.quantile(1 - stats.GATE, interpolation="lower").max()) if len(at) else float("nan")
    if not math.isfinite(best) or best <= 0:
        return None
    if sign > 0:
        value = round(math.floor(best * 20 - 1e-9) / 20, 2)
        return value if 0 < value < target and not at_the_start(source, metric, value) else None
    scale = 10.0 ** (math.floor(math.log10(best)) - 1)
    value = float(f"{math.ceil(best / scale * 1.05) * scale:.2g}")
    return value if value > target and not at_the_start(source, metric, value) else None


def at_the_start(source: Source, metric: str, value: float) -> bool:
    """Whether half of the runs meet a level before anything is learned: no target to train for."""
    values = stats.select(source.history, metric)
    start = float(values.loc[values["step"] == 0, "value"].median())
    return start >= value if metric.startswith("accuracy") else start <= value


def _about_rates(board: pd.DataFrame, source: Source) -> list[Notice]:
    out = []
    rates = sorted({float(lr) for lr in source.runs["optim.lr"]})
    tuned = source.profile.groupby("arm")["lr"].nunique()
    if (board["failed"] == board["n"]).all():
        return []
    if len(tuned) and (tuned > 1).any():
        edge = board[board["lr_at_edge"].isin(["low", "high"])]
        if len(edge):
            names = [f"{r['setup']} ({num.rate(r['lr'])})" for _, r in edge.iterrows()]
            text = "{} were best at the end of the grid: their true best may lie outside. Try {}."
            out.append(Notice(f"Learning rate at the edge of its grid: {num.plural(len(edge), 'arm')}",
                              say(text, listed(names), Code(stats.wider(rates, set(edge["lr_at_edge"]))))))  # fmt: skip
    elif len(tuned):
        wide = Code(stats.wider(rates, {"low", "high"}))
        whom = "One learning rate for all" if len(rates) == 1 else "One learning rate per arm"
        text = "A setup may be slow only because this rate does not suit it. Try {}."
        out.append(Notice(f"{whom}: nothing was tuned", say(text, wide)))
    if source.profile.groupby("arm")["lr"].agg(tuple).nunique() > 1:
        unlike = (
            "Arms with more rates had more chances." if tuned.nunique() > 1 else "Each is judged at its own best rate."
        )
        if source.decide is not None or (source.arms and all(_optim(arm).get("auto") for arm in source.arms)):
            unlike = "Each grid was continued by the same rule, until its best rate was inside or a limit was met."
        out.append(Notice("Arms had different learning rate grids", say(unlike)))
    return out + _less_tuned(board, source)


def _optim(arm: Mapping[str, Any]) -> Mapping[str, Any]:
    return (arm.get("config") or {}).get("optim") or {}


def _less_tuned(board: pd.DataFrame, source: Source) -> list[Notice]:
    """A baseline that had fewer learning rates than a rival it does not beat: part of what that wins may be the search."""
    out = []
    rates = {str(arm): set(part["lr"]) for arm, part in source.profile.groupby("arm")}
    for setting in source.settings:
        part = source.part(board, setting)
        base = part[part["setup"] == part["baseline"]].head(1)
        own = rates.get(str(base["arm"].iloc[0]), set()) if len(base) else set()
        rivals = part[part["verdict"] != "slower"]
        more = [row for _, row in rivals.iterrows() if len(rates.get(str(row["arm"]), ())) > len(own)]
        if not own or not more:
            continue
        most = max(len(rates[str(row["arm"])]) for row in more)
        missing = set().union(*(rates[str(row["arm"])] for row in more)) - own
        runs = len(missing) * int(base["n"].iloc[0])
        grid = f"optim.lr=[{','.join(num.rate(lr) for lr in sorted(own | missing))}]"
        where = source.among(setting)
        text = say(
            "{} had {}, up to {} for {}. Published speed-ups of 1.4 to 2x shrank to 1.1 to 1.4x once the baseline was tuned as "
            "well (arXiv 2509.02046). The rates that it lacks take {}: {}.",
            base["setup"].iloc[0], num.plural(len(own), "learning rate"), str(most),
            listed([str(row["setup"]) for row in more]), num.plural(runs, "run"), Code(f"'{grid}'"),
        )  # fmt: skip
        out.append(Notice(f"The baseline was tuned less than its rivals{where}", text))
    return out


def _about_seeds(board: pd.DataFrame, source: Source) -> list[Notice]:
    few = board[board["n"].between(1, stats.MIN_SEEDS - 1)]
    if few.empty:
        return []
    n = sorted({int(k) for k in few["n"]})
    which = "" if len(few) == len(board) else f" in {num.plural(len(few), 'arm')}"
    title = f"n={', '.join(map(str, n[:4]))} seeds{which}: at least {stats.MIN_SEEDS} are needed to tell"
    more = stats.more_seeds(sorted({int(seed) for seed in source.runs["seed"]}), 20)
    text = say("Only new seeds are trained: {}.", Code(more))
    return [Notice(title, text)]


def _about_looks(source: Source) -> list[Notice]:
    """A study that was widened by hand and judged anew: each look is one more chance to be wrong."""
    out = []
    for one in source.study.get("looked") or []:
        if source.decide is not None or one["setting"] not in source.settings:
            continue
        where = source.among(str(one["setting"]))
        seeds = ", ".join(str(n) for n in one["n"])
        wrong = num.percent(round(float(one["error"]), 3))
        text = say(
            "At 5% a look, some of these looks would call one of two equal setups faster or slower in {} of studies: words after "
            "looking are less sure. So p values and intervals here count every look. {} plans its looks and counts them.",
            wrong, Code(remedy.DECIDE),
        )  # fmt: skip
        out.append(Notice(f"Looked at {num.plural(int(one['times']), 'time')} before (n = {seeds}){where}", text))
    return out


def _about_power(source: Source) -> list[Notice]:
    """What the size of the study can decide: the ratio that its typical error would call with 80% power."""
    out = []
    for setting in source.settings:
        pairs = stats.distinct(source.part(source.pairs, setting))
        size = stats.callable_ratio(pairs)
        if size is None or len(pairs) < 2 or source.decide is not None:
            continue
        where = source.among(setting)
        undecided = pairs[pairs["verdict"] == "undecided"]
        n = int(pairs["pairs"].median())
        text = say("{}Undecided: {} of {}{}.", _called(pairs), str(len(undecided)), num.plural(len(pairs) - 1, "comparison"),
                   "; what would decide each is in comparisons.csv" if len(undecided) else "")  # fmt: skip
        title = f"With n={n}, 8 in 10 comparisons of a true ratio of {num.times(size)} get a word{where}"
        out.append(Notice(title, text))
    return out


def _called(pairs: pd.DataFrame) -> str:
    """The smallest ratio that got a word here and the largest that did not: setups scatter more or less than the typical."""
    tested = pairs[pairs["test"] == "ratio"]
    size = pd.Series(np.exp(np.abs(np.log(tested["ratio"].to_numpy(float)))), tested.index)
    called = size[tested["verdict"].isin(["faster", "slower"])]
    open_ = size[(tested["verdict"] == "undecided") & (tested["p_holm"] >= ALPHA)]
    if called.empty or open_.empty:
        return ""
    return (
        f"That is for the typical scatter: here the smallest called is {num.times(called.min())}, the largest not called "
        f"{num.times(open_.max())} (or 1 divided by that). "
    )


MANY = 40  # arms of a setting: from here on the first one is flattered enough to ask for fresh seeds
CONFIRM = 20


def _about_many(source: Source) -> list[Notice]:
    """The first of many equal arms looks 13% (of 16) to 23% (of 1,000) faster than it is: confirm on fresh seeds."""
    out = []
    fresh = int(source.runs["seed"].max()) + 1 if len(source.runs) else 0
    of_arm = source.runs.drop_duplicates("arm").set_index("arm")
    for setting in source.settings:
        board = source.part(source.board, setting)
        if len(board) <= MANY:
            continue
        axes = axes_of(source, of_arm, [arm for arm in board["arm"].head(CONFIRM) if arm in of_arm.index])
        made = math.prod(map(len, axes.values()))
        crossed = f" ({made:,} setups, since their axes cross)" if made > CONFIRM else ""
        asked = {axis: ",".join(values) for axis, values in axes.items()}
        asked["seeds"] = f"[{','.join(str(fresh + k) for k in range(20))}]"
        where = source.among(setting)
        text = say("Confirm the first {} on fresh seeds{}: {}.", str(CONFIRM), crossed, Code(command_of(source, asked)))
        out.append(Notice(f"The first of {num.plural(len(board), 'setup')} looks faster than it is{where}", text))
    return out


def _about_baseline(source: Source) -> list[Notice]:
    wanted = source.baseline or _asked_baseline(source)
    out = []
    for setting in source.settings:
        board = source.part(source.board, setting)
        used = board["baseline"].dropna()
        if wanted is None or used.empty or len(board) == 1:
            continue
        row = board[board["setup"] == used.iloc[0]].iloc[0]
        if wanted in (row["setup"], row["init"]):
            continue
        there = board[(board["setup"] == wanted) | (board["init"] == wanted)]
        there = there.iloc[np.argsort(there["sharing"] != "none", kind="stable")]
        why = "is not among the arms"
        if len(there):
            why = f"arrives in only {num.count(there['reached'].iloc[0], there['n'].iloc[0])} seeds"
        where = source.among(setting)
        first = "the first listed" + (" that arrives" if row["share"] >= stats.GATE else "")
        text = say("The baseline {} {}: ratios are to {}, {}.", wanted, why, used.iloc[0], first)
        out.append(Notice(f"Ratios are not to the baseline{where}", text))
    return out


def _asked_baseline(source: Source) -> str | None:
    """The study's baseline, where somebody asked for it; the one of the default experiment is nobody's wish."""
    overrides = source.study.get("overrides") or []
    asked = any(str(one).lstrip("+").startswith(("report.baseline=", "experiment=")) for one in overrides)
    return source.study.get("baseline") if asked else None


def _about_grid(source: Source) -> list[Notice]:
    """Evaluations further apart than 10% around the medians: a ratio below that is the grid's, not the setups'."""
    medians = source.board["steps"].astype(float)
    medians = medians[np.isfinite(medians) & (medians > 0)]
    if medians.empty or source.target is None:
        return []
    grid = np.unique(stats.select(source.history, source.target[0])["step"].to_numpy())
    if len(grid) < 2:
        return []
    at = np.clip(np.searchsorted(grid, medians), 1, len(grid) - 1)
    gap = float(np.max((grid[at] - grid[at - 1]) / np.maximum(grid[at], 1)))
    if gap <= 0.1:
        return []
    fastest = float(medians.min())
    text = say(
        "Times are known only to one evaluation, up to {} of the time itself (fastest median: {} steps).",
        num.percent(round(gap, 2)), num.steps(fastest),
    )  # fmt: skip
    return [Notice("Evaluations are too far apart for runs this fast", text)]
