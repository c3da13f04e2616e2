"""Findings on disk: one small text file a cause, that names the target, the input as a Python literal, and the traceback."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

from .judge import Finding


def path_of(folder: Path, target: str, key: str) -> Path:
    return folder / f"{target}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:8]}.txt"


def save(folder: Path, target: str, finding: Finding, given: Any) -> bool:
    """Keep a finding, or a smaller input of a known one; tells whether its cause is new."""
    path = path_of(folder, target, finding.key)
    known = path.is_file()
    if not known or len(repr(given)) < len(repr(load(path)[1])):
        folder.mkdir(parents=True, exist_ok=True)
        head = f"target: {target}\nfinding: {finding.key}\ninput: {given!r}\n\n"
        path.write_text(head + finding.text, encoding="utf-8", errors="backslashreplace")
    return not known


def load(path: Path) -> tuple[str, Any]:
    """(target, input) of a kept finding."""
    lines = path.read_text(encoding="utf-8").split("\n", 3)
    return lines[0].removeprefix("target: "), ast.literal_eval(lines[2].removeprefix("input: "))
