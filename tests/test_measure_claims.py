"""Seven formula claims of the literature, out of the public commands at step 0 or after a few steps; no special code.

The sizes of the claims themselves are marked `long`; the suite runs smaller ones with the same statements.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

import initbench as ib
from initbench import data, theory

QUIET = ["sharing=none", "optim.lr=0.1", "train.steps=0", "train.target=null", "train.eval_samples=64", "optim.batch_size=1", "track.uri=null",
         "report.formats=[csv]", "engine.workers=1"]  # fmt: skip


def run(folder, *overrides: str) -> dict[str, np.ndarray]:
    """One arm of a command: metric -> (seeds, steps, layers), whole-net metrics (seeds, steps)."""
    chosen = [o for o in QUIET if o.split("=")[0] not in {text.split("=")[0] for text in overrides}]
    results = ib.run([*chosen, *overrides, f"outputs={folder}"])
    assert results.runs["arm"].nunique() == 1
    seed_of = dict(zip(results.runs["run"], results.runs["seed"]))
    history = results.history.assign(seed=results.history["run"].map(seed_of).astype(int))
    out = {}
    for metric, part in history.groupby("metric", observed=True):
        layers = part["layer"].fillna(-1).astype(int)
        table = part.assign(layer=layers).sort_values(["seed", "step", "layer"])["value"].to_numpy(float)
        shape = (part["seed"].nunique(), part["step"].nunique(), layers.nunique())
        out[str(metric)] = table.reshape(shape if part["layer"].notna().any() else shape[:2])
    return out


def inside(values: np.ndarray, low: float, high: float, level: float = 0.99) -> bool:
    """Whether the t interval of the mean over seeds lies inside [low, high]."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    t = scipy_stats.t.ppf((1 + level) / 2, len(values) - 1)
    return bool(low <= values.mean() - t * error and values.mean() + t * error <= high)


def wilson(k: int, n: int) -> tuple[float, float]:
    found = scipy_stats.binomtest(k, n).proportion_ci(0.99, "wilson")
    return found.low, found.high


# ------------------------------------------------------------------------------------------------- mean field


DEPTH = 14


def mean_field(folder, w2: float, seeds: int) -> dict[str, np.ndarray]:
    """Over seeds: q and c minus their mean-field values by layer (q relative), and ln chi_1 over its own."""
    b2, c, width = 0.05, 0.3, 400
    found = run(
        folder, "init=variance_scaling", f"init.scale={w2}", f"init.bias={{rule: normal, std: {b2**0.5}}}",
        "model.activation=tanh", f"model.width={width}", f"model.depth={DEPTH}", f"seeds={seeds}", "model.dtype=float64",
        "data=points", f"data.inputs={width}", "data.samples=40", f"data.correlation={c}",
        "measure.metrics=[preactivation_msq,preactivation_cosine,backward_msq]",
    )  # fmt: skip
    q = w2 + b2
    qs, cs = [q], [(w2 * c + b2) / q]
    for _ in range(DEPTH - 1):
        cs.append(theory.correlation_map("tanh", cs[-1], qs[-1], w2, b2))
        qs.append(theory.length_map("tanh", qs[-1], w2, b2))
    slope = math.log(theory.chi("tanh", theory.length_fixed_point("tanh", w2, b2), w2))
    logs = np.log(found["backward_msq"][:, 0])
    # from where lengths have arrived at q* up to where the loss's gradient still depends on the forward signal
    low, high = 7, DEPTH - 2
    return {
        "q": found["preactivation_msq"][:, 0, :DEPTH] / qs - 1,
        "c": found["preactivation_cosine"][:, 0, :DEPTH] - cs,
        "slope": (logs[:, low] - logs[:, high]) / (high - low) / slope - 1,
    }


