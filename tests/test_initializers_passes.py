"""What a start costs that sees the whole net: hand-counted passes, torch's own counter, and the frame of the runs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import initbench as ib
from conftest import small_arm
from initbench import data
from initbench.config.groups import InitConfig
from initbench.engine import netstart, stacked
from initbench.engine.material import Material
from initbench.initializers import Initializer, initialize_net
from initbench.initializers.verify_net import plain_net, sample
from initbench.store.parts import Store
from initbench.study import worker

LAYERS, SAMPLES, BATCH = 4, 16, 300  # of a net of depth 3


def counted(name, inputs=8, **args):
    """(operations counted, those of one forward pass of a sample) of a start on a small net."""
    torch.manual_seed(0)
    net, layers = plain_net(inputs=inputs, activation="tanh")
    asked = {"batch": sample(BATCH, inputs), "loss": torch.nn.functional.cross_entropy, "layers": layers}
    start = Initializer.of(name, args, 0.1)
    flops = initialize_net(net, start, generator=torch.Generator().manual_seed(0), **asked)
    return flops, 2 * (inputs * 12 + 12 * 12 + 12 * 12 + 12 * 4)


HAND = [  # (initializer, arguments, passes of one sample by hand)
    ("lsuv", {"tol": 1e9}, BATCH * LAYERS),  # one look at each layer
    ("lsuv", {"tol": 0.0, "iterations": 4}, BATCH * LAYERS * 5),  # never content: 5 looks a layer
    ("weight_norm_ddi", {}, BATCH * LAYERS),
    ("krahenbuhl", {}, BATCH * LAYERS),
    ("krahenbuhl", {"kind": "zca"}, BATCH * LAYERS * 2),  # a layer's input, then its statistics
    # the layers' inputs once, then three times: a gradient and the layers' inputs
    ("krahenbuhl", {"between": True, "iterations": 3}, BATCH * (LAYERS + LAYERS + 3 * (3 + LAYERS))),
    ("pca", {}, BATCH * LAYERS),
    ("kmeans", {}, BATCH * LAYERS),
    ("swim", {}, BATCH * LAYERS),  # each layer's inputs
    ("decoupled", {}, 0),
    ("balanced", {}, 0),
    ("metainit", {"steps": 3, "samples": SAMPLES}, 3 * SAMPLES * 27),
    ("gradinit", {"iterations": 3, "samples": SAMPLES, "gamma": 0.0}, 3 * SAMPLES * 9),  # |g|, differentiated
    # a gradient, then the loss after the step with its own
    ("gradinit", {"iterations": 3, "samples": SAMPLES, "gamma": math.inf}, 3 * SAMPLES * (3 + 3)),
    ("nio", {"iterations": 3, "samples": SAMPLES}, 3 * SAMPLES * 9),
]


@pytest.mark.parametrize(("name", "args", "passes"), HAND)
def test_passes_counted_by_hand(name, args, passes):
    flops, forward = counted(name, **args)
    assert flops == passes * forward


@pytest.mark.parametrize(
    ("name", "args"), [(name, args) for name, args, _ in HAND if name in ("lsuv", "metainit", "gradinit", "nio")]
)
def test_torch_counts_no_more_and_hardly_less(name, args):
    """torch leaves out gradients that nobody needs, those of the inputs: with few inputs they hardly count."""
    with FlopCounterMode(display=False) as real:
        flops, _ = counted(name, inputs=4, **args)
    assert 0.9 * flops <= real.get_total_flops() <= flops


def test_passes_of_ones_own_count_too():
    def own(module, *, batch):
        for parameter in module.parameters():
            torch.nn.init.ones_(parameter)
        for _ in range(3):
            module(batch[0])

    own.needs = "data"
    assert counted(own)[0] == 3 * BATCH * counted(own)[1]


SMALL = [
    *("data=teacher", "data.classes=3", "sharing=none", "seeds=3", "optim.lr=[0.1,0.3]", "track.uri=null"),
    *("engine.workers=1", "report.formats=[csv]", "measure=none", "train.steps=30", "train.target.value=0.5"),
]


def test_runs_know_what_their_start_cost(folder):
    """As many looks as were needed; the learning rates of a seed share them; what is drawn costs none."""
    assert (ib.run(["init=kaiming_normal", *SMALL]).runs["init_flops"] == 0).all()
    results = ib.run(["init=lsuv", "init.tol=1e-3", *SMALL])
    runs = results.runs.set_index(["seed", "optim.lr"]).sort_index()
    costs = runs["init_flops"].unstack()
    assert (costs[0.1] == costs[0.3]).all()
    (arm,) = results.study["arms"]
    assert arm["init_flops"] is None
    looks = 2 * len(arm["layers"])  # a layer is corrected once, which is exact, and looked at again
    assert (costs[0.1] == looks * 2 * 512 * products(results)).all()
    reached = runs.dropna(subset="steps_to_target")
    assert len(reached)
    spent = reached["init_flops"] + reached["steps_to_target"] * reached["flops_per_step"]
    assert (reached["flops_to_target"] == spent).all()


def test_a_module_starts_once_a_seed(folder, monkeypatch):
    """Its learning rates share start and costs; the same passes as the plain net's."""
    (folder / "mine_passes.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__(nn.Linear(inputs, 6), nn.ReLU(), nn.Linear(6, outputs))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    started = []
    monkeypatch.setattr(
        "initbench.engine.module.initialize_net", lambda *a, **k: started.append(1) or initialize_net(*a, **k)
    )
    own = ["model=module", "model.target=mine_passes.Net"]
    results = ib.run(["init=weight_norm_ddi", *own, *SMALL])
    assert len(started) == 3
    assert set(results.runs["init_flops"]) == {2 * 2 * 512 * products(results)}  # two layers, a look at each
    assert results.runs.groupby("seed")["loss/train"].nunique().eq(2).all()  # two rates


def products(results):
    """sum n m over the layers of a study's only arm."""
    (arm,) = results.study["arms"]
    return sum(one["fan_in"] * one["fan_out"] for one in arm["layers"])


def test_a_start_is_counted_once_it_is_stored_and_read(folder):
    arm = small_arm(init=InitConfig("lsuv", "lsuv", "zeros", {}), seeds=[0, 1])
    material = Material(arm, data.load(arm.data))
    chunk = worker.with_init_flops(stacked.run_chunk(arm, arm.runs, material.data), material)
    own = [netstart.start_flops(arm, material.data, material.net, material.loss, seed) for seed in (0, 0, 1, 1)]
    assert chunk.init_flops.tolist() == own
    store = Store(folder)
    store.write("key", chunk)
    assert store.read("key", arm.runs).init_flops.tolist() == own
    assert store.read("key", [(1, 0.1)]).init_flops.tolist() == own[3:]
    drawn = small_arm()
    plain = stacked.run_chunk(drawn, drawn.runs, material.data)
    assert worker.with_init_flops(plain, Material(drawn, material.data)) is plain
