"""Claims about scaling, sharing by hashing and subspaces, and two starts: data in which each is true, false, or too few."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from claims_frames import check_analysis, every_step, history_of, measured, nets, noise, race

RATES = [2.0**-k for k in range(12, 4, -1)]


def least_at(runs, best):
    """A training loss that is smallest at the rate `best(row)`."""
    off = [abs(np.log2(row["optim.lr"] / best(row))) for row in runs.to_dict("records")]
    return runs.assign(**{"loss/train": 0.1 + np.array(off)})


def mup_data(true, n):
    runs = nets(n, **{"model.parametrization": ["standard", "mup"], "model.width": [64, 256, 1024], "optim.lr": RATES})

    def wider(row):
        return row["model.width"] / 64 if (row["model.parametrization"] == "mup") != true else 1.0

    runs = least_at(runs, lambda row: 2.0**-6 / wider(row))

    def change(row):
        return [1.0, *[wider(row) ** 2 * (1 + noise(row, 0.01))] * 3]

    return runs, measured(runs, {"activation_change_msq": change}, step=3)


def depth_lr_data(true, n):
    cube, fall = (3.0, -1.5) if true else (1.0, -0.5)
    step = nets(n, sweep=["step"], **{"model.depth": [4, 8, 16, 32], "optim.lr": [1e-5, 2e-5]})
    rates = [2.0**-k for k in np.arange(0, 9, 0.5)]
    train = nets(n, sweep=["train"], **{"model.depth": [4, 8, 16, 32], "optim.lr": rates})
    shift = np.exp(np.random.default_rng(0).normal(0, 0.01, n))
    train = least_at(train, lambda row: 0.5 * (row["model.depth"] / 4) ** fall * shift[row["seed"]])
    power = 2.0 if true else 1.0

    def change(row):
        size = row["optim.lr"] ** power * row["model.depth"] ** cube * (1 + noise(row, 0.02))
        return [size] * int(row["model.depth"])

    return pd.concat([step, train], ignore_index=True), measured(step, {"activation_change_msq": change}, step=1)


def rezero_data(true, n):
    factor = 0.08 if true else 1.4
    runs, history = race(
        {"rezero": (factor, {"model.name": "residual_mlp"}), "plain": (1.0, {"model.name": "mlp"})},
        n,
        [("mnist1d", "relu", 33)],
    )
    return runs, history


def hashed_data(true, n):
    rows = []
    for seed, lr, (ratio, width) in product(range(n), (0.01, 0.03), ((1 / 32, 8), (1 / 64, 4))):
        narrow = f"kaiming_normal · none(width {width}, weights of hashed)"
        for setup, wide in (("kaiming_normal · hashed", 256), (narrow, width)):
            gain = (0.02 if width == 8 else 0.08) if true else (-0.02 if width == 8 else -0.08)
            own = 0.9 + (gain if wide == 256 else 0.0) + np.random.default_rng([seed, wide]).normal(0, 0.005)
            worse = 0.3 if lr == 0.03 else 0.0  # the other rate trains worse, and would generalize better
            rows.append((f"{seed}-{lr}-{ratio}-{wide}", seed, lr, ratio, wide, setup, 0.1 + worse, own + worse))
    names = ["run", "seed", "optim.lr", "sharing.ratio", "model.width", "setup", "loss/train", "accuracy/val"]
    runs = pd.DataFrame(rows, columns=names)
    return runs.assign(**{"sharing.name": np.where(runs["model.width"] == 256, "hashed", "none")}), history_of([])


def intrinsic_data(true, n):
    sizes = {"data.name": ["digits"], "model.width": [32, 64, 128], "model.depth": [2, 4], "optim.lr": [0.1]}
    free = nets(n, **{"sharing.name": ["none"]}, **sizes).assign(**{"accuracy/val": 1.0, "sharing.dimension": 100})
    few = nets(n, **{"sharing.name": ["intrinsic"], "sharing.dimension": [8, 32, 128, 512, 2048, 8192]}, **sizes)

    def reached(row):
        middle = 50.0 if true else 800.0 * (row["model.width"] / 32)
        return 0.9 + 0.2 * np.log(row["sharing.dimension"] / middle) / np.log(100) + noise(row, 0.002)

    few["accuracy/val"] = [float(np.clip(reached(row), 0, 1)) for row in few.to_dict("records")]
    return pd.concat([free, few], ignore_index=True).assign(**{"loss/train": 0.1}), history_of([])


def edge_data(true, n):
    factors = {0.05: 1.0, 0.7645760065681699: 1.0, 4.0: 1.6, 16.0: 2.5}
    if not true:
        factors |= {0.05: 1.6, 4.0: 0.6, 16.0: 0.5}
    setups = {str(q): (factor, {"init.q": q}) for q, factor in factors.items()}
    return race(setups, n, [("digits", "tanh", 10), ("digits", "tanh", 20), ("mnist1d", "tanh", 10)])


def upstream_data(true, n):
    cells = [("digits", phi, depth) for phi in ("relu", "linear") for depth in (1, 3)]
    setups = {
        "up": (0.5 if true else 1.5, {"init.relative": 1 / 3}),
        "even": (1.0, {"init.relative": 1.0}),
    }
    runs, _ = race(setups, n, cells)
    rows = []
    for row in runs.to_dict("records"):
        more = (row["model.activation"] == "relu") == true
        size = (2.0 if more else 0.5) if row["init.relative"] < 1 else 1.0
        rows += [(row["run"], step, "kernel_change", None, size * (1 + noise(row, 0.02))) for step in (5, 300)]
    history = every_step(runs, ["setup", "model.activation", "model.depth"])
    return runs, pd.concat([history, history_of(rows)], ignore_index=True)


# (data, n that is enough, n that is too little)
DATA = {
    "mup": (mup_data, 12, 7),
    "depth-lr": (depth_lr_data, 12, 7),
    "rezero": (rezero_data, 20, 7),
    "hashed": (hashed_data, 20, 7),
    "intrinsic-dimension": (intrinsic_data, 10, 7),
    "edge-saturation": (edge_data, 20, 7),
    "upstream": (upstream_data, 20, 7),
}


@pytest.mark.parametrize("slug", DATA)
def test_an_analysis_confirms_what_is_true_refutes_what_is_false_and_says_nothing_of_too_little(slug):
    check_analysis(slug, *DATA[slug])
