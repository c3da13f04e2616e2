"""Theory against simulation, closed forms and published numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats
from scipy.integrate import dblquad

from conftest import small_arm
from initbench import data, theory
from initbench.config.groups import ACTIVATIONS, InitConfig
from initbench.engine import stacked
from initbench.engine.material import Material
from initbench.errors import InputError
from initbench.initializers.gains import activation
from options import option

# ------------------------------------------------------------------------------------------ maps, against formulas


@pytest.mark.parametrize("c", [-1.0, -0.6, 0.0, 0.3, 0.95, 0.9999, 1.0])
def test_pair_means_with_a_closed_form(c):
    """Arc-cosine kernel of relu (Cho & Saul 2009), arcsine kernel of erf (Williams 1997), sin, linear, abs."""
    q1, q2 = 0.7, 2.5
    angle = math.acos(c)
    relu = math.sqrt(q1 * q2) / (2 * math.pi) * (math.sin(angle) + (math.pi - angle) * c)
    forms = {
        "relu": relu,
        "erf": 2 / math.pi * math.asin(2 * c * math.sqrt(q1 * q2) / math.sqrt((1 + 2 * q1) * (1 + 2 * q2))),
        "sin": math.exp(-(q1 + q2) / 2) * math.sinh(c * math.sqrt(q1 * q2)),
        "linear": c * math.sqrt(q1 * q2),
    }
    forms["abs"] = 2 * (relu + math.sqrt(q1 * q2) / (2 * math.pi) * (math.sin(angle) - angle * c))
    for name, exact in forms.items():
        assert theory.pair_mean(activation(name).phi, q1, q2, c) == pytest.approx(exact, abs=2e-9), name
    step = (math.pi - angle) / (2 * math.pi)
    assert theory.pair_mean(activation("relu").slope, q1, q2, c) == pytest.approx(step, abs=1e-9 if c < 0.99 else 1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_maps_equal_simulated_layers(name):
    """A layer with a million units, drawn: E phi^2, E phi'^2, E phi(u1) phi(u2), within 5 standard errors."""
    draw = np.random.default_rng(0)
    q, c, w2, b2 = 1.3, 0.4, 1.7, 0.1
    z1, z2 = draw.standard_normal((2, 300_000))
    u1, u2 = math.sqrt(q) * z1, math.sqrt(q) * (c * z1 + math.sqrt(1 - c * c) * z2)
    phi, slope = activation(name).phi, activation(name).slope

    def near(values, exact):
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - exact) < 5 * error + 1e-12

    after = theory.length_map(name, q, w2, b2)
    near(w2 * phi(u1) ** 2 + b2, after)
    near(w2 * slope(u1) ** 2, theory.chi(name, q, w2))
    near((w2 * phi(u1) * phi(u2) + b2) / after, theory.correlation_map(name, c, q, w2, b2))
    near(w2 * slope(u1) * slope(u2), theory.chi_at(name, c, q, w2))
    h = 1e-5
    numeric = (theory.length_map(name, q + h, w2, b2) - theory.length_map(name, q - h, w2, b2)) / (2 * h)
    assert theory.length_slope(name, q, w2) == pytest.approx(numeric, rel=1e-6)


def test_pair_mean_equals_scipys_double_integral():
    q1, q2, c = 0.5, 3.0, 0.7
    law = stats.multivariate_normal([0, 0], [[q1, c * math.sqrt(q1 * q2)], [c * math.sqrt(q1 * q2), q2]])
    exact, _ = dblquad(lambda v, u: math.tanh(u) * math.tanh(v) * law.pdf((u, v)), -6, 6, -12, 12, epsabs=1e-7)
    assert theory.pair_mean(np.tanh, q1, q2, c) == pytest.approx(exact, abs=1e-6)


# --------------------------------------------------------------------------------- fixed points and depth scales


