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


def hiding(folder: str) -> list[str]:
    """Files and packages of a folder that have the name of a library which is needed and not imported yet.

    >>> hiding(os.path.dirname(__file__))
    []
    """
    names = (LIBRARIES | sys.stdlib_module_names) - UNUSED
    found = []
    for entry in os.scandir(folder):
        name = entry.name.removesuffix(".py")
        package = os.path.isfile(os.path.join(entry.path, "__init__.py"))
        if name in names and (package or entry.name.endswith(".py")) and not elsewhere(name, entry.path):
            found.append(entry.name)
    return sorted(found)


def elsewhere(name: str, path: str) -> bool:
    """Whether a module is imported already, from another place."""
    if name not in sys.modules:
        return False
    file = getattr(sys.modules[name], "__file__", None)
    return not isinstance(file, str) or not os.path.realpath(file).startswith(os.path.realpath(path))


def check_folder() -> None:
    """End the command with status 2 where the current folder hides a library."""
    if os.path.realpath(sys.path[0] or ".") != os.path.realpath(os.getcwd()):
        return
    for name in hiding(os.getcwd()):
        what = "a folder" if not name.endswith(".py") else "a file"
        print(
            f"initbench: {name}: {what} in the current folder that Python imports in place of the library; "
            "rename it, or run in another folder",
            file=sys.stderr,
        )
        raise SystemExit(2)
