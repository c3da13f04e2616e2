"""The parts of a training step in the torch path: memory written over, sums over uses, divergence; against torch itself."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from conftest import small_arm
from initbench import data
from initbench.config.groups import ACTIVATIONS
from initbench.engine.material import Material, Seeds
from initbench.engine.oracle import PHI
from initbench.engine.stacked import Stack
from initbench.engine.sums import UseSums
from initbench.nets import mlp as model
from initbench.sharing import Scheme, Slot
from initbench.study.pool import chunks

SIZES = (5, 7, 4, 6, 3)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_step_in_a_room_has_the_gradients_of_autograd(name):
    """Layers of unlike widths, R = 2, two steps in one room, so that the second finds what the first has left."""
    weights = [drawn(2, m, n).requires_grad_() for n, m in pairwise(SIZES)]
    biases = [drawn(2, m).requires_grad_() for m in SIZES[1:]]
    plain = [w.detach() for w in weights], [b.detach() for b in biases]
    room = None
    for scale in (1.0, -0.5):
        x, dlogits = drawn(2, 5, 9) * scale, drawn(2, 3, 9)
        room = room or model.Room.of(plain[0], x, name)
        h = x
        for i, (w, b) in enumerate(zip(weights, biases)):
            z = w @ h + b[:, :, None]
            h = PHI[name](z) if i < len(weights) - 1 else z
        expected = torch.autograd.grad(h, weights + biases, dlogits)
        zs, hs = model.forward(*plain, x, name, room)
        assert torch.allclose(zs[-1], h, rtol=1e-13, atol=1e-13)
        found = {i: (dz @ hs[i].mT, dz.sum(2)) for i, dz in model.pull_back(plain[0], zs, hs, dlogits, name, room)}
        assert list(found) == [3, 2, 1, 0]
        ours = [found[i][k] for k in (0, 1) for i in range(4)]
        assert all(torch.allclose(g, e, rtol=1e-12, atol=1e-12) for g, e in zip(ours, expected))


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_sums_over_uses_are_the_gradients_of_a_tied_net(reduce):
    """Layers 1, 2 and 4 share a weight and 2, 3 a bias; layer 3 shares memory with 0 and 5."""
    weights = (Slot("a", (4, 5), (0,)), Slot("b", (4, 4), (1, 2, 4)), Slot("c", (4, 4), (3,)), Slot("d", (3, 4), (5,)))
    own = tuple(Slot(f"bias {i}", (3,) if i == 5 else (4,), (i,)) for i in (0, 1, 4, 5))
    scheme = Scheme(weights, (*own, Slot("bias 2", (4,), (2, 3))), reduce)
    stored = {slot.name: drawn(2, *slot.shape).requires_grad_() for slot in scheme.slots}
    h, layers = drawn(2, 5, 9), []
    for i in range(6):
        y = scheme.weight(stored, i) @ h + scheme.bias(stored, i)[:, :, None]
        layers.append((h, y))
        h = torch.tanh(y)
    ups = torch.autograd.grad(h.sum(), [y for _, y in layers], retain_graph=True)
    expected = dict(zip(stored, torch.autograd.grad(h.sum(), list(stored.values()))))
    sums = UseSums(scheme, {name: value.detach() for name, value in stored.items()})
    order = []
    for i in range(5, -1, -1):
        for name, g in sums.add(i, ups[i], layers[i][0].detach()):
            slot = next(slot for slot in scheme.slots if slot.name == name)
            share = len(slot.layers) if reduce == "mean" else 1
            assert torch.allclose(g, expected[name] / share, rtol=1e-12, atol=1e-13), name
            order.append((i, name))
    assert order == [
        *((5, "d"), (5, "bias 5"), (4, "bias 4"), (3, "c"), (2, "bias 2")),
        *((1, "b"), (1, "bias 1"), (0, "a"), (0, "bias 0")),
    ]


@settings(max_examples=50, derandomize=True, deadline=None)
@given(seed=st.integers(0, 99), classes=st.integers(2, 5), levels=st.integers(1, 4))
def test_the_first_of_equal_logits_wins(seed, classes, levels):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randint(levels, (2, classes, 8), generator=draw).float()
    y = torch.randint(classes, (2, 8), generator=draw)
    first = [[max(range(classes), key=run[:, i].tolist().__getitem__) for i in range(8)] for run in logits]
    assert model.right(logits, y).tolist() == (torch.tensor(first) == y).tolist()


@pytest.mark.parametrize("name", model.LOSSES)
def test_losses_alone_are_those_with_gradients(name):
    logits, y = drawn(2, 3, 9), torch.arange(9).remainder(3).repeat(2, 1)
    expected = nn.CrossEntropyLoss(reduction="none")(logits, y)
    if name != "cross_entropy":
        y = F.one_hot(y, 3).mT.double()
        expected = {
            "squared_error": lambda: nn.MSELoss(reduction="none")(logits, y),
            "sigmoid_cross_entropy": lambda: nn.BCEWithLogitsLoss(reduction="none")(logits, y),
            "sigmoid_squared_error": lambda: nn.MSELoss(reduction="none")(logits.sigmoid(), y),
        }[name]().mean(1)
    value = model.LOSS_VALUES[name](logits, y)
    assert torch.equal(value, model.LOSSES[name](logits, y)[0])
    assert torch.allclose(value, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_any_number_that_is_not_finite_and_no_large_one(dtype):
    arm = small_arm(model={"dtype": dtype}, seeds=tuple(range(8)), optim={"lr": [0.1]})
    material = Material(arm, data.load(arm.data))
    stack = Stack(material, Seeds(material, arm.seeds), torch.arange(8), torch.full((8,), 0.1, dtype=material.dtype))
    largest, loss = torch.finfo(material.dtype).max, torch.zeros(8, dtype=material.dtype)
    stack.parameters[0, 3], stack.parameters[1, 0], stack.parameters[2, -1] = torch.inf, -torch.inf, torch.nan
    stack.parameters[3, :2], stack.parameters[3, 2] = largest, -largest  # their sum and difference would overflow
    loss[4], loss[5], loss[6] = torch.inf, torch.nan, largest
    stack.note_divergence(7, loss)
    assert stack.diverged_at.tolist() == [7, 7, 7, -1, 7, 7, -1, -1]
    loss[:] = torch.nan
    stack.note_divergence(9, loss)
    assert stack.diverged_at.tolist() == [7, 7, 7, 9, 7, 7, 9, 9], "the first step counts"


def test_the_runs_of_a_stack_do_not_depend_on_depth_but_fit_the_cache():
    def sizes(trainer="stacked", count=500, workers=1, **model):
        arm = small_arm(model={"depth": 6, **model}, seeds=tuple(range(count)), optim={"lr": [0.1], "batch_size": 64})
        return [len(runs) for runs in chunks(arm, arm.runs, arm.model.layers(64, 10), workers, trainer=trainer)]

    def largest(**change):
        return max(sizes(**change))

    shallow, deep = largest(width=64, depth=6), largest(width=64, depth=60)
    assert shallow == pytest.approx(deep, rel=0.1)
    assert largest(width=32) > shallow > largest(width=128) > largest(width=1024) == 2
    assert largest(width=64, depth=60, trainer="kernel") < deep
    assert largest(width=64, depth=3000) < deep / 2, "memory has an end"
    assert largest(width=8, count=4) == 4
    assert sizes(width=8, count=4, workers=3) == [2, 2], "never a lone run"
    for workers in (2, 3):
        spread = sizes(width=64, workers=workers)
        assert len(spread) % workers == 0
        assert sum(spread) == 500
        assert max(spread) <= shallow
        assert max(spread) - min(spread) <= 1