def test_published_fixed_points_of_tanh():
    """sigma_b^2 = .05 (Schoenholz et al. 2017): critical at sigma_w^2 = 1.7610, q* = .5700; ln chi_1 of four nets."""
    q = theory.critical_length("tanh", 0.05**0.5)
    w2, b2 = theory.critical_point("tanh", q)
    assert (round(q, 4), round(w2, 3), round(b2, 9)) == (0.5700, 1.761, 0.05)
    assert theory.length_fixed_point("tanh", w2, b2) == pytest.approx(q, rel=1e-9)
    for w2, slope in ((1.0, -0.2757), (1.3, -0.1276), (2.5, 0.1253), (4.0, 0.2945)):
        q = theory.length_fixed_point("tanh", w2, 0.05)
        assert round(math.log(theory.chi("tanh", q, w2)), 4) == slope
        ordered = slope < 0
        assert (theory.correlation_fixed_point("tanh", w2, 0.05) == 1.0) == ordered
    assert theory.length_fixed_point("tanh", 1.0, 0.0) == pytest.approx(
        0, abs=1e-6
    )  # tanh without bias is critical at 1


def test_he_keeps_lengths_and_relu_draws_samples_together():
    assert theory.length_fixed_point("relu", 2.0) is None  # every length is a fixed point
    assert theory.length_fixed_point("relu", 1.0, 0.3) == pytest.approx(0.3 / (1 - 0.5))
    assert theory.length_fixed_point("relu", 2.1, 0.3) is None
    assert theory.critical_point("relu", 5.0) == (pytest.approx(2.0), 0.0)
    c = 0.0
    for _ in range(50):
        before, c = c, theory.correlation_map("relu", c, 1.0, 2.0)
        assert before < c < 1


def test_fixed_points_are_where_the_maps_lead():
    for name, w2, b2 in (("tanh", 3.0, 0.2), ("erf", 2.0, 0.1), ("sin", 1.5, 0.3), ("relu", 1.4, 0.5)):
        q, c = 1.0, 0.2
        for _ in range(400):
            q = theory.length_map(name, q, w2, b2)
        for _ in range(150):
            c = theory.correlation_map(name, c, q, w2, b2)
        assert theory.length_fixed_point(name, w2, b2) == pytest.approx(q, rel=1e-6)
        assert theory.correlation_fixed_point(name, w2, b2) == pytest.approx(c, abs=1e-3)


def test_depth_scales_are_the_rates_at_which_the_maps_arrive():
    name, w2, b2 = "tanh", 1.3, 0.05
    scales = theory.depth_scales(name, w2, b2)
    goal = theory.length_fixed_point(name, w2, b2)
    gaps = [1e-4]
    for _ in range(5):
        gaps.append(theory.length_map(name, goal + gaps[-1], w2, b2) - goal)
    assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(scales.length, rel=1e-2)
    gaps = [1e-3]
    for _ in range(5):
        gaps.append(1 - theory.correlation_map(name, 1 - gaps[-1], goal, w2, b2))
    assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(scales.correlation, rel=1e-2)
    assert theory.depth_scales("tanh", *theory.critical_point("tanh", 0.57)).correlation > 1e4
    assert theory.depth_scales("relu", 3.0) is None


# ----------------------------------------------------------------------------------------- finite nets, simulated


def test_scatter_of_lengths_in_narrow_nets():
    """|h_L|^2 of 40,000 Gaussian nets: prod (1 + kappa/n) - 1 within 5 standard errors (5 relu, 2 linear and abs)."""
    draw = np.random.default_rng(1)
    widths = (12, 8, 15)
    for name, kappas in (("relu", 5), ("linear", 2), ("abs", 2)):
        exact = math.prod(1 + kappas / n for n in widths) - 1
        assert theory.length_scatter(name, widths) == pytest.approx(exact)
        phi, h = activation(name).phi, np.ones((40_000, 6)) / math.sqrt(6)
        for n in widths:
            # rows of W are independent Gaussian: W h ~ N(0, |h|^2) entry by entry
            h = phi(np.linalg.norm(h, axis=1, keepdims=True) * draw.standard_normal((len(h), n)))
        lengths = np.square(h).sum(1) / np.square(h).sum(1).mean()
        parts = [part.var() for part in np.split(lengths, 40)]
        assert abs(np.mean(parts) - exact) < 5 * np.std(parts) / math.sqrt(40) + 0.01
    assert theory.length_scatter("gelu", widths) is None


