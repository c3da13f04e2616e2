"""python -m initbench.catalogue: the page, the list, and --check of entries, options and one's own functions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from initbench import catalogue
from initbench.initializers import REGISTRY
from initbench.initializers.bias import RULES
from initbench.initializers.option_files import known

DOCS = Path(__file__).parents[1] / "docs"

MINE = """
import torch


def good(weight, *, generator, scale: float = 1.0):
    return weight.normal_(0, scale / weight.shape[1] ** 0.5, generator=generator)


def constant(weight):
    weight.fill_(0.5)


def global_draws(weight):
    torch.nn.init.xavier_normal_(weight)


def careless(weight, *, generator):
    torch.nn.init.ones_(weight)


def ones(weight):
    torch.nn.init.ones_(weight)


def not_finite(weight, *, generator):
    weight.normal_(generator=generator)[0, 0] = float("nan")


def not_finite_at_64(weight, *, generator):
    weight.normal_(generator=generator)[0, 0] *= float("nan") if weight.shape == (64, 64) else 1


def wrong_shape(weight):
    return torch.ones(3)


def whole(module, *, batch):
    for parameter in module.parameters():
        parameter.data.fill_(0.1)


whole.needs = "data"


def asks(weight, *, scale):
    weight.fill_(scale)


def broken(weight, *, generator):
    raise RuntimeError("two\\nlines")


def forgetful(weight, *, generator, state=[]):
    state.append(1)
    weight.normal_(generator=generator).add_(len(state))
"""


@pytest.fixture
def mine(folder, monkeypatch):
    """A module of one's own in the current folder; its name."""
    (folder / "mine_catalogue.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("mine_catalogue", None)
    yield "mine_catalogue"
    sys.modules.pop("mine_catalogue", None)


def run(capsys, *argv):
    status = catalogue.main(argv)
    out, err = capsys.readouterr()
    return status, out, err


def test_the_page_is_what_the_command_prints(capsys):
    status, out, _ = run(capsys, "--markdown")
    assert status == 0
    written = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    assert written == out, "run: python -m initbench.catalogue --markdown > docs/catalogue.md"


def test_the_page_has_every_entry_option_and_bias_rule(capsys):
    _, out, _ = run(capsys, "--markdown")
    for name in [*REGISTRY, *known(), *RULES]:
        assert f"| {name} |" in out


def test_words_choose_rows(capsys):
    status, out, _ = run(capsys, "--markdown", "siren")
    assert status == 0
    assert "| siren |" in out
    assert "| lsuv |" not in out
    status, _, err = run(capsys, "no such words")
    assert status == 2
    assert "no initializer mentions" in err


def test_the_list_in_the_terminal_names_every_entry(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    assert all(name in out for name in REGISTRY)


@pytest.mark.parametrize("name", ["xavier_normal", "normal_001", "zas", "orthogonal_relu", "lsuv", "krahenbuhl_pca"])
def test_contracts_of_entries_and_options_hold(capsys, name):
    assert run(capsys, "--check", name) == (0, f"{name}: contract holds\n", "")


@pytest.mark.parametrize("name", ["good", "constant", "global_draws", "ones"])
def test_a_function_of_ones_own_that_keeps_the_rules(capsys, mine, name):
    status, out, _ = run(capsys, "--check", f"{mine}.{name}")
    assert (status, out.splitlines()[0]) == (0, f"{mine}.{name}: contract holds")
    said = {"good": "std 1.00 / sqrt(fan_in)", "constant": "mean 0.50, std 0.00", "global_draws": "std 1.00 / sqrt"}
    assert said.get(name, "mean 1.00") in out
    assert ("deterministic: the same for every generator" in out) == (name in ("constant", "ones"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_finite", "init=not_finite: it left NaN or infinity"),
        ("not_finite_at_64", "init=not_finite_at_64: it left NaN or infinity"),
        ("wrong_shape", "it returned shape (3,)"),
        ("broken", "it raised RuntimeError: two"),
        ("forgetful", "the same generator state gave other numbers"),
    ],
)
def test_a_function_of_ones_own_that_breaks_them(capsys, mine, name, words):
    status, out, _ = run(capsys, "--check", f"{mine}.{name}")
    assert status == 1
    assert out.startswith(f"{mine}.{name}: contract BROKEN")
    assert words in out
    assert len(out.splitlines()) <= 8


def test_a_deterministic_start_of_a_whole_net_passes(capsys, mine):
    assert run(capsys, "--check", f"{mine}.whole")[0] == 0


def test_an_argument_without_a_value_is_wrong_input(capsys, mine):
    status, out, err = run(capsys, "--check", f"{mine}.asks")
    assert (status, out) == (2, "")
    assert "init.scale: asks needs it" in err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xavir", "xavier_normal?"),
        ("no_module_here.f", "no module named"),
        ("zzz", "name an entry, an option of init, or module.function"),
    ],
)
def test_an_unknown_name_is_one_line(capsys, name, words):
    status, _, err = run(capsys, "--check", name)
    assert status == 2
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_broken_entry_makes_status_one(capsys, monkeypatch):
    entry = REGISTRY["lecun_normal"]

    def lecun_normal_(weight, *, generator=None):
        return entry.function(weight, generator=generator).mul_(1.05)

    monkeypatch.setitem(REGISTRY, "lecun_normal", type(entry)(**{**vars(entry), "function": lecun_normal_}))
    status, out, _ = run(capsys, "--check", "lecun_normal")
    assert status == 1
    assert "mean square is" in out
