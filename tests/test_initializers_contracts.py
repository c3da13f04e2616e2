"""Every entry of the catalogue against its contract, and proofs that the contracts can fail."""

import importlib
import inspect
import pkgutil
import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import initbench.initializers as catalogue
from initbench.initializers import REGISTRY, Contract, resolve
from initbench.initializers.contract import Case
from initbench.initializers.verify import case, check, violations

ONE_MATRIX = sorted(name for name, entry in REGISTRY.items() if entry.needs == "nothing")
OPTIONS = sorted((Path(__file__).parents[1] / "conf" / "init").glob("*.yaml"))


@pytest.mark.parametrize("name", ONE_MATRIX)
def test_the_contract_holds(name):
    assert check(REGISTRY[name]) == []


@pytest.mark.parametrize("name", ONE_MATRIX)
def test_the_contract_holds_in_float32(name):
    assert check(REGISTRY[name], dtype=torch.float32, shapes=((20, 48), (33, 17))) == []


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_the_contract_holds_for_every_option(path):
    option = yaml.safe_load(path.read_text())
    entry = REGISTRY[resolve(option["_target_"]).__name__.removesuffix("_")]
    if entry.needs != "nothing":
        pytest.skip(f"fills a whole net from {entry.needs}; see test_initializers_nets.py")
    args = {k: v for k, v in option.items() if k not in ("name", "_target_", "bias")}
    for position in entry.contract.positions:
        found = case((32, 32), args, position=position, activation=entry.contract.activations[0])
        assert violations(entry.function, entry.contract, found) == []


# ------------------------------------------------------------ nothing without a contract


def initializers_in_the_package():
    """Public functions `name_(weight or module, *, generator, ...)` written in the package."""
    for module in pkgutil.iter_modules(catalogue.__path__):
        loaded = importlib.import_module(f"initbench.initializers.{module.name}")
        for name, function in vars(loaded).items():
            if not inspect.isfunction(function) or function.__module__ != loaded.__name__:
                continue
            first = next(iter(inspect.signature(function).parameters), None)
            keyword = inspect.signature(function).parameters
            own = name.endswith("_") and not name.startswith("_") and first in ("weight", "module")
            if own and "generator" in keyword and module.name not in ("_draw", "calling"):
                yield name, function


# parts of initializers: what they do is up to the caller
HELPERS = {"draw_", "fill_base_", "rescale_", "standardize_units_", "fill_directions_"}


def test_every_initializer_is_registered_and_public():
    found = dict(initializers_in_the_package())
    assert len(found) > 50
    unregistered = [name for name in found if name.removesuffix("_") not in REGISTRY and name not in HELPERS]
    assert unregistered == []
    assert [name for name in found if name not in HELPERS and not hasattr(catalogue, name)] == []


def promises(contract):
    stated = {field.name for field in fields(contract)} - {
        *("promise", "independent", "moments", "fills_bias", "variants", "positions", "activations", "tolerance")
    }
    return [name for name in stated if getattr(contract, name)]


def test_every_entry_promises_something_and_says_where_it_comes_from():
    for name, entry in REGISTRY.items():
        assert promises(entry.contract), name
        assert set(promises(entry.contract)) != {"deterministic"}, name
        for text in (entry.formula, entry.source, entry.meant_for, entry.contract.promise):
            assert text, name
            assert "\n" not in text, name
        described = entry.function.__doc__ or ""
        assert "not confirmed" not in described or entry.note, name
        for part in ("Source", ">>> "):  # what doctest runs
            assert part in described, name


# ------------------------------------------------------------ contracts can fail

HE = REGISTRY["kaiming_normal"].contract


def he(weight, *, generator, layer, scale=1.0):
    return torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator).mul_(scale)


def ignores_generator(weight, *, generator, layer):
    return he(weight, generator=torch.Generator().manual_seed(5), layer=layer)


def remembers(weight, *, generator, layer):
    return he(weight, generator=MEMORY, layer=layer)


def draws_globally(weight, *, generator, layer):
    random.random()
    np.random.rand()
    return he(weight, generator=generator, layer=layer)


def wrong_law(weight, *, generator, layer):
    return torch.nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator)


def shifted(weight, *, generator, layer):
    return he(weight, generator=generator, layer=layer).add_(0.01)


def takes_the_bias_too(weight, *, generator, layer, bias):
    bias.zero_()
    return he(weight, generator=generator, layer=layer)


def one_column_twice(weight, *, generator, layer):
    he(weight, generator=generator, layer=layer)
    weight[:, 0] *= 4
    return weight


def half_missing(weight, *, generator, layer):
    he(weight, generator=generator, layer=layer)
    weight[0, 0] = float("nan")
    return weight


MEMORY = torch.Generator().manual_seed(0)


def he_case():
    return case((32, 32), {"mode": "fan_in", "nonlinearity": "auto", "a": None})


def broken(function, **passed):
    return violations(function, HE, he_case(), passed=passed)


def test_the_honest_one_passes():
    assert broken(he) == []


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (ignores_generator, "the generator is not used"),
        (remembers, "the same generator state gave other numbers"),
        (wrong_law, "law of the weights"),
        (shifted, "mean is"),
        (takes_the_bias_too, "the bias was changed"),
        (one_column_twice, "mean square"),
    ],
)
def test_a_broken_one_is_caught(function, words):
    assert any(words in found for found in broken(function)), broken(function)


def test_five_per_cent_are_caught():
    for scale in (0.95, 1.05):
        assert any("mean square" in words for words in broken(he, scale=scale))


def test_nan_is_caught():
    with pytest.raises(ValueError, match="NaN"):
        broken(half_missing)


def test_use_of_the_global_generators_is_caught():
    entry = REGISTRY["kaiming_normal"]
    # as if it were part of the catalogue: those from outside are shielded by the caller
    from initbench.initializers import calling

    calling.catalogued_here.cache_clear()
    REGISTRY["draws_globally"] = type(entry)("draws_globally", draws_globally, "", "", "", HE)
    try:
        assert any("global random generator" in words for words in broken(draws_globally))
    finally:
        del REGISTRY["draws_globally"]
        calling.catalogued_here.cache_clear()


def test_each_exact_statement_can_fail():
    def eye(weight, *, generator):
        return weight.copy_(torch.eye(*weight.shape) * 1.05)

    where = case((6, 4), {})
    for contract, words in (
        (Contract("", deterministic=True, values=lambda c: np.eye(6, 4)), "not the stated matrix"),
        (Contract("", deterministic=True, isometry=lambda c: 1.0), "isometry"),
        (Contract("", deterministic=True, spectral_norm=lambda c: 1.0), "spectral norm"),
        (Contract("", deterministic=True, row_norm=lambda c: 1.0), "row norm"),
        (Contract("", deterministic=True, rank=lambda c: 3), "rank is not 3"),
        (Contract("", deterministic=True, zeros=lambda c: 19), "not exactly 19 zeros"),
        (Contract("", deterministic=True, mean=lambda c: 4 / 24), "mean is"),
        (Contract("", deterministic=True, checks={"trace 4": lambda c, w, b: float(w.trace()) == 4}), "trace 4"),
        (Contract("", deterministic=True, refuses=lambda c: "no"), "did not refuse"),
    ):
        assert any(words in found for found in violations(eye, contract, where)), words


def test_a_case_knows_its_fans():
    assert (case((2, 3), {}).n, case((2, 3), {}).m) == (3, 2)
    assert isinstance(case((2, 3), {}), Case)
