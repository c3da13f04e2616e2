"""python -m initbench.predict FOLDER: which signals at step 0 predict how fast an arm trains?

Every signal's rank correlation with the steps to target, and a ridge regression on all of them that is judged on
initializers it has never seen, against the guess that always says the median of its setting.

Exit status: 0 done; 2 wrong input.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from initbench import stats
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.disk import published, write_text
from initbench.errors import refusal
from initbench.rng import numpy_stream
from initbench.store.history import History, HistoryFile, history_of

ALPHAS = np.geomspace(1e-1, 1e4, 11)  # strengths of the ridge penalty that the inner folds choose from
RESAMPLES = 2000
LEAST = 5  # initializers without which a held-out one says nothing
MANY_SIGNALS = 20  # rows shown

# How a metric over layers becomes a few numbers of the net; log for sizes, which are compared by ratio.
LOGGED = (
    *("weight_std", "weight_norm", "weight_spectral_norm", "grad_norm", "preactivation_msq", "activation_msq"),
    *("backward_msq", "jacobian_sv_mean_square", "jacobian_sv_max", "jacobian_sv_square_var"),
)
PLAIN = (
    *("weight_stable_rank", "activation_mean", "dead_fraction", "saturated_fraction", "cosine_similarity"),
    *("preactivation_cosine", "unit_correlation", "activation_participation_ratio", "use_grad_alignment"),
)
FLOOR = 1e-30  # what a size of 0 counts as, so that dead nets have a place in the ranking


def features(history: History, runs: pd.DataFrame) -> pd.DataFrame:
    """Signals at step 0, one row per arm: medians over its runs.

    Of each metric over layers: `first`, `last` (layer) and `mean`, of sizes in log10 also `slope`, their growth a layer;
    of whole-net ones (the loss) their value. Metrics that were not measured are not there.
    """
    start = history.at_step(0) if isinstance(history, HistoryFile) else history[history["step"] == 0]
    arm_of = dict(zip(runs["run"].astype(str), runs["arm"].astype(str)))
    start = start[start["run"].astype(str).isin(arm_of.keys())]
    frame = pd.DataFrame(
        {
            "arm": start["run"].astype(str).map(arm_of).to_numpy(),
            "metric": start["metric"].astype(str).to_numpy(),
            "layer": start["layer"].fillna(-1).astype(int).to_numpy(),
            "value": start["value"].to_numpy(float),
        }
    )
    kept = frame[frame["metric"].isin([*LOGGED, *PLAIN, "loss/train"])]
    medians = kept.groupby(["metric", "arm", "layer"])["value"].median()
    columns: dict[str, pd.Series] = {}
    for metric in medians.index.unique("metric"):
        table = medians[metric].unstack("layer")
        if metric == "loss/train":
            columns["log loss"] = np.log10(table[-1].clip(lower=FLOOR))
            continue
        if metric in LOGGED:
            table = np.log10(table.clip(lower=FLOOR))
        name = f"log {metric}" if metric in LOGGED else metric
        ends = table.apply(lambda row: pd.Series(ends_of(row.to_numpy(float))), axis=1)
        columns |= {f"{name} {part}": ends[i] for i, part in enumerate(("first", "last", "mean", "slope"))
                    if part != "slope" or metric in LOGGED}  # fmt: skip
    return pd.DataFrame(columns)


def ends_of(values: np.ndarray) -> tuple[float, float, float, float]:
    """First, last, mean, and growth a layer, of the numbers that are there.

    >>> ends_of(np.array([1.0, 3.0, np.nan, 5.0]))
    (1.0, 5.0, 3.0, 2.0)
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return (float("nan"),) * 4
    slope = (known[-1] - known[0]) / max(len(known) - 1, 1)
    return float(known[0]), float(known[-1]), float(known.mean()), float(slope)


def outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per arm: initializer, setting, and `log_steps`, the mean over seeds of log min(T, budget) at its best rate."""
    profile = stats.lr_profile(runs)
    best = profile.sort_values(["arm", "mean_steps", "loss_train", "lr"]).groupby("arm", sort=False).head(1)
    name_of = runs.drop_duplicates("arm").set_index(runs.drop_duplicates("arm")["arm"].astype(str))["init.name"]
    arms = best["arm"].astype(str)
    return pd.DataFrame(
        {
            "init": arms.map(name_of).to_numpy(),
            "setting": best["setting"].astype(str).to_numpy(),
            "log_steps": np.log(best["mean_steps"].to_numpy(float)),
            "share": best["share"].to_numpy(float),
        },
        index=pd.Index(arms, name="arm"),
    )


def centred(values: pd.Series, settings: pd.Series) -> pd.Series:
    """Minus the median of the setting: what is left is the initializer's part."""
    return values - values.groupby(settings).transform("median")


# ------------------------------------------------------------------------------------------------ one signal


def correlations(x: pd.DataFrame, arms: pd.DataFrame, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Spearman's rho of each signal with the steps, both minus the median of their setting; best first.

    95% interval by resampling initializers (arms of one initializer are not independent). Columns signal, rho, low, high,
    n (arms). Never arrived = the budget, a tie.
    """
    target = centred(arms["log_steps"], arms["setting"])
    draws = init_draws(arms["init"], resamples)
    rows = []
    for name in x:
        signal = centred(x[name], arms["setting"])
        known = (signal.notna() & np.isfinite(signal)).to_numpy()
        a, b = ranks(signal[known]), ranks(target[known])
        if known.sum() < LEAST or a.std() == 0 or b.std() == 0:
            continue
        weights = draws[:, known]
        rho = weighted_correlation(a, b, weights)
        low, high = np.nanquantile(rho, [0.025, 0.975])
        rows.append({"signal": name, "rho": float(np.corrcoef(a, b)[0, 1]), "low": low, "high": high,
                     "n": int(known.sum())})  # fmt: skip
    found = pd.DataFrame(rows, columns=["signal", "rho", "low", "high", "n"])
    return found.reindex(found["rho"].abs().sort_values(ascending=False, kind="stable").index).reset_index(drop=True)


def ranks(values: pd.Series) -> np.ndarray:
    """Ranks, ties at their mean."""
    return values.rank().to_numpy(float)


def init_draws(inits: pd.Series, resamples: int) -> np.ndarray:
    """How often each arm is in each resample of whole initializers, (resamples, arms)."""
    codes, names = pd.factorize(inits)
    draw = numpy_stream(0, "predict").multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return draw[:, codes].astype(float)


def weighted_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of a and b (n,) under each row of weights (resamples, n)."""
    total = weights.sum(1, keepdims=True)
    with np.errstate(all="ignore"):
        da, db = a - weights @ a[:, None] / total, b - weights @ b[:, None] / total
        cross = (weights * da * db).sum(1)
        return cross / np.sqrt((weights * da**2).sum(1) * (weights * db**2).sum(1))


# ------------------------------------------------------------------------------------------ all signals at once


@dataclass(frozen=True)
class Score:
    """How well steps of unseen initializers are foretold. Errors are means of |log predicted / observed|."""

    arms: int
    initializers: int
    settings: int
    error: float
    error_of_median: float
    skill: float  # 1 - error / error_of_median: 1 perfect, 0 no better than the median of the setting
    skill_low: float  # 95% interval, initializers resampled
    skill_high: float
    rho: float  # Spearman of predicted and observed, within settings
    rho_low: float
    rho_high: float


def held_out(x: pd.DataFrame, arms: pd.DataFrame) -> pd.DataFrame:
    """Predictions of log steps for each arm from a model that has not seen its initializer: columns model, median.

    For each initializer: the setting's median over the OTHER initializers, and that plus a ridge regression of what
    differs from it on the centred signals.
    Raises InputError for fewer than LEAST initializers.
    """
    inits = arms["init"].unique()
    if len(inits) < LEAST:
        raise refusal("predict", f"{len(inits)} initializers are too few to hold one out", f"give at least {LEAST}")
    signals = prepared(x, arms["setting"])
    out = pd.DataFrame(index=arms.index, columns=["model", "median"], dtype=float)
    for init in inits:
        inside = (arms["init"] != init).to_numpy()
        seen, hidden = arms[inside], arms[~inside]
        medians = seen.groupby("setting")["log_steps"].median()
        rest = seen["log_steps"] - seen["setting"].map(medians)
        center, spread = signals[inside].mean(0), signals[inside].std(0)
        varies = spread > 1e-9  # what is constant among the seen says nothing of the hidden
        x_all = (signals[:, varies] - center[varies]) / spread[varies]
        weights = ridge(x_all[inside], rest.to_numpy(), seen["init"].to_numpy())
        base = hidden["setting"].map(medians)  # NaN where no other initializer ran in a setting
        out.loc[hidden.index, "median"] = base
        out.loc[hidden.index, "model"] = base + x_all[~inside] @ weights
    return out


def ridge(x: np.ndarray, y: np.ndarray, inits: np.ndarray) -> np.ndarray:
    """Ridge weights (signals,) with the penalty of ALPHAS that errs least on initializers left out of inner folds.

    No intercept: without signals the prediction is the median itself.
    """
    from sklearn.linear_model import ridge_regression
    from sklearn.model_selection import GroupKFold

    errors = np.zeros(len(ALPHAS))
    for train, test in GroupKFold(n_splits=min(5, len(set(inits)))).split(x, y, groups=inits):
        for i, alpha in enumerate(ALPHAS):
            errors[i] += np.abs(y[test] - x[test] @ ridge_regression(x[train], y[train], alpha)).sum()
    return ridge_regression(x, y, ALPHAS[errors.argmin()])


def prepared(x: pd.DataFrame, settings: pd.Series) -> np.ndarray:
    """Signals minus the median of their setting, as normal scores of their ranks: sizes of dead and exploding nets lie
    far out. Missing ones are in the middle. Of step 0 alone, no outcome is in it. (arms, signals)
    """
    from scipy.stats import norm

    signals = x.apply(lambda column: centred(column.replace([np.inf, -np.inf], np.nan), settings))
    signals = signals.loc[:, signals.notna().any() & (signals.std() > 0)]
    share = (signals.rank() - 0.5) / signals.notna().sum()
    return norm.ppf(share.fillna(0.5).to_numpy(float))


def judge(predicted: pd.DataFrame, arms: pd.DataFrame, resamples: int = RESAMPLES) -> Score:
    """Errors of the held-out predictions, their skill over the median, and the interval of it."""
    known = predicted["model"].notna().to_numpy()
    observed, p, some = arms["log_steps"][known], predicted[known], arms[known]
    error, base = (p["model"] - observed).abs().to_numpy(), (p["median"] - observed).abs().to_numpy()
    draws = init_draws(some["init"], resamples)
    with np.errstate(all="ignore"):
        skills = 1 - (draws @ error) / (draws @ base)
    a, b = ranks(centred(p["model"], some["setting"])), ranks(centred(observed, some["setting"]))
    rhos = weighted_correlation(a, b, draws)
    low, high = np.nanquantile(skills, [0.025, 0.975])
    rho_low, rho_high = np.nanquantile(rhos, [0.025, 0.975])
    return Score(
        arms=len(some),
        initializers=int(some["init"].nunique()),
        settings=int(some["setting"].nunique()),
        error=float(error.mean()),
        error_of_median=float(base.mean()),
        skill=float(1 - error.mean() / base.mean()),
        skill_low=float(low),
        skill_high=float(high),
        rho=float(np.corrcoef(a, b)[0, 1]),
        rho_low=float(rho_low),
        rho_high=float(rho_high),
    )


def verdict(score: Score) -> str:
    """One sentence; that nothing is foretold is an answer as well.

    >>> verdict(Score(9, 5, 2, .5, .5, 0.01, -0.2, 0.2, 0.1, -0.3, 0.4))
    'Nothing is foretold: on unseen initializers the signals are no better than the median of the setting.'
    """
    if score.skill_low > 0:
        return (
            f"Step-0 signals predict speed: on unseen initializers the error of log steps is "
            f"{1 - score.skill:.0%} of that of the setting's median."
        )
    if score.skill_high < 0:
        return "Worse than nothing: on unseen initializers the signals mislead, the median of the setting is better."
    if score.rho_low > 0:
        return (
            "Order but not size is foretold: predictions rank unseen initializers, yet are no closer than the median."
        )
    return "Nothing is foretold: on unseen initializers the signals are no better than the median of the setting."


@dataclass(frozen=True)
class Prediction:
    """The whole analysis of a study."""

    signals: pd.DataFrame
    predicted: pd.DataFrame  # arm, init, setting, share, log_steps, model, median
    score: Score
    verdict: str


def predict(results: Any) -> Prediction:
    """What the step-0 signals of a study (a folder or Results) say about its speed.

    Raises InputError where step 0 was not measured, nothing arrived, or there are too few initializers.
    """
    from initbench.study.results import load

    if isinstance(results, (str, Path)):
        results = load(results)
    runs = results.runs[results.runs["status"] != "failed"]
    if not runs["steps_to_target"].notna().any():
        raise refusal(
            "predict",
            "no run reached the target, so there is no speed to predict",
            "raise train.steps, or choose an easier target",
        )
    arms = outcomes(runs)
    x = features(history_of(results), runs).reindex(arms.index)
    if x.empty or x.shape[1] == 0:
        raise refusal("predict", "nothing was measured at step 0", "run the study with measure=full")
    predicted = held_out(x, arms)
    score = judge(predicted, arms)
    table = arms.join(predicted).reset_index()
    return Prediction(correlations(x, arms), table, score, verdict(score))


# ------------------------------------------------------------------------------------------------- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Print correlations and score; returns the exit status."""
    return answered("initbench.predict", lambda: _predicted(parser().parse_args(argv)))


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m initbench.predict", description="Which signals at step 0 predict speed?")
    made.add_argument("folder", help="study folder, e.g. outputs/default; measured with measure=full if possible")
    made.add_argument("--json", metavar="FILE", help="write the score and correlations as JSON")
    made.add_argument("--csv", metavar="FILE", help="write the held-out prediction of every arm as CSV")
    return made


def _predicted(args: Namespace) -> int:
    found = predict(args.folder)
    if args.json:
        content = {"score": asdict(found.score), "verdict": found.verdict,
                   "signals": found.signals.to_dict("records")}  # fmt: skip
        write_text(Path(args.json), json.dumps(content, indent=1) + "\n")
    if args.csv:
        with published(Path(args.csv)) as temporary:
            found.predicted.to_csv(temporary, index=False)
    show(found)
    return 0


def show(found: Prediction) -> None:
    """Tables for the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from initbench.cli.terminal import out

    table = Table(title="rank correlation with steps to target, within settings", title_justify="left", box=SIMPLE_HEAD)
    for head in ("signal at step 0", "rho", "95% interval", "arms"):
        table.add_column(head, justify="left" if head.startswith("signal") else "right")
    for row in found.signals.head(MANY_SIGNALS).to_dict("records"):
        table.add_row(row["signal"], f"{row['rho']:+.2f}", f"[{row['low']:+.2f}, {row['high']:+.2f}]", str(row["n"]))
    out.print(table)
    for line in lines(found.score):
        out.print(line)
    out.print(found.verdict)


def lines(score: Score) -> list[str]:
    """The score in words."""
    return [
        f"{score.arms} arms: {score.initializers} initializers in {score.settings} settings; each initializer is foretold "
        "by a model that has not seen it",
        f"mean |log predicted/observed steps|: {score.error:.3f} from the signals, {score.error_of_median:.3f} from the "
        f"setting's median",
        f"skill {score.skill:+.2f} [{score.skill_low:+.2f}, {score.skill_high:+.2f}] "
        f"(1 perfect, 0 as good as the median), Spearman {score.rho:+.2f} [{score.rho_low:+.2f}, {score.rho_high:+.2f}]",
    ]


if __name__ == "__main__":
    sys.exit(main())