@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize("name", ["linear", "tanh", "relu"])
def test_scatter_of_jacobians(name, orthogonal):
    """Width 200, 4 layers, 6 nets: variance of s^2 over its squared mean, within 8%."""
    draw = np.random.default_rng(2)
    n, q0 = 200, 0.8
    qs, found = [], []
    for _ in range(6):
        z, j, path = math.sqrt(q0) * draw.standard_normal(n), np.eye(n), []
        for _ in range(4):
            w = draw.standard_normal((n, n)) / math.sqrt(n)
            w = stats.ortho_group.rvs(n, random_state=draw) if orthogonal else w
            path.append(np.mean(z**2))
            j = w @ (activation(name).slope(z)[:, None] * j)
            z = w @ activation(name).phi(z)
        square = np.linalg.svd(j, compute_uv=False) ** 2
        found.append(square.var() / square.mean() ** 2)
        qs.append(path)
    exact = theory.jacobian_square_scatter(name, np.mean(qs, axis=0), orthogonal)
    assert np.mean(found) == pytest.approx(exact, rel=0.08, abs=1e-9)


@pytest.mark.parametrize("matrices", [2, 3, 5])
def test_modes_of_linear_nets_follow_their_curves(matrices):
    """Gradient descent on balanced diagonal nets with small steps: |u - theory| / s below 1% (the claim saxe-modes)."""
    s, u0, lr = np.array([3.0, 1.5]), 0.05, {2: 2e-3, 3: 1e-3, 5: 5e-4}[matrices]
    steps = round(6 / lr)
    layers = np.full((matrices, 2), u0 ** (1 / matrices))
    seen = []
    for _ in range(steps):
        seen.append(layers.prod(0))
        gradient = np.stack([(layers.prod(0) - s) * np.delete(layers, i, 0).prod(0) for i in range(matrices)])
        layers = layers - lr * gradient
    t = np.arange(steps)
    for i, strength in enumerate(s):
        curve = theory.mode_curve(t, strength, u0, tau=1 / lr, matrices=matrices)
        assert np.abs(np.array(seen)[:, i] - curve).max() / strength < 0.01
    assert theory.mode_curve(np.array([0.0]), 2.0, 0.1, matrices=matrices)[0] == pytest.approx(0.1)
    half = theory.learning_time(3.0, 0.05, tau=1 / lr)
    if matrices == 2:
        assert np.interp(half, t, np.array(seen)[:, 0]) == pytest.approx(1.5, rel=0.02)


def test_wrong_numbers_are_refused():
    for call in (
        lambda: theory.mode_curve(np.zeros(1), s=-1, u0=0.1),
        lambda: theory.length_map("tanh", 1.0, -1.0),
        lambda: theory.pair_mean(np.tanh, 1.0, 1.0, 1.5),
        lambda: theory.chi("wrong", 1.0, 1.0),
    ):
        with pytest.raises(InputError):
            call()


# -------------------------------------------------------------------------------- a whole arm, against its measures


def predicted(arm):
    material = Material(arm, data.load(arm.data))
    return theory.predictions(arm, material.layers, material.scheme, material.data)


ARMS = [
    ("kaiming_normal", "relu", {}),
    ("torch_default", "tanh", {}),
    ("xavier_uniform", "gelu", {"bias": {"rule": "normal", "std": 0.3}}),
    ("orthogonal", "tanh", {}),
    ("edge_of_chaos", "tanh", {"q": 0.5}),
    ("variance_laplace", "sigmoid", {}),
]


@pytest.mark.parametrize(("init", "activation_name", "changes"), ARMS)
def test_predictions_equal_what_is_measured(init, activation_name, changes):
    """Mean over 60 nets of width 100: signals within 4%, or 5 standard errors, of the prediction."""
    arm = small_arm(
        data={"name": "digits"},
        model={"depth": 4, "width": 100, "activation": activation_name, "dtype": "float64"},
        init=option(init, **changes),
        train={"steps": 0, "eval_samples": 1},
        measure={"metrics": ["preactivation_msq", "activation_msq", "activation_mean", "backward_msq",
                             "jacobian_sv_mean_square", "jacobian_sv_square_var"]},
        seeds=range(60),
        optim={"lr": [0.1], "batch_size": 8},
    )  # fmt: skip
    series = stacked.run_chunk(arm, list(arm.runs), data.load(arm.data)).series
    expected = predicted(arm)
    back = np.log(series["backward_msq"].values[:, 0])
    measured = {n: series[n].values[:, 0] for n in expected if n != "backward_factor"}
    measured["backward_factor"] = np.exp(back[:, :-1] - back[:, 1:])
    for name, numbers in expected.items():
        for layer, number in enumerate(numbers):
            values = measured[name][:, layer]
            if number is None:
                continue
            error = values.std() / math.sqrt(len(values))
            slack = 0.25 if name == "jacobian_sv_square_var" else 0.04
            assert abs(values.mean() - number) < max(5 * error, slack * abs(number), 1e-3), (name, layer)


