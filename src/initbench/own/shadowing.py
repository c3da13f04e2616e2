"""A file in the current folder that Python would import in place of a library: named before anything breaks."""

from __future__ import annotations

import os
import sys

LIBRARIES = frozenset(
    (
        *(
            "numpy",
            "torch",
            "pandas",
            "scipy",
            "hydra",
            "omegaconf",
            "yaml",
            "antlr4",
            "mlflow",
            "sklearn",
            "matplotlib",
        ),
        *("rich", "numba", "llvmlite", "pyarrow", "jinja2", "packaging", "dateutil", "sympy", "networkx", "initbench"),
        *("sqlalchemy", "alembic", "cloudpickle", "PIL", "joblib", "typing_extensions", "requests", "pydantic"),
    )
)
UNUSED = frozenset(("test", "this", "antigravity", "turtle", "turtledemo", "idlelib", "tkinter", "lib2to3", "venv"))


def hiding(folder: str, anew: bool = False) -> list[str]:
    """Files and packages of a folder that have the name of a library which is needed and not imported yet; `anew`: in a
    process that has imported nothing.

    >>> hiding(os.path.dirname(__file__))
    []
    """
    names = (LIBRARIES | sys.stdlib_module_names) - UNUSED
    found = []
    for entry in os.scandir(folder):
        name = entry.name.removesuffix(".py")
        package = os.path.isfile(os.path.join(entry.path, "__init__.py"))
        if name in names and (package or entry.name.endswith(".py")) and (anew or not elsewhere(name, entry.path)):
            found.append(entry.name)
    return sorted(found)


def elsewhere(name: str, path: str) -> bool:
    """Whether a module is imported already, from another place."""
    if name not in sys.modules:
        return False
    file = getattr(sys.modules[name], "__file__", None)
    return not isinstance(file, str) or not os.path.realpath(file).startswith(os.path.realpath(path))


def check_folder(script: bool = False) -> None:
    """End the command with status 2 where the current folder hides a library. An installed `script` does not look there
    itself, but the processes that it starts do."""
    here = os.path.realpath(sys.path[0] or ".") == os.path.realpath(os.getcwd())
    if here is script or sys.flags.safe_path:
        return
    for name in hiding(os.getcwd(), anew=script):
        what = "a folder" if not name.endswith(".py") else "a file"
        print(
            f"initbench: {name}: {what} in the current folder that Python imports in place of the library; "
            "rename it, or run in another folder",
            file=sys.stderr,
        )
        raise SystemExit(2)
