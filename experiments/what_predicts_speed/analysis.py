"""Do signals at step 0 predict how fast an initializer trains that the model has never seen?

30 initializers x 3 depths x 3 activations, every measure at step 0, steps to 90% training accuracy on digits. Each
initializer is held out in turn; the guess to beat says the median steps of the setting over the other initializers.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from initbench.predict import Score, judge
from initbench.predict import predict as foretell
from initbench.reproduce import Verdict

CLAIM = "Signals at step 0 predict how fast an initializer trains that the predicting model has never seen."
SOURCE = "No paper's claim: the question behind every initializer that is derived from signals at step 0"
INITS = (
    "torch_default,normal_001,sklearn_mlp,xavier_uniform,xavier_normal,kaiming_uniform,kaiming_normal,lecun_normal,"
    "variance_student_t,orthogonal,orthogonal_relu,glorot_orthogonal,hadamard,householder,eye,identity_noise,idinit_loose,"
    "irnn,sparse_k,rai,row_standardized,random_walk,small_init,scaled_normal,sinusoidal,zero,nguyen_widrow,"
    "two_sided_uniform,edge_of_chaos,siren"
)
OVERRIDES = (
    f"init={INITS}", "sharing=none", "model.depth=2,5,10", "model.activation=relu,tanh,gelu", "seeds=4",
    "optim.lr=[0.03,0.1,0.3,1.0]", "train.steps=150", "train.target.value=0.9", "train.eval_samples=256",
    "measure=full", "measure.schedule=[0]", "study=what_predicts_speed", "report.formats=[csv]", "track.uri=null",
)  # fmt: skip
USEFUL = 0.1  # skill below which a prediction would be of no use
ARRIVED = 0.8  # share of seeds


def predict() -> str:
    """The claim with its bound."""
    return (
        "skill on unseen initializers (1 - error of log steps / error of the setting's median) above 0 with its 95% "
        f"interval; refuted if the interval lies below {USEFUL:g}"
    )


def sweeps(quick: bool) -> dict[str, list[str]]:
    """Its one sweep, the same in quick: a minute."""
    return {"all": list(OVERRIDES)}


def measure(folder: Path) -> pd.DataFrame:
    """Score on all arms and on those that arrive (ours, not a claim), then every signal's rank correlation."""
    import initbench as ib

    return summary(ib.run([*OVERRIDES, f"outputs={folder}"], progress=False))


def summary(results: object) -> pd.DataFrame:
    """A row a score (`what` = score) and a row a signal (`what` = signal)."""
    found = foretell(results)
    arms = found.predicted.set_index("arm")
    arrive = arms["share"] >= ARRIVED
    among = judge(arms.loc[arrive, ["model", "median"]], arms[arrive])
    runs = results.runs[results.runs["arm"].astype(str).isin(arms.index[arrive])]  # type: ignore[attr-defined]
    only = foretell(SimpleNamespace(runs=runs, history=results.history)).score  # type: ignore[attr-defined]
    scores = [
        row("all arms", found.score),
        row("trained on all, judged on arms that arrive", among),
        row("trained and judged on arms that arrive", only),
    ]
    signals = found.signals.rename(columns={"signal": "name", "n": "arms"}).assign(what="signal")
    signals = signals.rename(columns={"low": "rho_low", "high": "rho_high"})
    return pd.concat([pd.DataFrame(scores), signals], ignore_index=True)


def row(name: str, score: Score) -> dict[str, object]:
    """One score as a row."""
    return {"what": "score", "name": name, **asdict(score)}


def verdict(measured: pd.DataFrame) -> Verdict:
    """From the score on all arms."""
    score = measured[(measured["what"] == "score") & (measured["name"] == "all arms")].iloc[0]
    word = "CONFIRMED" if score["skill_low"] > 0 else "REFUTED" if score["skill_high"] < USEFUL else "UNDECIDED"
    text = f"skill {score['skill']:+.2f} over {score['arms']:.0f} arms of {score['initializers']:.0f} initializers"
    return Verdict(word, text, f"95% interval {score['skill_low']:+.2f} to {score['skill_high']:+.2f}")


def size(measured: pd.DataFrame) -> str:
    """How many arms are foretold."""
    return f"{measured['arms'].max():.0f} arms"


BEST = 8  # signals on the page
FAST = {  # what fast nets have where a signal says so
    "log weight_spectral_norm slope": "norms that do not fall with depth",
    "log grad_norm first": "a gradient that reaches the first layer",
    "log jacobian_sv_max slope": "Jacobians that do not shrink",
    "unit_correlation last": "units that differ",
    "log backward_msq first": "a gradient that reaches the first layer",
    "activation_participation_ratio mean": "many directions in use",
}


def page(measured: pd.DataFrame) -> str:
    """The result as Markdown: what stands in README.md."""
    said = verdict(measured)
    lines = [
        f"**Verdict: {said.word}.** {said.measured} ({said.interval}).",
        "",
        "| trained on / judged on | arms | initializers | error | median's error | skill | 95% interval | Spearman | 95% interval |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in measured[measured["what"] == "score"].itertuples():
        lines.append(
            f"| {one.name} | {one.arms:.0f} | {one.initializers:.0f} | {one.error:.3f} | {one.error_of_median:.3f} | "
            f"{one.skill:+.2f} | {one.skill_low:+.2f} to {one.skill_high:+.2f} | {one.rho:.2f} | "
            f"{one.rho_low:.2f} to {one.rho_high:.2f} |"
        )
    signals = measured[measured["what"] == "signal"].head(BEST)
    lines += [
        "",
        f"Rank correlation of single signals with the steps, within settings (95% intervals over initializers; the {len(signals)} "
        "strongest of all in `results/summary.csv`, so the first looks better than it is):",
        "",
        "| signal at step 0 | arms | rho | 95% interval | fast nets have |",
        "|---|---|---|---|---|",
    ]
    for one in signals.itertuples():
        lines.append(
            f"| {one.name} | {one.arms:.0f} | {one.rho:+.2f} | {one.rho_low:+.2f} to {one.rho_high:+.2f} | {FAST.get(one.name, '')} |"
        )
    return "\n".join(lines)
