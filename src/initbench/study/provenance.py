"""What a study was made with: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from initbench import __version__
from initbench.startup.processes import cores

RECORDED_VERSIONS = ("torch", "numpy", "pandas", "hydra-core", "mlflow", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Versions of what computed the results."""
    own = {"initbench": __version__, "python": platform.python_version()}
    return own | {name: installed(name) for name in RECORDED_VERSIONS}


def installed(package: str) -> str:
    """Version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def machine() -> dict[str, Any]:
    """What the study ran on, without its name."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"system": platform.system(), "processor": model, "cores": cores()}


def git_commit() -> str | None:
    """Commit of the package's own repository, or of the current folder's; None outside of one."""
    for folder in (Path(__file__).parent, Path.cwd()):
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), "rev-parse", "HEAD"],
                capture_output=True,
                text=True,
                timeout=10,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode == 0:
            return done.stdout.strip()
    return None
