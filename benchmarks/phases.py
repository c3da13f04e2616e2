"""Where the time of one command goes, phase by phase: python -m benchmarks.phases [overrides of python -m initbench]

Wall seconds, and processor seconds of this process (workers not counted), between one phase and the next; MLflow's
import and tables run in the background and count where they happen to run. From the top of the repository.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

STARTED = time.monotonic(), time.process_time()


def main() -> int:
    marks: list[tuple[str, float, float]] = []

    def mark(name: str) -> None:
        marks.append((name, time.monotonic(), time.process_time()))

    def watched(module: Any, function: str, before: str, after: str) -> None:
        """Close a phase named `before` at the call and one named `after` at its return."""
        inner: Callable[..., Any] = getattr(module, function)

        def call(*args: Any, **kwargs: Any) -> Any:
            mark(before)
            try:
                return inner(*args, **kwargs)
            finally:
                mark(after)

        setattr(module, function, call)

    from initbench.startup.processes import begin

    begin()  # as the command does before it imports the rest
    from initbench import __main__, track
    from initbench.study import command as study
    from initbench.study import saying

    watched(study, "expand_study", "imports of the command", "compose every arm")
    watched(study, "trainer_of", "plan: keys, checks, import of torch", "start of workers")
    watched(__main__, "trained", "start of the display", "training")
    watched(study, "collect", "MLflow's import, if it took longer", "rest of the records")
    watched(study, "describe", "before the records", "what the study consists of")
    # twice: frames, then report
    watched(study, "later", "MLflow's experiment", "made by this process (engine.workers=1), or begun by another")
    watched(track, "fill", "frames by the other process, pandas by this one", "MLflow, while the other draws")
    watched(saying, "say_outcome", "the rest of the report", "leaderboard")
    status = __main__.main(sys.argv[1:])
    mark("end of the other processes")
    before = STARTED
    print(f"{'wall s':>8} {'cpu s':>8}  phase", file=sys.stderr)
    for name, wall, cpu in marks:
        print(f"{wall - before[0]:8.2f} {cpu - before[1]:8.2f}  {name}", file=sys.stderr)
        before = wall, cpu
    return status


if __name__ == "__main__":
    sys.exit(main())