@pytest.mark.parametrize(
    "change",
    [
        {"sharing": {"name": "all"}},
        {"init": option("sparse")},
        {"init": option("eye")},
        {"init": option("ones")},
        {"init": option("lsuv")},
        {"init": option("looks_linear")},
        {"init": option("row_normalized")},
        {"init": option("zero_head")},
        {"init": option("kaiming_normal", bias=0.1)},
        {"init": InitConfig("mine", "test_theory.option", "zeros")},
    ],
    ids=lambda change: next(iter(change.values())).get("name", "?") if isinstance(next(iter(change.values())), dict)
    else next(iter(change.values())).name,
)  # fmt: skip
def test_no_theory_no_number(change):
    assert predicted(small_arm(**{"init": option("kaiming_normal"), **change})) is None


def test_predictions_leave_open_what_theory_leaves_open():
    found = predicted(small_arm(model={"depth": 3, "width": [8, 8, 5]}, init=option("kaiming_normal")))
    assert found["jacobian_sv_square_var"][0] is not None
    assert found["jacobian_sv_square_var"][1:] == [None, None]
    assert len(found["preactivation_msq"]) == 4
    assert len(found["backward_factor"]) == 3


# ---------------------------------------------------------------------------------------------- the loss at the start


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("q", [1e-4, 0.01, 1.0, 5.0, 40.0])
def test_the_loss_of_independent_logits_is_that_of_a_sample(q, classes):
    """Against 300,000 drawn logits; for small q against the expansion ln C + q (C - 1) / (2 C)."""
    found = theory.cross_entropy_at_start(q, classes)
    z = np.random.default_rng(0).standard_normal((300_000 // classes, classes)) * math.sqrt(q)
    losses = special.logsumexp(z, axis=1) - z[:, 0]
    assert abs(losses.mean() - found) < 4.5 * losses.std() / math.sqrt(len(losses))
    if q <= 0.01:
        assert found == pytest.approx(math.log(classes) + q * (classes - 1) / (2 * classes), abs=q**2)


def test_the_loss_of_two_classes_is_one_integral():
    """E ln(1 + e^d), d ~ N(0, 2 q), by another quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(120)
    for q in (0.1, 1.0, 4.0):
        expected = (w / w.sum()) @ np.logaddexp(0, math.sqrt(2 * q) * x)
        assert theory.cross_entropy_at_start(q, 2) == pytest.approx(expected, abs=1e-9)
    assert theory.cross_entropy_at_start(0.0, 7) == math.log(7)
    for wrong in ((-1.0, 10), (math.nan, 10), (1.0, 0)):
        with pytest.raises(InputError, match="must be a variance"):
            theory.cross_entropy_at_start(*wrong)


@pytest.mark.parametrize(("init", "q"), [("kaiming_normal", 2.0), ("lecun_normal", None), ("xavier_uniform", None)])
def test_a_classifier_starts_at_the_loss_that_theory_says(init, q):
    """Over 40 nets, within 5 standard errors or 1%; He's q is 2 on inputs of unit mean square."""
    arm = small_arm(
        data={"name": "digits"},
        model={"depth": 3, "width": 200},
        init=option(init),
        train={"steps": 0, "eval_samples": 256},
        measure={"name": "none"},
        seeds=range(40),
        optim={"lr": [0.1], "batch_size": 8},
    )
    material = Material(arm, data.load(arm.data))
    losses = stacked.run_chunk(arm, list(arm.runs), material.data).series["loss/train"].values[:, 0]
    expected = theory.start_loss(arm, material.layers, material.scheme, material.data)
    assert abs(losses.mean() - expected) < max(5 * losses.std() / math.sqrt(40), 0.01 * expected)
    if q is not None:
        assert expected == pytest.approx(theory.cross_entropy_at_start(q, 10), rel=0.02)
    tied = replace(arm, sharing=replace(arm.sharing, name="all"))
    assert theory.start_loss(tied, material.layers, Material(tied, material.data).scheme, material.data) is None
    squared = replace(arm, train=replace(arm.train, loss="squared_error"))
    assert theory.start_loss(squared, material.layers, material.scheme, material.data) is None
