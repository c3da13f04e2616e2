"""Break every single constant of every law by 5%: the contract must notice.

`pytest -m long -s tests/test_initializers_mutations.py` breaks them all, on all cores, and prints the score; the default
suite a few. For initializers that fill a whole net the second writing of their definitions is the judge; a default is
written a second time in the option file of the initializer's name.
"""

import ast
import importlib
import inspect
import multiprocessing
import random
import types
from collections import Counter
from pathlib import Path

import pytest
import torch

import test_initializers_transcribed as second
from initbench.initializers import REGISTRY, options, verify_net
from initbench.initializers.option_files import known, load_option
from initbench.initializers.verify import cases, violations

SHAPES = ((32, 32), (20, 48), (48, 20), (20, 1), (6, 2), (1, 1))
# what changes the law by a per cent needs a million draws; what stands beside fan_in shows best at fan_in 1
STRONG_SHAPES, STRONG = ((32, 32), (20, 48), (20, 1)), 1_000_000
MODULES = sorted({entry.function.__module__ for entry in REGISTRY.values()})

# Constants without an effect on a law, each with the reason.
EQUIVALENT = {
    ("orthogonal", "he_orthogonal_", 2): "guard: a row of one has no variance, at 2.1 the same shapes are refused",
    ("orthogonal", "glorot_orthogonal_", 2): "guard on the number of entries",
    ("orthogonal", "scaled_orthogonal_", 1): "guard on the depth",
    ("depth_rules", "wang_init_", 1): "guard on the depth",
    ("depth_rules", "_width", 1): "guard on an argument",
    ("mean_field", "critical_length", 1000.0): "end of the search grid",
    ("mean_field", "critical_length", 120): "points of the search grid",
    ("mean_field", "row_standardized_", 2): "guard: a row of one has no variance",
    ("structured", "sinusoidal_", 2): "guard on the number of entries",
    ("data_dependent", "_spread", 1): "guard on the dimensions of an array",
    ("data_dependent", "_centroids", 1): "guard against a division by 0",
    ("gradient_dependent", "nio_", 1): "guard: a batch of one sample",
    ("fields", "kept_size", 0.01): "end of the search grid",
    ("fields", "kept_size", 100.0): "end of the search grid",
    ("fields", "kept_size", 80): "points of the search grid",
    ("sparse", "rotated", 1): "a count of rotations",
    ("sparse", "_draws", 64): "numbers drawn at once",
    ("data_dependent", "weight_norm_ddi_", 0.05): "the size of v is divided out again",
}
UNTOUCHED = ("literal",)  # reads files: its numbers are dimensions of arrays


def tells_a_contract(function):
    """Helpers of contracts take a Case `c` or a drawn weight `w`; they are the measure, not what is
    measured.
    """
    names = [argument.arg for argument in function.args.args]
    measure = (
        "_law",
        "_by_hermite",
        "_given_bias",
        "_power",
        "_square_fourth",
        "_standard_rows",
        "_is_isometry",
        "_kumar_scale",
        "_stated_square",
        "_stated_kept",
    )
    is_contract = function.name in measure or function.name.endswith("_contract")
    return is_contract or (bool(names) and names[0] in ("c", "w", "d"))


def constants(tree):
    """(function or variable name, node) of the numbers that make a law: no indices, no guards, no zeros."""
    for top in tree.body:
        if isinstance(top, ast.FunctionDef) and not tells_a_contract(top):
            parts, name = [*top.body, *filter(None, top.args.kw_defaults)], top.name
        elif isinstance(top, ast.Assign) and isinstance(top.targets[0], ast.Name):
            parts, name = [top.value], top.targets[0].id
            if name.startswith("_") or name == "DISTRIBUTIONS":
                continue
        else:
            continue
        skip = set()
        for part in parts:
            for node in ast.walk(part):
                if isinstance(node, ast.Subscript):
                    skip |= {id(inner) for inner in ast.walk(node.slice)}
                if isinstance(node, ast.Call) and places(node.func) in PLACES:
                    skip |= {id(inner) for argument in node.args for inner in ast.walk(argument)}
                if isinstance(node, ast.keyword) and node.arg in ("dim", "keepdim", "order"):  # order: a cost, no law
                    skip |= {id(inner) for inner in ast.walk(node.value)}
                if isinstance(node, (ast.Raise, ast.JoinedStr)):
                    skip |= {id(inner) for inner in ast.walk(node)}
                if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):  # what an argument may be
                    skip |= {id(inner) for inner in ast.walk(node.test)}
            for node in ast.walk(part):
                number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
                if number and id(node) not in skip and abs(node.value) > 1e-5:
                    yield name, node


