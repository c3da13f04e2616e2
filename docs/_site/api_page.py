"""api.md and api_more.md on the site: the names that a person imports, from their docstrings."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import initbench as ib

ORDER = ("run", "load", "Results", "weights", "build", "InputError", "NotApplicable")  # then parameters, by name


def block(home: str, name: str, shown: str) -> str:
    """The directive of one name. Results has methods and properties."""
    members = '\n      members: null\n      filters: ["!^_"]' if name == "Results" else ""
    return f'::: {home}.{name}\n    options:\n      heading: "{shown}"\n      toc_label: "{shown}"{members}\n'


def of_package() -> str:
    """Every name of `initbench.__all__` but the two modules, those that run a study first."""
    rest = sorted(name for name in ib.__all__ if name not in (*ORDER, "stats", "theory"))
    return "\n".join(block(home_of(getattr(ib, name)), name, f"ib.{name}") for name in (*ORDER, *rest))


def home_of(thing: Any) -> str:
    return str(thing.__module__)


def of_module(module: ModuleType) -> str:
    """The functions and classes that a module offers."""
    found = [
        (name, one)
        for name, one in sorted(vars(module).items())
        if not name.startswith("_")
        and (inspect.isfunction(one) or inspect.isclass(one))
        and one.__doc__
        and home_of(one).startswith("initbench.")
    ]
    short = module.__name__.removeprefix("initbench.")
    return "\n".join(block(home_of(one), one.__name__, f"ib.{short}.{name}") for name, one in found)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri == "api.md":
        return markdown.replace("<!-- names -->", of_package())
    if page.file.src_uri == "api_more.md":
        for module in (ib.stats, ib.theory):
            markdown = markdown.replace(f"<!-- {module.__name__} -->", of_module(module))
    return markdown
