"""Every refusal is one line of one form: `KEY=VALUE: what is wrong; what to do`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import initbench

PACKAGE = Path(initbench.__file__).parent
MAKERS = ("refusal", "inapplicable", "failed", "_broken", "wrong")  # `wrong` of own_files names the file
# the only places that make the exceptions without the form: their words come from a refusal, or are one
EXCEPT = {
    "errors.py": "the helpers themselves",
    "own/code.py": "OwnCodeFailed is an InputError with the words of a refusal",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", "")), node


def literals(node: ast.AST) -> str:
    """What is written out of a text: its constants, with … for the values between them."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literals(one) for one in node.values)
    if isinstance(node, ast.BinOp):
        return literals(node.left) + literals(node.right)
    if isinstance(node, ast.IfExp):
        return literals(node.body) or literals(node.orelse)
    return "…"


def test_every_refusal_is_made_by_the_helper_of_the_form():
    found = [
        f"{file}:{call.lineno}"
        for file, tree in sources()
        for name, call in calls(tree)
        if name in ("InputError", "NotApplicable", "OwnCodeFailed") and file not in EXCEPT
    ]
    assert found == []


def test_the_parts_of_every_refusal_are_clauses():
    seen = 0
    for file, tree in sources():
        for name, call in calls(tree):
            if name not in ("refusal", "inapplicable") or file in EXCEPT or isinstance(call.args[-1], ast.Starred):
                continue
            seen += 1
            where = f"{file}:{call.lineno}"
            assert len(call.args) == 3, where
            for part in map(literals, call.args):
                assert part.strip(), where
                assert part == part.strip(), where
                assert "\n" not in part, where
                assert not part.endswith((".", ";", ":")) or part.endswith("..."), where
            assert not literals(call.args[1]).startswith(("allowed", "must be one")), where
            for words in ("allowed are", "needed are", "foretell", "whole number from", " has none", "no array"):
                assert words not in " ".join(map(literals, call.args)), f"{where}: {words}"
    assert seen > 300
