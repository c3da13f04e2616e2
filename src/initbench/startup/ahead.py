"""What the process imports that others are forked from: those that train, and the one that draws the report.

Importing is what their start costs, so it is done once, while the command plans. Nobody looks for garbage meanwhile (a
fifth of the time), nor later among what is there now: a page that nobody writes to stays shared.
"""

from __future__ import annotations

import gc
from importlib import import_module

MODULES = (
    "initbench.study.worker",
    "initbench.study.results",
    "initbench.report.blocks",
    "initbench.report.export",
    "initbench.report.page",
    "initbench.report.text",
    "matplotlib.backends.backend_svg",
    "scipy.special",
)

gc.disable()
try:
    for module in MODULES:
        import_module(module)
finally:
    gc.enable()
gc.freeze()