PLACES = ("sum", "mean", "norm", "argsort", "cat", "_order", "_half_shape", "len")


def places(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def mutant(module_name, k):
    """(where, mutated module, its entries): the module with its k-th constant 5% larger."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    name, node = list(constants(tree))[k]
    value = node.value
    node.value = value * 1.05
    fresh = types.ModuleType(module_name + "_mutant")
    fresh.__file__ = importlib.import_module(module_name).__file__
    saved = dict(REGISTRY)
    try:
        exec(compile(tree, fresh.__file__, "exec"), vars(fresh))
        entries = {key: entry for key, entry in REGISTRY.items() if entry is not saved.get(key)}
    finally:
        REGISTRY.clear()
        REGISTRY.update(saved)
    return (module_name.rpartition(".")[2], name, value, node.lineno), fresh, entries


def all_constants():
    """(module, number) of every constant that is broken."""
    for module_name in MODULES:
        if module_name.rpartition(".")[2] in UNTOUCHED:
            continue
        tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
        short = module_name.rpartition(".")[2]
        for k, (name, node) in enumerate(constants(tree)):
            if (short, name, node.value) not in EQUIVALENT:
                yield module_name, k


def users(tree, name):
    """Top-level functions that reach `name`, itself included."""
    bodies = {top.name: top for top in tree.body if isinstance(top, ast.FunctionDef)}
    found = {name}
    while True:
        more = {
            function
            for function, top in bodies.items()
            for part in top.body
            for node in ast.walk(part)
            if isinstance(node, ast.Name) and node.id in found
        }
        if more <= found:
            return found
        found |= more


def is_caught(module_name, fresh, name, entries, shapes=SHAPES):
    """Whether the contract of any entry that reaches the constant notices, at so many drawn entries a case."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    reached = users(tree, name)
    for entry in list(REGISTRY.values()):
        if entry.needs != "nothing" or entry.function.__module__ != module_name:
            continue
        if entry.function.__name__ not in reached:
            continue
        function = getattr(fresh, entry.function.__name__)
        variants = ({}, *entry.contract.variants)
        for c in cases(entry.function, entry.contract, shapes):
            # what the case was given besides the defaults, so that a mutated default is used
            passed = next((v for v in variants if v and all(c.args[k] == v[k] for k in v)), {})
            try:
                if violations(function, entry.contract, c, passed=passed, entries=entries):
                    return True
            except Exception:  # a mutant that crashes is noticed too
                return True
    return False


JUDGES = {  # entry -> checks against the second writing of its definition
    "lsuv": [
        lambda: second.test_lsuv("relu", False, 0.1, 10),
        lambda: second.test_lsuv("tanh", True, 0.1, 10),
        *(lambda tol=tol: second.test_lsuv("relu", False, tol, 10) for tol in (0.02, 0.05, 0.2, 0.3, 0.4, 0.5)),
        lambda: second.test_lsuv("tanh", False, 1e-12, 2),
    ],
    "weight_norm_ddi": [lambda: second.test_unit_statistics("relu", "weight_norm_ddi", 0.05, 0.0)],
    "krahenbuhl": [
        lambda: second.test_unit_statistics("relu", "krahenbuhl", 1.0, 0.1),
        *(lambda kind=kind: second.test_krahenbuhl_directions(kind) for kind in ("pca", "zca", "rand")),
        lambda: second.test_krahenbuhl_between("relu"),
        lambda: second.test_krahenbuhl_between("tanh"),
        lambda: second.check_stop(broken_part("krahenbuhl", "_equal_rates_")),
    ],
    "pca": [lambda: second.test_pca("tanh")],
    "kmeans": [second.test_kmeans_centroids],
    "metainit": [
        lambda: second.test_metainit("tanh"),
        lambda: second.check_quotient(broken_part("metainit"), 0.01),
    ],
    "gradinit": [
        lambda: second.test_gradinit("sgd", 0.1, 0.02, 0.01),
        lambda: second.test_gradinit("adam", 0.1, 0.1, 0.7),
    ],
    "nio": [lambda: second.test_nio(0.0), lambda: second.test_nio(0.3)],
    "balanced": [lambda: second.test_balanced(0.3)],
    "decoupled": [lambda: second.test_decoupled(0.5)],
    "swim": [lambda: second.test_swim("relu"), lambda: second.test_swim("tanh")],
}


def broken_part(name, part="gradient_quotient"):
    """A function that an entry calls, as it stands in the entry's (mutated) module."""
    return REGISTRY[name].function.__globals__[part]


def is_judged(module_name, name, entries):
    """Whether the second writing, or the contract on nets, notices what a broken constant did to whole nets."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    reached = users(tree, name)
    touched = {key: entry for key, entry in entries.items() if entry.needs != "nothing"}
    saved = dict(REGISTRY)
    REGISTRY.update(touched)
    try:
        for key, entry in touched.items():
            if entry.function.__name__ not in reached:
                continue
            judges = [*JUDGES.get(key, []), lambda entry=entry: refuse(verify_net.check(entry))]
            if key in second.DEFAULTS:
                judges.append(lambda key=key: second.test_the_defaults_are_those_of_the_definition(key))
            for judge in judges:
                try:
                    judge()
                except Exception:
                    return True
    finally:
        REGISTRY.clear()
        REGISTRY.update(saved)
    return False


def refuse(broken):
    assert broken == []


def misses_its_option(module_name, fresh):
    """Whether a default is no longer the one that the option file of the initializer's name states."""
    functions = {k: e.function for k, e in REGISTRY.items() if e.function.__module__ == module_name and k in known()}
    return any(defaults_of(key, getattr(fresh, f.__name__)) != stated_defaults(key) for key, f in functions.items())


# where an option and its function differ on purpose: torch's and JAX's functions start at std 1, nets at .02
DIFFERENT = {name: {"std": 0.02} for name in ("trunc_normal", "trunc_normal_2sigma", "trunc_normal_scaled")}


def defaults_of(name, function):
    return {**options(function), **DIFFERENT.get(name, {})}


def stated_defaults(option):
    return {key: value for key, value in load_option(option).items() if key not in ("name", "_target_", "bias")}


@pytest.mark.parametrize("name", sorted(set(REGISTRY) & set(known())))
def test_the_option_of_an_initializers_name_states_its_defaults(name):
    assert defaults_of(name, REGISTRY[name].function) == stated_defaults(name)


def notice(which):
    """(whether breaking this constant is noticed, in which module, where it stands)."""
    module_name, k = which
    (module, name, value, line), fresh, entries = mutant(module_name, k)
    noticed = (  # most are seen at once
        is_caught(module_name, fresh, name, 5000)
        or misses_its_option(module_name, fresh)
        or is_judged(module_name, name, entries)
        or is_caught(module_name, fresh, name, STRONG, STRONG_SHAPES)
    )
    return noticed, module, f"{module}.{name}: {value} in line {line}"


@pytest.mark.parametrize("which", random.Random(3).sample(list(all_constants()), 8))  # none that takes minutes
def test_a_few_broken_constants_are_noticed(which):
    noticed, _, where = notice(which)
    assert noticed, where


def test_the_page_says_how_many_constants_there_are():
    page = Path(__file__).parents[1] / "docs" / "catalogue.md"
    assert f"{len(list(all_constants()))} constants" in page.read_text(encoding="utf-8")


@pytest.mark.long
def test_every_five_per_cent_are_noticed():
    seen, total, survivors = Counter(), Counter(), []
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for noticed, module, where in pool.imap(notice, all_constants()):
            seen[module] += noticed
            total[module] += 1
            survivors += [] if noticed else [where]
            print("." if noticed else f"\nnot noticed: {where}", end="", flush=True)
    for module in total:
        print(f"\n{module}: {seen[module]} of {total[module]} broken constants noticed", end="")
    print(f"\nall: {seen.total()} of {total.total()} = {seen.total() / total.total():.1%}")
    assert seen.total() / total.total() >= 0.95
    assert survivors == []
