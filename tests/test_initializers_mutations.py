"""Break every single constant of every law by 5%: the contract must notice. `pytest -m long -s` prints the
score.
"""

import ast
import importlib
import inspect
import types

import pytest

from initbench.initializers import REGISTRY
from initbench.initializers.verify import cases, violations

SHAPES = ((32, 32), (20, 48), (48, 20), (20, 1), (6, 2), (1, 1))
MODULES = sorted({entry.function.__module__ for entry in REGISTRY.values() if entry.needs == "nothing"})

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
}
UNTOUCHED = ("literal",)  # reads files: its numbers are dimensions of arrays


def tells_a_contract(function):
    """Helpers of contracts take a Case `c` or a drawn weight `w`; they are the measure, not what is
    measured.
    """
    names = [argument.arg for argument in function.args.args]
    measure = ("_law", "_by_hermite", "_square_fourth", "_standard_rows", "_is_isometry", "_kumar_scale")
    return function.name in measure or (bool(names) and names[0] in ("c", "w", "d"))


def constants(tree):
    """(function or variable name, node) of the numbers that make a law: no indices, no guards, no zeros."""
    for top in tree.body:
        if isinstance(top, ast.FunctionDef) and not tells_a_contract(top):
            parts, name = [*top.body, *filter(None, top.args.kw_defaults)], top.name
        elif isinstance(top, ast.Assign) and isinstance(top.targets[0], ast.Name):
            parts, name = [top.value], top.targets[0].id
            if name.startswith("_") or name in ("DISTRIBUTIONS", "KINKED"):
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
                if isinstance(node, ast.keyword) and node.arg in ("dim", "keepdim"):
                    skip |= {id(inner) for inner in ast.walk(node.value)}
                if isinstance(node, (ast.Raise, ast.JoinedStr)):
                    skip |= {id(inner) for inner in ast.walk(node)}
            for node in ast.walk(part):
                number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
                if number and id(node) not in skip and abs(node.value) > 1e-5:
                    yield name, node


PLACES = ("sum", "mean", "norm", "argsort", "cat", "_order", "_half_shape", "len")


def places(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def mutants(module_name):
    """(where, mutated module): one for each constant, which is 5% larger there."""
    source = inspect.getsource(importlib.import_module(module_name))
    count = len(list(constants(ast.parse(source))))
    for k in range(count):
        tree = ast.parse(source)
        name, node = list(constants(tree))[k]
        value = node.value
        node.value = value * 1.05
        fresh = types.ModuleType(module_name + "_mutant")
        fresh.__file__ = importlib.import_module(module_name).__file__
        saved = dict(REGISTRY)
        try:
            exec(compile(tree, fresh.__file__, "exec"), vars(fresh))
        finally:
            REGISTRY.clear()
            REGISTRY.update(saved)
        yield (module_name.rpartition(".")[2], name, value, node.lineno), fresh


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


def is_caught(module_name, mutant, name, entries):
    """Whether the contract of any entry that reaches the constant notices, at so many drawn entries a
    case.
    """
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    reached = users(tree, name)
    for entry in REGISTRY.values():
        if entry.function.__module__ != module_name or entry.function.__name__ not in reached:
            continue
        function = getattr(mutant, entry.function.__name__)
        variants = ({}, *entry.contract.variants)
        for c in cases(entry.function, entry.contract, SHAPES):
            # what the case was given besides the defaults, so that a mutated default is used
            passed = next((v for v in variants if v and all(c.args[k] == v[k] for k in v)), {})
            try:
                if violations(function, entry.contract, c, passed=passed, entries=entries):
                    return True
            except Exception:  # a mutant that crashes is noticed too
                return True
    return False


@pytest.mark.long
@pytest.mark.parametrize("module_name", MODULES)
def test_every_five_per_cent_are_noticed(module_name):
    survivors, total = [], 0
    for (module, name, value, line), mutant in mutants(module_name):
        if (module, name, value) in EQUIVALENT or module in UNTOUCHED:
            continue
        total += 1
        # most are seen at once; what changes the law by a per cent needs more draws
        if not any(is_caught(module_name, mutant, name, entries) for entries in (5000, 300000)):
            survivors.append(f"{module}.{name}: {value} in line {line}")
    print(f"{module_name}: {total - len(survivors)} of {total} broken constants noticed")
    assert survivors == []
