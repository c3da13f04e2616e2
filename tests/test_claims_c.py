"""Claims of examples, of data, of sampled starts and of sharing: each analysis confirms data in which its claim is true,
refutes data in which it is false, and says nothing of too few."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from claims_frames import FAMILY, check_analysis, every_step, history_of, made_runs, nets, noise, race
from initbench import reproduce


def sklearn_digits_data(true, n):
    module = reproduce.analysis("sklearn-digits")
    runs = nets(n, **{"optim.name": list(module.PRINTED)}).assign(**{"optim.weight_decay": 0.2})
    rows, scores = [], []
    for row in runs.to_dict("records"):
        score, loss = module.PRINTED[row["optim.name"]]
        scores.append(score - (0 if true else 0.02) + noise(row, 0.003))
        loss *= (1 if true else 1.5) * (1 + noise(row, 0.05, 1))
        for step in (0, *module.EPOCH):  # .1 |W|^2 = .002; another epoch's loss is not looked at
            rows += [(row["run"], step, "weight_norm", layer, 0.1) for layer in (0, 1)]
            rows.append((row["run"], step, "loss/batch", None, loss - 0.002 if step else 9.0))
    return runs.assign(**{"accuracy/train": scores}), history_of(rows)


def mnist1d_shuffle_data(true, n):
    runs = nets(n, **{"data.order": [None, "shuffled"]})
    runs["accuracy/val"] = [
        0.68
        + (row["seed"] % 5) * 0.005
        - (0 if true else 0.1 if row["data.order"] == "shuffled" else 0.06)
        + noise(row, 0.005)
        for row in runs.to_dict("records")
    ]
    return runs, history_of([])


def swim_start_data(true, n):
    cells = [(data, phi, depth) for data in ("digits", "mnist1d") for phi in ("relu", "tanh") for depth in (1, 3)]
    fast = 0.5 if true else 1.3
    return race(
        {
            "swim": (fast, {"init.name": "swim", "init.last": "least_squares"}),
            "last": (fast, {"init.name": "swim", "init.last": "kaiming_normal"}),
            "kaiming_normal": (1.0, {"init.name": "kaiming_normal", "init.last": None}),
        },
        n,
        cells,
    )


def recall_data(true, n):
    cells = [(data, phi, depth) for data in ("digits", "mnist1d") for phi in ("relu", "tanh") for depth in (4, 12)]
    factors = {"all": 1.5, "input_injection": 0.4 if true else 2.0}
    return race({name: (factor, {"sharing.name": name}) for name, factor in factors.items()}, n, cells)


def adjacent_sharing_data(true, n):
    frames = []
    for model in ("mlp", "residual_mlp"):
        for name, factor, depths in (("none", 1.0, (4, 7)), ("pairs", 0.5 if true else 1.0, (7, 13))):
            cells = [(data, "relu", depth) for data in ("digits", "mnist1d") for depth in depths]
            given = {"factor": factor, "sharing.name": name, "model.name": model}
            runs = made_runs({name: given}, n, cells)
            frames.append(runs.assign(run=runs["run"] + model))
    runs = pd.concat(frames, ignore_index=True)
    return runs, every_step(runs, ["setup", "data.name", "model.depth", "model.name"])


# (data, n that is enough, n that is too little)
DATA = {
    "sklearn-digits": (sklearn_digits_data, 40, 7),
    "mnist1d-shuffle": (mnist1d_shuffle_data, 20, 7),
    "swim-start": (swim_start_data, 20, 7),
    "recall": (recall_data, 20, 7),
    "adjacent-sharing": (adjacent_sharing_data, 20, 7),
}


@pytest.mark.parametrize("slug", DATA)
def test_an_analysis_confirms_what_is_true_refutes_what_is_false_and_says_nothing_of_too_little(slug):
    check_analysis(slug, *DATA[slug])


def test_the_range_of_seeds_is_told_with_its_middle():
    table = reproduce.analysis("sklearn-digits").analyse(*sklearn_digits_data(True, 40), FAMILY)
    assert (table["least"] < table["predicted"]).all()
    assert (table["predicted"] < table["most"]).all()
    assert np.allclose(table["ratio"], [0.992766, 0.041297, 0.993879, 0.042898, 0.956038, 0.243802])
