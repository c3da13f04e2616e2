"""The block "Why" of the report: its numbers against SciPy and the engine, its figures on a real and on a bare study."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

import initbench as ib
from frames import make_study
from initbench import report, theory
from initbench.overrides.expand import expand
from initbench.report import why
from initbench.report.figures.why import bounds, ticks
from initbench.report.source import Source
from initbench.study.plan import planned


def test_mean_and_interval_are_scipys_on_the_log_scale():
    values = np.random.default_rng(0).lognormal(size=(9, 3))
    values[2, 1] = np.nan
    mean, low, high = why.mean_interval(values)
    for k in range(3):
        known = values[:, k][np.isfinite(values[:, k])]
        relative = scipy_stats.sem(known) / known.mean()  # the standard error of the log of the mean
        expected = np.exp(scipy_stats.t.interval(0.95, len(known) - 1, np.log(known.mean()), relative))
        assert (mean[k], low[k], high[k]) == pytest.approx((known.mean(), *expected))
    alone = why.mean_interval(np.ones((1, 2)))
    assert alone[0].tolist() == [1.0, 1.0]
    assert np.isnan(alone[1]).all()


def test_backward_theory_hangs_on_the_measured_top():
    assert why.predicted_backward([2.0, None, 0.5], np.array([1, 1, 1, 8.0])) == [None, None, 4.0, 8.0]
    assert why.predicted_backward(None, np.ones(2)) is None
    assert why.predicted_backward([2.0], np.array([1.0, np.nan])) is None


def test_axes_hold_what_they_show():
    low, top = bounds([1e-40, 3.0, np.nan, 0.0])
    assert low == pytest.approx(top / 1e12)
    assert top > 3
    assert bounds([]) == (0.1, 10.0)
    assert ticks(np.arange(3)) == [0, 1, 2]


def test_a_study_shows_flow_theory_alignment_and_spectra(folder):
    overrides = ["init=kaiming_normal", "sharing=none,all", "model.depth=3", "model.width=8", "seeds=3", "optim.lr=[0.1]",
                 "train.steps=4", "measure=full", "track.uri=null", "engine.workers=1", "study=s"]  # fmt: skip
    results = ib.run(overrides)
    stored = json.loads((folder / "outputs/s/study.json").read_text())["arms"]
    assert {arm["sharing"]: arm["theory"] is None for arm in stored} == {"none": False, "all": True}
    arm = planned(expand(overrides)[0])
    assert stored[0]["theory"] == theory.predictions(arm.config, arm.layers, arm.scheme, arm.data)

    source = report.open_source(folder / "outputs/s")
    runs = source.chosen[source.chosen["arm"] == stored[0]["label"]]
    flow = why.flow_of(source, runs)["preactivation_msq"]
    rows = results.history[(results.history["metric"] == "preactivation_msq") & (results.history["step"] == 0)]
    rows = rows[rows["run"].astype(str).isin(runs["run"].astype(str)) & (rows["layer"] == 2)]
    assert flow["mean"][2] == pytest.approx(rows["value"].mean())
    assert flow["theory"] == stored[0]["theory"]["preactivation_msq"]
    assert sorted(flow["later"]) == [3, 4]

    page = (folder / "outputs/s/report.html").read_text()
    section = re.search(r'<section id="why".*?</section>', page, re.DOTALL).group(0)
    assert section.count("<svg") == 3
    for words in ("Signals by layer", "Do the uses of a shared weight agree?", "Jacobian spectra at step 0"):
        assert words in section
    before = {name: (folder / "outputs/s" / name).read_bytes() for name in ("report.html", "report.md")}
    report.build(folder / "outputs/s")
    assert {name: (folder / "outputs/s" / name).read_bytes() for name in before} == before


def test_a_study_without_these_measures_has_no_such_block(tmp_path):
    runs, history, study = make_study(arms=[("eye", "none"), ("orthogonal", "all")], seeds=3, steps=30)
    source = Source(runs, history, study, tmp_path, ("accuracy/train", 0.95))
    names = {"eye · none": "eye"}
    assert why.flow_panels(source, source.chosen, names) == []
    assert why.spectrum_panels(source, source.chosen, names) == []
    assert why.alignment_of(source, source.chosen)[0].empty


def test_sentences_name_the_extremes():
    def panel(first):
        return {"backward_msq": {"mean": np.array([first, 1.0])}}

    text = "".join(why.about_flow([("a", panel(0.25)), ("b", panel(1e-4))]))
    assert (
        text
        == "At the start the root mean square of the gradient at the first layer is 0.5 of that at the output for a, 0.01 for b."
    )
    frame = pd.DataFrame({"arm": ["x", "x", "y", "y"], "step": [0, 9, 0, 9], "median": [0.9, 0.2, 0.5, 0.5]})
    text = "".join(why.about_alignment({"x": "X", "y": "Y"}, frame, {"x": 0.5, "y": 0.5}))
    assert "from 0.90 to 0.20 in X (0.50 would be" in text
