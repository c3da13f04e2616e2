"""`python -m initbench.predict`: against SciPy, where the answer is known, where there is none, and where it could cheat."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from frames import INITS, make_study
from initbench import predict
from initbench.errors import InputError
from initbench.reproduce import analysis, experiments_folder
from initbench.study.results import Results


def made(truth, seed=0, inits=14, settings=4, noise=0.05, signals=6):
    """(signals, arms): log steps = setting + truth(init, x) + noise; signal 0 is what truth sees."""
    draw = np.random.default_rng(seed)
    own = draw.standard_normal((inits, signals))
    rows, x = [], []
    for s in range(settings):
        for i in range(inits):
            values = own[i] + 0.3 * draw.standard_normal(signals)
            x.append(values)
            rows.append({"init": f"i{i}", "setting": f"s{s}", "share": 1.0,
                         "log_steps": 4 + s + truth(i, values) + noise * draw.standard_normal()})  # fmt: skip
    index = pd.Index([f"a{k}" for k in range(len(rows))], name="arm")
    return pd.DataFrame(x, index=index).add_prefix("x"), pd.DataFrame(rows, index=index)


def test_what_is_foretold_is_found():
    x, arms = made(lambda i, values: 0.7 * values[0])
    score = predict.judge(predict.held_out(x, arms), arms)
    assert score.skill > 0.5
    assert score.skill_low > 0.3
    assert score.rho_low > 0.7
    assert predict.verdict(score).startswith("Step-0 signals predict speed")
    table = predict.correlations(x, arms)
    assert table["signal"][0] == "x0"
    assert table["low"][0] > 0.8


def test_where_there_is_nothing_nothing_is_found():
    """Steps that depend on the initializer alone, not on its signals: in-sample they fit, held out they must not."""
    words = []
    for seed in range(3):
        luck = np.random.default_rng(100 + seed).standard_normal(14)
        x, arms = made(lambda i, values, luck=luck: 0.7 * luck[i], seed=seed)
        score = predict.judge(predict.held_out(x, arms), arms)
        assert score.skill < 0.25
        words.append(predict.verdict(score))
    assert sum(word.startswith("Step-0 signals predict") for word in words) == 0


def test_a_signal_that_names_the_initializer_helps_nobody():
    """A code number of each initializer: what a model that saw the held-out one would exploit."""
    luck = np.random.default_rng(7).standard_normal(14)
    arms = made(lambda i, values: luck[i])[1]
    names = pd.get_dummies(arms["init"]).astype(float)
    score = predict.judge(predict.held_out(names, arms), arms)
    assert abs(score.skill) < 0.1
    assert not predict.verdict(score).startswith("Step-0 signals predict")


def test_the_median_is_of_the_others():
    x, arms = made(lambda i, values: 0.0, inits=5, settings=2)
    predicted = predict.held_out(x, arms)
    others = arms[(arms["setting"] == "s0") & (arms["init"] != "i0")]
    row = arms.index[(arms["setting"] == "s0") & (arms["init"] == "i0")][0]
    assert predicted.loc[row, "median"] == pytest.approx(others["log_steps"].median())
    with pytest.raises(InputError, match="at least 5"):
        predict.held_out(x[arms["init"] < "i4"], arms[arms["init"] < "i4"])


def test_rho_is_scipys_within_settings():
    x, arms = made(lambda i, values: 0.4 * values[1], noise=0.5)
    table = predict.correlations(x, arms, resamples=200).set_index("signal")
    for name in x:
        a = x[name] - x.groupby(arms["setting"])[name].transform("median")
        b = arms["log_steps"] - arms.groupby("setting")["log_steps"].transform("median")
        assert table.loc[name, "rho"] == pytest.approx(scipy_stats.spearmanr(a, b).statistic)
    weights = np.array([[1.0, 2, 0, 1, 3]])
    a, b = np.array([1.0, 4, 9, 2, 0]), np.array([2.0, 3, 7, 5, 1])
    repeated = np.repeat(np.arange(5), weights[0].astype(int))
    expected = np.corrcoef(a[repeated], b[repeated])[0, 1]
    assert predict.weighted_correlation(a, b, weights)[0] == pytest.approx(expected)


def test_features_by_hand():
    rows = []
    for run, scale in (("r0", 1.0), ("r1", 3.0), ("r2", 100.0)):
        for step in (0, 5):
            rows += [(run, step, "grad_norm", layer, scale * 10.0**layer * (1 + step)) for layer in range(3)]
            rows += [(run, step, "dead_fraction", 0, 0.25), (run, step, "loss/train", None, 10.0)]
    history = pd.DataFrame(rows, columns=["run", "step", "metric", "layer", "value"])
    history["layer"] = history["layer"].astype("Int16")
    runs = pd.DataFrame({"run": ["r0", "r1", "r2"], "arm": ["a", "a", "b"]})
    x = predict.features(history, runs)
    assert x.loc["a", "log grad_norm first"] == pytest.approx(np.log10(2))  # the median of 1 and 3
    assert x.loc["a", "log grad_norm last"] == pytest.approx(np.log10(200))
    assert x.loc["a", "log grad_norm slope"] == pytest.approx(1)
    assert x.loc["b", "log grad_norm mean"] == pytest.approx(3)
    assert x.loc["b", "dead_fraction first"] == 0.25
    assert "dead_fraction slope" not in x
    assert x.loc["b", "log loss"] == pytest.approx(1)


def study(tmp_path, **changes) -> Results:
    runs, history, content = make_study(seeds=4, steps=300, layer_metrics=("grad_norm", "activation_msq"), **changes)
    return Results(runs, history, content, tmp_path / "study")


def test_never_arrived_counts_as_the_budget(tmp_path):
    results = study(tmp_path, arms=[("eye", "none"), ("normal_001", "none")])
    arms = predict.outcomes(results.runs)
    assert arms.loc["normal_001 · none", "log_steps"] == pytest.approx(np.log(300), abs=1e-6)
    assert arms.loc["normal_001 · none", "share"] == 0
    best = results.runs[(results.runs["init.name"] == "eye")].groupby("optim.lr")["steps_to_target"]
    assert arms.loc["eye · none", "log_steps"] == pytest.approx(
        np.log(best.apply(lambda t: np.log(t).mean()).pipe(np.exp).min())
    )


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = study(tmp_path)
    results.save()
    assert predict.main(["study", "--json", "score.json", "--csv", "held_out.csv"]) == 0
    printed = capsys.readouterr().out
    assert "8 initializers in 1 setting" in printed
    assert "skill " in printed
    content = json.loads((tmp_path / "score.json").read_text())
    assert content["verdict"] in printed
    assert len(pd.read_csv(tmp_path / "held_out.csv")) == 16
    again = predict.predict(results)
    assert again.score.skill == content["score"]["skill"]  # the same study, the same numbers


def test_wrong_input_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert predict.main(["nowhere"]) == 2
    assert capsys.readouterr().err.startswith("initbench.predict: nowhere: no such folder")
    results = study(tmp_path, arms=[("eye", "none"), ("orthogonal", "none")])
    with pytest.raises(InputError, match="2 initializers"):
        predict.predict(results)
    never = SimpleNamespace(runs=results.runs.assign(steps_to_target=np.nan), history=results.history)
    with pytest.raises(InputError, match="no speed to predict"):
        predict.predict(never)
    blind = SimpleNamespace(runs=results.runs, history=results.history[results.history["step"] > 0])
    with pytest.raises(InputError, match="measure=full"):
        predict.predict(blind)


def test_the_study_can_fail():
    """The analysis of experiments/what_predicts_speed, fed with scores in which the claim is false, or open."""
    study = analysis("what_predicts_speed")

    def word(low, high):
        row = {"what": "score", "name": "all arms", "skill": (low + high) / 2, "skill_low": low, "skill_high": high,
               "arms": 9, "initializers": 5}  # fmt: skip
        return study.verdict(pd.DataFrame([row])).word

    assert word(0.1, 0.4) == "CONFIRMED"
    assert word(-0.2, 0.05) == "REFUTED"
    assert word(-0.2, 0.3) == "UNDECIDED"
    stored = pd.read_csv(experiments_folder() / "what_predicts_speed/results/summary.csv")
    assert study.verdict(stored).word == "CONFIRMED"
    assert len(study.INITS.split(",")) >= 25


def test_the_study_summarizes_what_predict_says(tmp_path):
    results = study(tmp_path, arms=[(init, "none") for init in INITS if init != "normal_001"])
    table = analysis("what_predicts_speed").summary(results)
    score = table[table["name"] == "all arms"].iloc[0]
    assert score["skill"] == predict.predict(results).score.skill
    assert set(table["what"]) == {"score", "signal"}
