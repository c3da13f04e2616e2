"""Claims about linear nets, exact starts and what sharing does to the size of a step: each analysis confirms data in which its claim
is true, refutes data in which it is false, and says nothing of too few, or of runs without a value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from claims_frames import RATES, check_analysis, history_of, made_runs, nets, noise
from initbench import reproduce, theory

# computed independently of the analyses
FLOW = {0.5: (0.693, 0.488, 0.2785, 0.1373), 0.8: (0.682, 0.475, 0.2725, 0.1371)}  # v -> ratios for k = 2, 3, 5, 9
STARTS = ((0.01, 0.125, 1 / 3, 0.5, 1, 2, 5), (2.3071, 2.358, 2.450, 2.520, 2.727, 3.108, 4.061))  # q, loss
GROWTH = {  # for N = 4, 8, 16, 32
    ("inv_sqrt_depth", "none"): (2.441, 2.566, 2.638, 2.677),
    ("inv_sqrt_depth", "all"): (7.50, 28.67, 222.9, 4687.0),
    ("inv_depth", "none"): (1.2744, 1.1325, 1.0644, 1.0317),
    ("inv_depth", "all"): (2.145, 2.204, 2.239, 2.259),
}


def saxe_modes_data(true, n):
    module = reproduce.analysis("saxe-modes")
    runs = nets(max(n, 1), **{"model.depth": [1, 2, 4, 9], "optim.lr": [0.0015, 0.003]})
    rows = []
    for row in runs.to_dict("records"):
        for mode, s in enumerate(module.MODES):
            for time in (0.0, 1.0, 3.0, 9.0):
                curve = float(theory.mode_curve(np.array([time]), s, module.START, 1.0, row["model.depth"] + 1)[0])
                off = 0.001 * s * row["optim.lr"] / 0.0015 if true else 0.05 * s
                step = round(time * 3 / (2 * row["optim.lr"]))
                rows.append((row["run"], step, "mode_strength", mode, curve + off if n else np.nan))
    return runs, history_of(rows)


def tied_speed_data(true, n):
    rows = []
    for v, ratios in FLOW.items():
        for k, ratio in zip((2, 3, 5, 9), ratios):
            for sharing, how, steps in (("none", "sum", 1.0), ("all", "sum", ratio), ("all", "mean", 1.0)):
                wrong = 1.0 if true or sharing == "none" else 1.05
                rows.append([f"{v}{k}{sharing}{how}", v, k + 1, sharing, how, 10_000 * steps * wrong if n else np.nan])
    columns = ["run", "init.value", "model.depth", "sharing.name", "sharing.reduce", "steps_to_target"]
    return pd.DataFrame(rows, columns=columns), history_of([])


def balance_law_data(true, n):
    nets_of = {"model.activation": ["relu", "leaky_relu", "linear", "tanh"]}
    exact = nets(n, sweep=["exact"], **nets_of, **{"sharing.name": ["all", "none"], "optim.lr": [0.05]})
    drift = nets(n, sweep=["drift"], **nets_of, **{"sharing.name": ["all"], "optim.lr": [0.01, 0.005, 0.0025]})
    rows = []
    for row in exact.to_dict("records"):
        k = {0: 1, 1: 4, 5: 1} if row["sharing.name"] == "all" else dict.fromkeys(range(6), 1)
        equal = (row["model.activation"] != "tanh") == true
        for layer, uses in k.items():
            square = 10.0 + layer
            for step in range(4):
                product = uses * (0.3 if equal else 0.3 + 0.1 * layer)
                rows += [
                    (row["run"], step, "weight_norm", layer, np.sqrt(square)),
                    (row["run"], step, "weight_grad_product", layer, product),
                    (row["run"], step, "grad_norm", layer, 2.0),
                ]
                square += -2 * 0.05 * product + 0.05**2 * 4 + (0 if true else 1e-6)
    for row in drift.to_dict("records"):
        power = 1 if (row["model.activation"] != "tanh") == true else 0
        moved = row["optim.lr"] ** power * (1 + noise(row, 0.01))
        for step, more in ((0, 0.0), (400, moved)):
            rows += [
                (row["run"], step, "weight_norm", 0, 2.0),
                (row["run"], step, "weight_norm", 1, np.sqrt(16 + more)),
            ]
    return pd.concat([exact, drift], ignore_index=True), history_of(rows)


def looks_linear_data(true, n):
    depths = {"model.depth": [10, 50]}
    mirrored = nets(n, **{"init.name": ["looks_linear"], **depths, "model.dtype": ["float32", "float64"]})
    plain = nets(n, **{"init.name": ["orthogonal_relu"], **depths, "model.dtype": ["float64"]})
    runs = pd.concat([mirrored, plain], ignore_index=True)
    rows = []
    for row in runs.to_dict("records"):
        off = (1e-12 if true else 1e-3) * (1 + abs(noise(row, 0.1)))
        ends = (1 - off, 1 + off)
        if row["init.name"] != "looks_linear":
            ends = (0.01 if true else 0.9, 1.0 + noise(row, 0.01))
        for layer in (0, row["model.depth"]):
            rows += [(row["run"], 0, f"input_jacobian_sv_{end}", layer, v) for end, v in zip(("min", "max"), ends)]
    return runs, history_of(rows)


def loss_at_start_data(true, n):
    of = {"data.name": ["teacher"]}
    scales = {"init.name": ["variance_scaling"], "init.scale": list(np.sqrt([0.01, 1 / 3, 1, 2, 5]))}
    starts = {"init.name": ["kaiming_normal", "lecun_normal"]}
    parts = [
        nets(n, **of, **{"model.activation": ["linear"], "model.depth": [1], **scales}),
        nets(n, **of, **{"model.activation": ["relu"], "model.depth": [1, 3], **starts}),
        nets(n, **of, **{"model.activation": ["relu", "tanh"], "model.depth": [3], "init.name": ["zero_head"]}),
    ]
    for activation, init in (("relu", "kaiming_normal"), ("linear", "lecun_normal")):
        keys = {"model.activation": [activation], "model.depth": [3], "init.name": [init]}
        parts.append(nets(n, **{"data.name": ["digits"]}, **keys))
    runs = pd.concat(parts, ignore_index=True)

    def loss(row):
        if row["init.name"] == "zero_head":
            return np.log(10) + (0 if true else 0.01)
        if row["data.name"] == "digits":
            return np.log(10) * (1.3 if true else 1.02) + noise(row, 0.01)
        halved = 1 if row["init.name"] == "kaiming_normal" else 0.5 ** row["model.depth"]
        q = row["init.scale"] ** 2 if row["init.name"] == "variance_scaling" else 2.0 if halved == 1 else halved
        return np.interp(q, *STARTS) * (1 if true else 1.05) + noise(row, 0.01)

    return runs.assign(**{"loss/train": [loss(row) for row in runs.to_dict("records")]}), history_of([])


def saxe_depth_data(true, n):
    cells = [("linear", "linear", depth) for depth in (2, 4, 8, 16, 32)]
    cells += [("digits", "linear", depth) for depth in (2, 4, 8, 16)]
    runs = made_runs({name: {"factor": 1.0, "init.name": name} for name in ("orthogonal", "lecun_normal")}, n, cells)

    def steps(row):
        grows = (row["init.name"] == "lecun_normal") == true
        return 8.0 * row["model.depth"] if grows else 20.0 if true else 100.0

    slow = runs["optim.lr"].map(RATES)
    exact = np.array([steps(row) * np.exp(noise(row, 0.02)) for row in runs.to_dict("records")])
    runs = runs.assign(steps_to_target=np.ceil(exact * slow))
    if true:
        runs["optim.lr"] = runs["optim.lr"] / (runs["model.depth"] + 1)
    firsts = runs.drop_duplicates(["setup", "data.name", "model.depth"])["run"]
    return runs, history_of([(run, step, "loss/train", None, 0.5) for run in firsts for step in range(301)])


def looped_residual_data(true, n):
    rules = {"model.residual": ["inv_sqrt_depth", "inv_depth"]}
    start = nets(n, sweep=["start"], **rules, **{"sharing.name": ["all", "none"], "model.depth": [5, 9, 17, 33]})
    trained = nets(n, sweep=["training"], **rules, **{"model.depth": [5, 9, 17], "optim.lr": [0.25, 0.5, 1.0]})
    rows = []
    for row in start.to_dict("records"):
        loops = row["model.depth"] - 1
        grown = GROWTH[row["model.residual"], row["sharing.name"]][row["model.depth"].bit_length() - 3]
        grown *= (1 if true else 1.3) * (1 + noise(row, 0.01))
        rows += [(row["run"], 0, "preactivation_msq", 0, 2.0), (row["run"], 0, "preactivation_msq", loops, 2.0 * grown)]

    def steps(row):
        falls = (row["model.residual"] == "inv_sqrt_depth") == true
        best = 4 / (row["model.depth"] - 1) if falls else 0.5
        return 20 * np.exp(abs(np.log(row["optim.lr"] / best)) + noise(row, 0.05))

    trained = trained.assign(steps_to_target=[steps(row) for row in trained.to_dict("records")])
    return pd.concat([start, trained], ignore_index=True), history_of(rows)


# (data, n that is enough, n that is too little); 0: no run has a value
DATA = {
    "saxe-modes": (saxe_modes_data, 1, 0),
    "tied-speed": (tied_speed_data, 1, 0),
    "balance-law": (balance_law_data, 12, 3),
    "looks-linear": (looks_linear_data, 12, 3),
    "loss-at-start": (loss_at_start_data, 20, 3),
    "saxe-depth": (saxe_depth_data, 12, 3),
    "looped-residual": (looped_residual_data, 12, 3),
}


@pytest.mark.parametrize("slug", DATA)
def test_an_analysis_confirms_what_is_true_refutes_what_is_false_and_says_nothing_of_too_little(slug):
    check_analysis(slug, *DATA[slug])