def test_mean_field_small(folder):
    """Poole 2016, Schoenholz 2017: means over 30 nets within 2%, .02 and 8%."""
    off = mean_field(folder, w2=1.3, seeds=30)
    assert np.abs(off["q"].mean(0)).max() < 0.02
    assert np.abs(off["c"].mean(0)).max() < 0.02
    assert abs(off["slope"].mean()) < 0.08


@pytest.mark.long
@pytest.mark.parametrize("w2", [1.0, 1.3, 2.5, 4.0])
def test_mean_field(folder, w2):
    """The claim: 99% intervals within 2% of q*, .02 of c in every layer, 5% of the slope.

    q* is over the layers that have arrived at it: one net's q scatters by 7% at width 400, so that in a single layer
    the interval of 200 nets alone is +-1.3% wide.
    """
    off = mean_field(folder, w2, seeds=200)
    assert inside(off["q"][:, 7:].mean(1), -0.02, 0.02)
    for layer in range(DEPTH):
        assert inside(off["c"][:, layer], -0.02, 0.02), ("c", layer)
    assert inside(off["slope"], -0.05, 0.05)


# ----------------------------------------------------------------------------------------------- glorot-back


def test_glorot_back(folder):
    """U(+-1/sqrt n), 5 x 1000 tanh: the signal shrinks by .577 +- .03 a layer, weight gradients are level within 1.2.

    Inputs of mean square .1: .577 is the factor of the near-linear range; at mean square 1 the first layers saturate a
    little and shrink by .47 to .57, as mean field says.
    """
    found = run(folder, "init=torch_default", "init.bias=zeros", "model.activation=tanh", "model.width=1000",
                "model.depth=5", "seeds=3", "data=points", "data.inputs=1000", "data.length=0.1", "data.samples=80", "measure.metrics=[backward_msq,grad_norm]")  # fmt: skip
    size = np.sqrt(found["backward_msq"][:, 0, :5])
    assert (size[:, :-1] / size[:, 1:]) == pytest.approx(0.577, abs=0.03)
    gradients = found["grad_norm"][:, 0, 1:5]
    assert (gradients.max(1) / gradients.min(1) < 1.2).all()


# ---------------------------------------------------------------------------------------------- dead at birth


def dead_share(folder, init: str, width: int, nets: int) -> tuple[int, int]:
    """Nets of 10 hidden layers on the line of which some hidden layer is dead on the whole probe."""
    found = run(folder, f"init={init}", f"model.width={width}", "model.depth=10", f"seeds={nets}", "data=points",
                "data.samples=60", "measure.metrics=[dead_fraction]")  # fmt: skip
    return int((found["dead_fraction"][:, 0] == 1).any(1).sum()), nets


def bracket(n: int, k: int = 10) -> tuple[float, float]:
    """Lu et al. 2019: 1 - [a1^(K-1) + c (a1^(K-1) - a2^(K-1))] <= P <= 1 - a1^(K-1)."""
    a1 = 1 - 2.0**-n
    a2 = 1 - 2.0 ** (1 - n) - (n - 1) * 4.0**-n
    c = (1 - 2.0 ** (1 - n)) * (1 - 2.0**-n) / (1 + (n - 1) * 2.0**-n)
    high = 1 - a1 ** (k - 1)
    return 1 - (a1 ** (k - 1) + c * (a1 ** (k - 1) - a2 ** (k - 1))), high


def test_dead_at_birth_small(folder):
    """300 nets of 10 layers of 2: the Wilson interval of He nets meets the bracket; far fewer RAI nets die."""
    low, high = bracket(2)
    assert (round(low, 3), round(high, 3)) == (0.903, 0.925)
    he, n = dead_share(folder, "kaiming_normal", 2, 300)
    below, above = wilson(he, n)
    assert below < high
    assert above > low
    rai, _ = dead_share(folder, "rai", 2, n)
    assert wilson(rai, n)[1] < 0.75 * he / n


