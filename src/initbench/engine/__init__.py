"""Training: from the runs of an arm to a chunk of series. `trainers` says what can train what; all of them take batches,
starts and probes from `material`.
"""

import os

# MKL's matrix products depend on where a matrix lies in memory, so on a run's place in its stack, unless this is set
# before its first call (measured for fans such as 5 or 9; it costs no time). Worker processes inherit it.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
