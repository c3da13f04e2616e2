"""Engines: `fused` trains the stacked runs of an arm at once, `reference` one plain nn.Module at a time (the oracle).

Both are functions `(arm, runs, data) -> Chunk`, and both take batches, starts and probes from `engine.material`.
"""

import os

# MKL's matrix products depend on where a matrix lies in memory, so on a run's place in its stack, unless this is set
# before its first call (measured for fans such as 5 or 9; it costs no time). Worker processes inherit it.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
