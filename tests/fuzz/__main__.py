"""Try hostile and odd input: `python -m tests.fuzz TARGET|all`; not part of the test suite, which runs a few inputs.

    python -m tests.fuzz all --minutes 60              # 7 targets by 2 engines, two at a time
    python -m tests.fuzz overrides --minutes 5 --engine hypothesis
    python -m tests.fuzz --replay FILE                 # one finding again

Needs Linux or macOS; the engine atheris, which follows the code covered, is the optional extra `fuzz`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

ENGINES = ("hypothesis", "atheris")
SILENT = 150.0  # seconds without a word after which a process hangs in code that no signal ends
TARGETS = ("overrides", "options", "npz", "study", "frames", "names", "argv")


@dataclass
class Job:
    """One target by one engine, in a process of its own, which is started again where it is killed."""

    target: str
    engine: str
    seconds: float
    seed: int
    folder: Path
    inputs: int = 0
    found: set[str] = field(default_factory=set)
    took: float = 0.0

    def run(self) -> None:
        started = time.monotonic()
        seed = self.seed
        while (left := self.seconds - (time.monotonic() - started)) > 1:
            self.process(left, seed)
            seed += 1000
        self.took = time.monotonic() - started

    def process(self, seconds: float, seed: int) -> None:
        """One process to its end; what kills it is a finding as well."""
        from .findings import save
        from .judge import Finding

        with tempfile.TemporaryDirectory() as scratch:
            current = Path(scratch) / "current"
            command = [sys.executable, "-m", "tests.fuzz", self.target, "--engine", self.engine, "--seed", str(seed)]
            command += ["--minutes", str(seconds / 60), "--findings", str(self.folder), "--child", str(current)]
            env = {**os.environ, "TMPDIR": scratch, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
            child = subprocess.Popen(
                ["nice", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
            )
            assert child.stdout is not None
            heard = [time.monotonic()]
            ended = threading.Event()

            def watch() -> None:
                while not ended.wait(2):
                    if time.monotonic() - heard[0] > SILENT:
                        child.kill()

            threading.Thread(target=watch, daemon=True).start()
            before = self.inputs
            for line in child.stdout:
                heard[0] = time.monotonic()
                if line.startswith("{"):
                    said = json.loads(line)
                    self.inputs = before + said["inputs"]
                    self.found |= set(said["findings"])
            status = child.wait()
            ended.set()
            if status and current.is_file():
                finding = Finding(
                    "Killed", f"status {status}", "the process ended, or hung in code that no signal ends"
                )
                self.found.add(finding.key)
                save(self.folder, self.target, finding, ast.literal_eval(current.read_text(encoding="utf-8")))
            elif status:
                raise SystemExit(f"{' '.join(command)} ended with status {status} before its first input")


def child(name: str, engine: str, seconds: float, seed: int, folder: Path, current: Path) -> None:
    """The whole of a process that tries inputs; its imports count as time."""
    until = time.monotonic() + seconds
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["initbench"], exclude=["initbench.engine.kernel"]):
            import initbench.inspect
            import initbench.report.blocks
            import initbench.report.versus
            import initbench.study.command  # noqa: F401
    from . import engines, targets

    target = targets.TARGETS[name]
    target.ready()

    def told(text: str) -> None:
        print(text, file=sys.__stdout__, flush=True)

    session = engines.Session(name, target, folder, until, current, told)
    session.tell()
    (engines.by_atheris if engine == "atheris" else engines.by_hypothesis)(session, seed)
    session.tell()


def replay(path: Path) -> int:
    """Run a kept input again; status 1 where it still is a finding."""
    from . import findings, judge, targets

    name, given = findings.load(path)
    targets.TARGETS[name].ready()
    found = judge.judge(targets.TARGETS[name].run, given)
    print(f"{name}: {given!r}\n{found.text if found else 'accepted, or refused in one line'}")
    return int(found is not None)


def together(jobs: list[Job], workers: int) -> None:
    """The jobs, so many at a time, with a line of progress."""
    waiting, lock = list(jobs), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                job = waiting.pop(0)
            job.run()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    end = "\r" if sys.stderr.isatty() else "\n"
    while any(thread.is_alive() for thread in threads):
        time.sleep(1 if end == "\r" else 20)
        inputs, found = sum(job.inputs for job in jobs), len({(job.target, key) for job in jobs for key in job.found})
        left = len([job for job in jobs if not job.took])
        line = f"{time.monotonic() - started:.0f} s: {inputs} inputs, {found} findings, {left} of {len(jobs)} jobs left"
        print(line, end=end, file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Try hostile and odd input.")
    parser.add_argument("target", nargs="?", default="all", choices=("all", *TARGETS))
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of it together (60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=ENGINES, help="one of them; both where atheris is installed")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time (2)")
    parser.add_argument("--findings", type=Path, default=Path("outputs/fuzz"), help="folder of findings (outputs/fuzz)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one finding again")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = args.findings.resolve()
    if args.replay:
        return replay(args.replay)
    if args.child:
        child(args.target, args.engine, args.minutes * 60, args.seed, folder, args.child)
        return 0
    engines = (args.engine,) if args.engine else ENGINES if find_spec("atheris") else ENGINES[:1]
    if engines == ENGINES[:1] and not args.engine:
        print("atheris is not installed (pip install '.[fuzz]'): Hypothesis alone", file=sys.stderr)
    names = TARGETS if args.target == "all" else (args.target,)
    pairs = [(name, engine) for name in names for engine in engines]
    workers = min(args.workers, len(pairs))
    seconds = args.minutes * 60 * workers / len(pairs)
    jobs = [Job(name, engine, seconds, args.seed + i, folder) for i, (name, engine) in enumerate(pairs)]
    together(jobs, workers)
    print(f"{'target':<12}{'engine':<12}{'inputs':>9}{'findings':>10}{'seconds':>9}")
    for job in jobs:
        print(f"{job.target:<12}{job.engine:<12}{job.inputs:>9}{len(job.found):>10}{job.took:>9.0f}")
    kept = sorted(folder.glob("*.txt"))
    for path in kept:
        print(f"{path}: {path.read_text(encoding='utf-8').splitlines()[1].removeprefix('finding: ')}")
    return int(bool(kept))


if __name__ == "__main__":
    sys.exit(main())
