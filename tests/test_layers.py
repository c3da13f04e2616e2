"""Who may import whom: the floors of docs/architecture.md hold, lazy imports included, and nothing runs in a circle."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "initbench"
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# libraries that only some rooms may import
ONLY = {
    "mlflow": {"track"},
    "matplotlib": {"report", "claims"},
    "numba": {"engine"},
    "hydra": {"__main__", "config", "overrides", "own", "study"},
    "omegaconf": {"config", "overrides", "study"},
}
WITHOUT_TORCH = {"stats", "report", "claims", "track", "cli", "store", "startup"}


@cache
def imports() -> dict[str, set[str]]:
    """Module -> the modules it imports, anywhere in its file but under TYPE_CHECKING; other libraries by their name."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    known, found = set(names.values()), {}
    for path, name in names.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        left_out = {id(part) for node in for_types for part in ast.walk(node)}
        found[name] = set()
        for node in ast.walk(tree):
            if id(node) in left_out:
                continue
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= (full & known) | ({node.module} if full - known else set())
    return found


def room(module: str) -> str:
    """The folder of a module below the package, or its file's name at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floors() -> list[list[str]]:
    """The floors of the picture, from the top one down."""
    picture = re.search(r"```floors\n(.*?)```", MAP, re.DOTALL)
    assert picture
    return [re.split(r"\s+", line.split("|")[0].strip()) for line in picture[1].strip().splitlines()]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of a graph, or nothing."""
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph.get(node, ())):
            found = walk(other, [*way, node])
            if found:
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


def test_a_room_imports_from_lower_floors_only():
    height = {name: -i for i, floor in enumerate(floors()) for name in floor}
    rooms = {room(name) for name in imports()} - {"__init__"}
    assert set(height) == rooms
    for name, others in imports().items():
        for other in others:
            if other.startswith("initbench.") and room(other) != room(name) != "__init__":
                assert height[room(other)] < height[room(name)], f"{name} imports {other}"


def test_no_files_import_each_other_in_a_circle():
    assert circle(imports()) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_imported_where_it_belongs(library):
    users = {room(name) for name, others in imports().items() if any(o.split(".")[0] == library for o in others)}
    assert users <= ONLY[library]


def test_what_needs_no_torch_imports_none():
    for name, others in imports().items():
        if room(name) in WITHOUT_TORCH:
            assert not any(other.split(".")[0] == "torch" for other in others), name


def test_the_rooms_stay_small():
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: n for path, n in files.items() if n > 400} == {}
    assert len([path for path in files if path.parent == PACKAGE]) <= 12


def test_the_walks_name_files():
    walks = re.findall(r"```\n(.*?)```", MAP.split("Two walks")[1].split("## Map")[0], re.DOTALL)
    assert len(walks) == 3
    for walk in walks:
        steps = [line.split()[0] for line in walk.splitlines()]
        assert len(steps) <= 10
        assert [step for step in steps if not (PACKAGE / f"{step}.py").is_file()] == []