@pytest.mark.long
@pytest.mark.parametrize("width", [2, 3, 5])
def test_born_dead(folder, width):
    low, high = bracket(width)
    below, above = wilson(*dead_share(folder, "kaiming_normal", width, 4000))
    assert low - 0.01 <= below
    assert above <= high + 0.01


@pytest.mark.long
def test_rai(folder):
    """|x|, 10 layers of 2: He nets collapse in 88 to 96%, RAI nets in at most .6 of that (the .6 is ours)."""
    he, n = dead_share(folder, "kaiming_normal", 2, 1000)
    rai, _ = dead_share(folder, "rai", 2, 1000)
    assert 0.88 <= he / n <= 0.96
    assert rai / n <= 0.6 * he / n


# ------------------------------------------------------------------------------------------ exact statements


def test_looks_linear(folder):
    """50 layers: every singular value of the net's Jacobian is 1 +- 1e-4 (Balduzzi 2017)."""
    found = run(folder, "init=looks_linear", "model.depth=50", "seeds=10",
                "measure.metrics=[jacobian_sv_max,jacobian_sv_min]")  # fmt: skip
    assert np.abs(found["jacobian_sv_max"][:, 0, -1] - 1).max() < 1e-4
    assert np.abs(found["jacobian_sv_min"][:, 0, -1] - 1).max() < 1e-4


def test_share_sum(folder):
    """tanh, width 10, 6 layers shared: the uses' gradients sum to the stored one, relative error below 1e-10."""
    found = run(folder, "sharing=all", "init=xavier_normal", "model.activation=tanh", "model.width=10", "model.depth=7",
                "model.dtype=float64", "seeds=20",
                "measure.metrics=[grad_norm,use_grad_norm,use_grad_alignment,use_grad_cosine]")  # fmt: skip
    norms, cosines = found["use_grad_norm"][:, 0], found["use_grad_cosine"][:, 0]
    stored = found["grad_norm"][:, 0, 1]
    assert norms.shape == (20, 6)
    assert np.abs(found["use_grad_alignment"][:, 0, 0] * norms.sum(1) / stored - 1).max() < 1e-10
    # and from single uses: |g_i| and its cosine with the rest give |sum| by the cosine rule, for each i
    rest = -norms * cosines + np.sqrt(stored[:, None] ** 2 - norms**2 * (1 - cosines**2))
    assert np.abs(np.sqrt(norms**2 + rest**2 + 2 * norms * rest * cosines) / stored[:, None] - 1).max() < 1e-10
    times = stored / norms.mean(1)
    assert 2.45 < np.median(times) < 6  # between independent and aligned uses


def test_const_zero(folder):
    """Constant init keeps units identical; zero init moves no weight of relu and tanh nets; SGD, float64."""
    common = ["model.dtype=float64", "seeds=2", "train.steps=40", "measure.schedule={every: 10}"]
    spread = run(folder, "init=constant", "init.value=0.05", "model.activation=tanh",
                 "optim.batch_size=64", "measure.metrics=[unit_spread,weight_std]", *common)  # fmt: skip
    assert spread["unit_spread"][:, :, :-1].max() < 1e-12
    assert spread["weight_std"][:, -1, 0].min() > 1e-4  # it learns all the same
    for activation in ("relu", "tanh"):
        still = run(folder, "init=zeros", f"model.activation={activation}", "optim.batch_size=null", "optim.lr=1.0",
                    "train.eval_samples=1437", "measure.metrics=[weight_norm,bias_norm]", *common)  # fmt: skip
        assert (still["weight_norm"] == 0).all()
        assert (still["bias_norm"][:, -1, -1] > 0).all()
        digits = data.load({"name": "digits"})
        for seed in range(2):
            share = np.bincount(digits.y[data.split(digits, seed).train]) / 1437
            entropy = -(share * np.log(share)).sum()
            assert still["loss/train"][seed, -1] == pytest.approx(entropy, abs=1e-5)
