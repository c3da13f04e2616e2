"""initbench: which weight initialization and which parameter sharing make an MLP train fastest, and how sure is that?

>>> import initbench as ib
>>> ib.__version__.count(".")
2
"""

import sys
from typing import TYPE_CHECKING, Any

from initbench.own.shadowing import check_folder

if TYPE_CHECKING:  # the same names as _HOME, for type checkers and editors, which call no __getattr__
    from initbench import stats, theory
    from initbench.errors import InputError, NotApplicable
    from initbench.measure.live import diagnose
    from initbench.parameters import (
        constant_table,
        count_uses,
        initialize_,
        parameter,
        parameter_table,
        share_,
        untie_,
        use_gradients,
    )
    from initbench.study.build import build
    from initbench.study.command import run
    from initbench.study.results import Results, load
    from initbench.study.weights import weights

if sys.argv[:1] == ["-m"]:  # a command: nothing else is imported yet
    check_folder()

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "NotApplicable",
    "Results",
    "build",
    "constant_table",
    "count_uses",
    "diagnose",
    "initialize_",
    "load",
    "parameter",
    "parameter_table",
    "run",
    "share_",
    "stats",
    "theory",
    "untie_",
    "use_gradients",
    "weights",
]

# The public names and where they live. They are imported at first use, so that `import initbench` (and with it every
# --help and every worker process) does not import pandas, torch or Hydra.
_HOME = {
    "run": "initbench.study.command",
    "build": "initbench.study.build",
    "load": "initbench.study.results",
    "Results": "initbench.study.results",
    "weights": "initbench.study.weights",
    "diagnose": "initbench.measure.live",
    "InputError": "initbench.errors",
    "NotApplicable": "initbench.errors",
    **dict.fromkeys(
        (
            *("constant_table", "count_uses", "initialize_", "parameter", "parameter_table"),
            *("share_", "untie_", "use_gradients"),
        ),
        "initbench.parameters",
    ),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in ("stats", "theory"):
        from importlib import import_module

        return import_module(f"initbench.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'initbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
