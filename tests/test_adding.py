"""docs/architecture.md shows how an optimizer and an activation are added, as diffs: they apply to this tree, and what they
add trains alike on the kernel, stacked, and one module at a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DIFFS = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.M | re.S)
KNOWN = ("config/", "engine/optim.py", "nets/mlp.py", "engine/kernel/", "engine/oracle.py", "conf/optim/")

TRAIN = """
import numpy as np

from initbench import data
from initbench.engine import one_by_one, stacked
from initbench.engine.kernel import declared, run as kernel
from initbench.engine.material import Material
from initbench.overrides.expand import expand

given = ["init=xavier_normal", "sharing=all", "data=teacher", "model.depth=3", "model.width=8", "measure=none"]
(arm,) = expand([*given, "optim=sign_sgd", "model.activation=mish", "optim.lr=[0.001,0.01]", "seeds=2", "train.steps=9"])
set_ = data.load(arm.data)
assert declared.refuses(arm, Material(arm, set_)) == ""
found = [one.run_chunk(arm, arm.runs, set_).series["loss/train"].values for one in (kernel, stacked, one_by_one)]
for losses in found:
    assert (losses[:, -1] < losses[:, 0]).all()
    assert np.allclose(losses, found[0], rtol=1e-5, atol=0)
print("alike")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the sources and options, and how git is called in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}

    def apply(diff, *flags):
        command = ["git", "apply", "--verbose", *flags, "-"]
        return subprocess.run(command, cwd=folder, env=env, input=diff, capture_output=True, text=True)

    return folder, apply


@pytest.mark.parametrize("k", range(2))
def test_the_documented_diffs_apply_and_touch_nothing_else(copy, k):
    assert len(DIFFS) == 2
    _, apply = copy
    done = apply(DIFFS[k], "--check")
    assert done.returncode == 0, done.stderr
    touched = re.findall(r"^\+\+\+ b/(?:src/initbench/)?(\S+)", DIFFS[k], re.M)
    assert len(touched) >= 4
    assert all(name.startswith(KNOWN) for name in touched)


@pytest.mark.slow
def test_what_the_diffs_add_trains_alike_on_every_path(copy):
    pytest.importorskip("numba")
    folder, apply = copy
    for diff in DIFFS:
        assert apply(diff).returncode == 0
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), "INITBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", TRAIN], cwd=folder, env=env, capture_output=True, text=True)
    assert done.stdout == "alike\n", done.stderr
