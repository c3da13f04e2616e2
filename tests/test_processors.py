"""Another processor: the same data but for last bits, and the same bits of what the kernel trains.

An old processor is played by telling OpenBLAS, MKL and torch to take the code that they have for one; the kernel is compiled for
the processor that is there. Where a library does not listen, as on ARM, its part compares nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import initbench as ib

OLD = {"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}
MADE = """
import json, sys
from initbench.data import LOADERS
for name, options in json.loads(sys.argv[1]):
    data = LOADERS[name](**options)
    print(json.dumps([data.x[:9].tolist(), data.y[:9].tolist()]))
"""


def said(*arguments: str, old: bool) -> str:
    """What Python prints with these arguments, on this processor or an old one."""
    known = {**os.environ, **OLD} if old else os.environ
    return subprocess.run(
        [sys.executable, *arguments], env=known, capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout


def test_made_data_are_the_same_but_for_the_last_bits():
    asked = [
        ("points", {"samples": 20, "inputs": 30, "correlation": 0.6, "function": "identity"}),
        ("points", {"samples": 6, "inputs": 6, "correlation": -0.2, "function": "identity"}),
        ("linear", {}),
        ("linear", {"inputs": 8, "outputs": 5, "modes": [3.0, 1.0, 1.0]}),
        ("teacher", {}),
    ]
    here, there = (said("-c", MADE, json.dumps(asked), old=old).splitlines() for old in (False, True))
    for (name, options), line, other in zip(asked, here, there, strict=True):
        for values, others in zip(json.loads(line), json.loads(other), strict=True):
            assert np.allclose(values, others, atol=1e-9), (name, options)


def test_what_the_kernel_trains_has_the_same_bits(tmp_path: Path):
    asked = [
        "init=kaiming_normal,orthogonal,lsuv", "sharing=none,all", "model.activation=gelu", "seeds=2", "optim.lr=[0.3]",
        "train.steps=20", "measure=light", "study=one", "track.uri=null", "report.formats=[csv]", "engine.workers=1",
    ]  # fmt: skip
    said("-m", "initbench", *asked, f"outputs={tmp_path / 'old'}", old=True)
    results = ib.run([*asked, f"outputs={tmp_path / 'here'}"], progress=False)
    assert results is not None
    pd.testing.assert_frame_equal(ib.load(tmp_path / "old" / "one").history, results.history, check_exact=True)
