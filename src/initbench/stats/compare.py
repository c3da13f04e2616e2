"""The judged study: every arm ranked, and each setup against the baseline of its setting with a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from initbench.config.checks import one_of
from initbench.errors import refusal, shown
from initbench.stats import nested, remedy, same, verdict
from initbench.stats.crossfit import RESAMPLES, Crossfit, crossfit
from initbench.stats.family import family_of, looked_at, members, unjudged
from initbench.stats.intervals import ratio_interval
from initbench.stats.panel import Panel, panels
from initbench.stats.ranking import LEADERBOARD_COLUMNS, groups, ranked
from initbench.stats.rates import GATE, at_chosen_lr, budget, log_outcome
from initbench.stats.standing import standing
from initbench.store.history import History

COMPARISON_COLUMNS = [
    "setting", "setup", "arm", "baseline", "verdict", "reason", "decide", "seeds_needed", "ratio_of", "ratio",
    "ratio_low", "ratio_high", "equal_low", "equal_high", "p", "p_holm", "test", "family", "p_faster",
    "p_faster_low", "p_faster_high", "pairs", "reached_pairs", "reached_pairs_baseline", "n", "n_baseline",
    "reached", "reached_baseline", "lr", "lr_baseline", "lr_at_edge", "same_as", "look", "decided_at",
]  # fmt: skip
NAN = float("nan")
AT = (
    "look",
    "decided_at",
)  # of a study that was decided by looking again: which look a row is of, seeds when the word fell


class Judged(NamedTuple):
    """Both tables of one study: one row per arm (LEADERBOARD_COLUMNS), one per comparison (COMPARISON_COLUMNS)."""

    board: pd.DataFrame
    pairs: pd.DataFrame
    arms: Arms  # panels and cross-fits, for more tables of the same runs
    earlier: Arms | None  # the same, had every run arrived one evaluation earlier


def judge(
    runs: pd.DataFrame,
    study: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    history: History | None = None,
    metric: str | None = None,
    family: str | Sequence[str] | None = None,
) -> Judged:
    """Rank and compare; everything a report says of speed comes from here.

    `baseline`: a setup's label or an initializer's name, else the study's. `family`: such names, else the study's, else
    everyone: the setups that are judged and counted by Holm's correction. `history` gives the evaluation grid of
    `metric` (the study's target), without which the rule "would one evaluation earlier change it?" is not applied.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "arm": ["slow", "fast"], "setup": ["slow", "fast"],
    ...     "setting": "s", "optim.lr": 0.1, "seed": 0, "status": "completed", "train.steps": 100,
    ...     "steps_to_target": [80.0, 40.0]})
    >>> judge(runs, baseline="slow").pairs[["setup", "ratio", "verdict", "reason"]].values.tolist()
    [['fast', 0.5, 'undecided', 'n=1, at least 8 seeds'], ['slow', 1.0, 'baseline', '']]
    """
    arms = Arms(runs)
    board = ranked(runs, study, arms.means())
    metric = metric or ((study or {}).get("target") or {}).get("metric")
    earlier = None
    if history is not None and metric is not None and len(runs):
        earlier = Arms(remedy.one_evaluation_earlier(runs, remedy.evaluation_grids(runs, history, metric)))
    target = metric is not None or "target" not in (study or {})
    reference = reference_of(board, runs, study, baseline)
    if baseline is None:
        reference |= {row["setting"]: row["baseline"] for row in (study or {}).get("looks") or []}
    names, rows = family_of(board, study, family), []
    for setting, part in board.groupby("setting", sort=False):
        at = looked_at(study, str(setting), int(part["n"].max()))
        rows += _setting(part, reference[str(setting)], arms, earlier, runs, target, members(part, names), at)
    pairs = standing(pd.DataFrame(rows, columns=COMPARISON_COLUMNS), (study or {}).get("looks") or [])
    for name in ("seeds_needed", "n", "n_baseline", "reached", "reached_baseline", "pairs", "family", *AT):
        pairs[name] = pairs[name].astype("Int64")
    against = pairs.set_index("arm")
    for name in ("ratio", "ratio_low", "ratio_high", "pairs", "ratio_of", "baseline", "verdict", "reason", "same_as"):
        board[name] = board["arm"].map(against[name])
    if (board["same_as"] != "").any():
        board = same.together(board)
    for _, part in board.groupby("setting", sort=False):
        ranks = same.of_heads(part, _rank_intervals(same.distinct(part), arms))
        board.loc[part.index, ["rank_low", "rank_high"]] = ranks
    return Judged(board[LEADERBOARD_COLUMNS], pairs, arms, earlier)


def leaderboard(
    runs: pd.DataFrame,
    study: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    history: History | None = None,
) -> pd.DataFrame:
    """One row per arm, ranked inside its setting. Columns: LEADERBOARD_COLUMNS.

    Rank: arms that arrive in at least 80% of their seeds first, by cross-fitted mean log steps; then by share
    arrived, then by final train loss. `steps` is the median over all seeds at the chosen learning rate with its
    bootstrap interval (inf = never). `ratio`, `verdict` and `reason` are those of `comparisons`. `gap` is the
    median of val - train loss at the target (inf: fewer than half arrived), or at the end where nobody
    arrives. Arms of `study` that failed before they had a run are the last rows.
    """
    return judge(runs, study, baseline, history).board


def comparisons(
    runs: pd.DataFrame,
    baseline: str | None = None,
    study: Mapping[str, Any] | None = None,
    history: History | None = None,
) -> pd.DataFrame:
    """Each setup against the baseline of its setting, paired by seed. Columns: COMPARISON_COLUMNS.

    `ratio` is exp of the difference of the cross-fitted means of log min(T, tau), with its 95% interval; NaN
    below the gate. `equal_low`, `equal_high`: its 90% interval. `ratio_of` is "steps", or "loss" where nobody in
    the setting arrives (ratio of final train losses; no verdict). `pairs`: seeds both have. `decide`: the override
    that would decide an undecided pair; `seeds_needed`: the likely number of seeds in all.
    """
    return judge(runs, study, baseline, history).pairs


class Arms:
    """The panels of a study and their cross-fits, each computed once for each set of seeds."""

    def __init__(self, runs: pd.DataFrame, resamples: int = RESAMPLES) -> None:
        self.runs, self.resamples = runs, resamples
        self.panels = panels(runs) if len(runs) else {}
        self._fits: dict[tuple[str, bytes], tuple[Panel, Crossfit]] = {}

    @cached_property
    def same(self) -> dict[str, str]:
        """{arm: the first arm of the same nets, run by run}"""
        return same.groups_of_same(self.runs)

    def on(self, arm: str, seeds: np.ndarray) -> tuple[Panel, Crossfit]:
        """Panel and cross-fit of an arm on these usable seeds."""
        key = arm, seeds.tobytes()
        if key not in self._fits:
            panel = self.panels[arm].at(seeds)
            self._fits[key] = panel, crossfit(panel, self.resamples)
        return self._fits[key]

    def seeds(self, *arms: str) -> np.ndarray:
        """Seeds with a result at every learning rate of all these arms."""
        sets = [self.panels[arm].seeds[self.panels[arm].usable] if arm in self.panels else np.zeros(0) for arm in arms]
        found = sets[0]
        for other in sets[1:]:
            found = np.intersect1d(found, other)
        return found

    def own(self, arm: str) -> float:
        """Cross-fitted mean log outcome on all usable seeds of an arm; NaN without any."""
        seeds = self.seeds(arm)
        return self.on(arm, seeds)[1].mean if len(seeds) else NAN

    def means(self) -> dict[str, float]:
        """`own` of every arm: what a leaderboard is ranked by."""
        return {arm: self.own(arm) for arm in self.panels}

    def contrast(self, arm: str, base: str) -> verdict.Contrast:
        """An arm against another on the seeds both have."""
        seeds = self.seeds(arm, base)
        if not len(seeds):
            none = np.zeros(0, bool)
            return verdict.Contrast(0, NAN, NAN, none, none, np.zeros(0))
        return verdict.contrast(*self.on(arm, seeds), *self.on(base, seeds))


def reference_setups(
    board: pd.DataFrame, baseline: str | None = None, order: Sequence[str] | None = None
) -> dict[str, str]:
    """The setup each setting's ratios refer to: `baseline`, a setup's label or an initializer's name.

    An initializer's name means its setup without sharing where there is one. Without a baseline it is the first
    of `order` (the study's own order, never the ranking: the best of many looks better than it is). Where it is
    below the gate and others are above, the first of `order` above the gate stands in. Raises InputError if
    `baseline` names nothing on the whole board.

    >>> board = pd.DataFrame({"setting": "s", "setup": ["a · none", "b · none"], "init": ["a", "b"],
    ...                       "sharing": "none", "share": [1.0, 1.0]})
    >>> reference_setups(board, "b"), reference_setups(board, None, ["b · none", "a · none"])
    ({'s': 'b · none'}, {'s': 'b · none'})
    """
    if baseline is not None and not _named(board, baseline).any():
        raise refusal(f"baseline={shown(baseline)}", "unknown", one_of(baseline, sorted(set(board["setup"]))))
    place = {setup: i for i, setup in enumerate(order or board["setup"])}
    found = {}
    for setting, part in board.groupby("setting", sort=False):
        listed = part.iloc[np.argsort([place.get(setup, len(place)) for setup in part["setup"]], kind="stable")]
        named = listed[_named(listed, baseline)]
        named = named.iloc[np.lexsort((named["sharing"] != "none", named["setup"] != baseline))].head(1)
        named = listed.head(1) if named.empty else named
        open_ = listed[listed["share"] >= GATE]
        if len(open_) and not (named["share"] >= GATE).all():
            named = open_.head(1)
        found[str(setting)] = str(named["setup"].iloc[0])
    return found


def reference_of(
    board: pd.DataFrame, runs: pd.DataFrame, study: Mapping[str, Any] | None, baseline: str | None = None
) -> dict[str, str]:
    """`reference_setups` of a study: its own baseline and order."""
    return reference_setups(board, _wanted(board, study, baseline), _order(runs, study))


def _named(board: pd.DataFrame, baseline: str | None) -> pd.Series:
    return (board["setup"] == baseline) | (board["init"] == baseline)


def _wanted(board: pd.DataFrame, study: Mapping[str, Any] | None, baseline: str | None) -> str | None:
    """The baseline typed, else the study's own; the latter may name an arm that this sweep left out."""
    own = (study or {}).get("baseline")
    if baseline is not None or own is None:
        return baseline
    return own if _named(board, own).any() else None


def _order(runs: pd.DataFrame, study: Mapping[str, Any] | None) -> list[str]:
    listed = [str(arm["setup"]) for arm in (study or {}).get("arms", []) if "setup" in arm]
    return list(dict.fromkeys([*listed, *(runs["setup"].astype(str).unique() if len(runs) else [])]))


def _setting(
    part: pd.DataFrame,
    reference: str,
    arms: Arms,
    earlier: Arms | None,
    runs: pd.DataFrame,
    target: bool,
    family: Sequence[str],
    at: tuple[int, ...],
) -> list[dict[str, Any]]:
    """The comparisons of one setting, in the order of its ranking."""
    base = part[part["setup"] == reference].iloc[0]
    each, copies = same.once(part[part["arm"] != base["arm"]], base, arms.same, family)
    others, outside = (each[each["arm"].isin(family) == inside] for inside in (True, False))
    if not (part["reached"] > 0).any():
        found = _by_loss(others, base, runs, target) | unjudged(_by_loss(outside, base, runs, target))
    else:
        asked = asked_of(runs)
        found = by_steps(others, base, arms, earlier, asked, at) | unjudged(by_steps(outside, base, arms, None, asked))
    found[str(base["arm"])] = itself(base, arms, part)
    found |= same.copied(found, copies, part, base)
    return [same_for_all(row, base, len(others)) | found[str(row["arm"])] for _, row in part.iterrows()]


def same_for_all(row: pd.Series, base: pd.Series, family: int) -> dict[str, Any]:
    """What a comparison of two rows of the board says whatever it finds."""
    return {
        "setting": row["setting"], "setup": row["setup"], "arm": row["arm"], "baseline": base["setup"],
        "n": row["n"], "n_baseline": base["n"], "reached": row["reached"], "reached_baseline": base["reached"],
        "lr": row["lr"], "lr_baseline": base["lr"], "lr_at_edge": row["lr_at_edge"], "family": family,
        "same_as": "",
    }  # fmt: skip


def itself(base: pd.Series, arms: Arms, part: pd.DataFrame) -> dict[str, Any]:
    """The baseline's own row: 1, where it has a ratio at all."""
    by_loss = not (part["reached"] > 0).any()
    pairs = len(arms.seeds(base["arm"]))
    open_ = np.isfinite(base["loss_train"]) if by_loss else base["share"] >= GATE
    one = 1.0 if open_ and pairs else NAN
    ends = one if pairs >= 3 else NAN
    return {
        "verdict": "baseline", "reason": "", "decide": "", "seeds_needed": pd.NA, "test": "",
        "ratio_of": "loss" if by_loss else "steps", "ratio": one, "ratio_low": ends, "ratio_high": ends,
        "pairs": pairs,
    }  # fmt: skip


def by_steps(
    others: pd.DataFrame,
    base: pd.Series,
    arms: Arms,
    earlier: Arms | None,
    asked: Mapping[str, remedy.Asked],
    at: tuple[int, ...] = (),
    more: int = 0,
) -> dict[str, dict[str, Any]]:
    """The comparisons of arms with their baseline: one family. `at`: sizes of all looks at them, if more than one;
    `more`: members of the family that are not judged again."""
    names = [str(arm) for arm in others["arm"]]
    sides = [verdict.Side(row["share"], row["lr_at_edge"]) for _, row in others.iterrows()]
    bases = [verdict.Side(base["share"], base["lr_at_edge"])] * len(sides)
    contrasts = [arms.contrast(arm, str(base["arm"])) for arm in names]
    found = verdict.verdicts(contrasts, sides, bases, at=at, others=more)
    if earlier is not None and any(one.word in verdict.DECIDED for one in found):
        shifted = [earlier.contrast(arm, str(base["arm"])) for arm in names]
        again = verdict.verdicts(shifted, sides, bases, at=at, others=more)
        found = [verdict.stands(one, other) for one, other in zip(found, again)]
    counted = max(1, more + sum(one.word not in ("faster", "slower") for one in found))  # that Holm has not rejected
    confidence = 1 - nested.level(at, verdict.ALPHA), 1 - nested.level(at, 2 * verdict.ALPHA)
    rows = {}
    for (_, row), one, said in zip(others.iterrows(), contrasts, found):
        both_open = row["share"] >= GATE and base["share"] >= GATE
        logs = (one.estimate, *(end for c in confidence for end in one.interval(c))) if both_open else (NAN,) * 5
        # rounded, so that the last bits of a sum are no spread
        ratio, low, high, equal_low, equal_high = (round(float(np.exp(x)), 12) for x in logs)
        decide, needed = remedy.decide(said, one, row, base, counted, at, asked)
        p_faster, p_low, p_high = one.p_faster
        what = {
            "verdict": said.word, "why": said.why, "decide": decide, "seeds_needed": pd.NA if needed is None else needed,
            "ratio_of": "steps", "ratio": ratio, "ratio_low": low, "ratio_high": high, "equal_low": equal_low,
            "equal_high": equal_high, "p": said.p, "p_holm": said.p_holm, "test": said.test, "p_faster": p_faster,
            "p_faster_low": p_low, "p_faster_high": p_high, "pairs": one.n, "reached_pairs": int(one.reached.sum()),
            "reached_pairs_baseline": int(one.reached_base.sum()),
        }  # fmt: skip
        known = same_for_all(row, base, len(others) + more) | what
        rows[str(row["arm"])] = what | {"reason": remedy.reason(known | {"looks": len(at)})}
    return rows


def asked_of(runs: pd.DataFrame) -> dict[str, remedy.Asked]:
    """{arm: its seeds, learning rates and budgets}"""
    seeds, rates, tau = runs["seed"].to_numpy(), runs["optim.lr"].to_numpy(float), budget(runs)
    return {
        arm: (set(seeds[at].tolist()), set(rates[at].tolist()), set(tau[at].tolist()))
        for arm, at in groups(runs["arm"])
    }


def _by_loss(others: pd.DataFrame, base: pd.Series, runs: pd.DataFrame, target: bool) -> dict[str, dict[str, Any]]:
    """Ratios of final train losses at the chosen rates, where nobody arrives: shown, never judged."""
    at = at_chosen_lr(runs, pd.concat([others, base.to_frame().T]).set_index("arm")) if len(runs) else runs
    logs = _losses(at)
    nothing = pd.Series(dtype=float)
    theirs = logs.get(base["arm"], nothing)
    decide = remedy.longer(float(budget(at).max()) if len(at) else 0.0)
    reason = remedy.REASONS["steps"]
    if not target:
        reason, decide = remedy.REASONS["target"], remedy.SOME_TARGET
    rows = {}
    for _, row in others.iterrows():
        ours = logs.get(row["arm"], nothing)
        both = (ours - theirs.reindex(ours.index)).dropna().to_numpy()
        open_ = bool(len(ours) and len(theirs) and ours.notna().all() and theirs.notna().all())
        ratio, low, high = ratio_interval(both) if open_ else (NAN,) * 3
        rows[str(row["arm"])] = {
            "verdict": "undecided", "reason": reason, "decide": decide, "seeds_needed": pd.NA,
            "ratio_of": "loss", "ratio": ratio, "ratio_low": low, "ratio_high": high, "test": "",
            "pairs": len(both), "reached_pairs": 0, "reached_pairs_baseline": 0,
        }  # fmt: skip
    return rows


def _losses(at: pd.DataFrame) -> dict[str, pd.Series]:
    """{arm: log final loss indexed by seed}"""
    if at.empty:
        return {}
    logs = pd.Series(log_outcome(at, "loss"), index=at["seed"].to_numpy())
    return {str(arm): part for arm, part in logs.groupby(at["arm"].astype(str).to_numpy(), sort=False)}


def _rank_intervals(part: pd.DataFrame, arms: Arms) -> np.ndarray:
    """(arms, 2) ranks between which 95% of the bootstrap draws put an arm; NaN below the gate.

    Descriptive: the same draws for all arms, on the seeds all of them have.
    """
    out = np.full((len(part), 2), NAN)
    open_ = np.flatnonzero((part["share"] >= GATE).to_numpy())
    names = [str(part["arm"].iloc[i]) for i in open_]
    seeds = arms.seeds(*names) if names else np.zeros(0)
    if len(seeds) < 3:
        return out
    draws = np.stack([arms.on(arm, seeds)[1].draws for arm in names])  # (arms, draws)
    ranks = 1 + np.argsort(np.argsort(draws, axis=0, kind="stable"), axis=0, kind="stable")
    out[open_] = np.quantile(ranks, [0.025, 0.975], axis=1, method="inverted_cdf").T
    return out
