"""The notebooks of docs/notebooks, made from the pages that they repeat: python docs/_site/notebooks.py writes them.

Text becomes Markdown cells. A snippet with prompts becomes cells without them, one for each result that it shows; what the
page says comes out is left out, since the notebook shows it. An error that the page shows is caught and printed.
"""

from __future__ import annotations

import doctest
import json
import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
PAGES = {  # notebook -> page
    "parameter_management.ipynb": "parameter_management.md",
    "parameter_management.zh.ipynb": "parameter_management.zh.md",
    "first_study.ipynb": "tutorials/notebook.md",
}
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()(?![a-z]+:)([^)\s#]+)")


def cells(page: str, folder: str) -> list[tuple[str, str]]:
    """(kind, text) of each cell of a page in `folder` of docs/."""
    found = []
    for i, part in enumerate(CODE.split(page)):
        if i % 2:
            found += [("code", code) for code in (of_prompts(part) if part.startswith(">>>") else [part.strip()])]
        elif part.strip():
            found.append(
                (
                    "markdown",
                    LINK.sub(
                        lambda m: m[1] + posixpath.relpath(posixpath.join(folder, m[2]), "notebooks"), part.strip()
                    ),
                )
            )
    return found


def of_prompts(snippet: str) -> list[str]:
    """The cells of a snippet with prompts: each ends where it shows something."""
    found, waiting = [], ""
    for example in doctest.DocTestParser().get_examples(snippet):
        waiting += caught(example.source) if example.want.startswith("Traceback") else example.source
        if example.want:
            found.append(waiting.strip())
            waiting = ""
    return [*found, waiting.strip()] if waiting.strip() else found


def caught(source: str) -> str:
    return f"try:\n    {source.strip()}\nexcept ib.InputError as error:\n    print(error)\n"


def notebook(page: str) -> dict[str, Any]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return {
        "cells": [
            {"id": f"cell-{i}", "cell_type": kind, "metadata": {}, "source": body.splitlines(keepends=True)}
            | ({"execution_count": None, "outputs": []} if kind == "code" else {})
            for i, (kind, body) in enumerate(cells(text, posixpath.dirname(page)))
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                     "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


def written(page: str) -> str:
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / "notebooks" / name).write_text(written(page), encoding="utf-8")
