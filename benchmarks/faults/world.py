"""A folder in which commands run and things go wrong, and what is compared afterwards: files, records, processes, leftovers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 240.0  # seconds that a command may take
STUDY = (
    *("init=eye,kaiming_normal,dirac", "sharing=none", "seeds=4", "optim.lr=[0.1,0.3]", "train.steps=200"),
    *("model.width=16", "model.depth=3", "engine.chunk=1", "study=s", "engine.workers=2"),
    "report.formats=[html,md,csv,archive]",
)  # dirac does not apply: an undisturbed command ends with status 1 and says so
ALONE = (*STUDY[:-2], "engine.workers=1", "report.formats=[md,csv,archive]")  # nothing beside the command
STATUS = 1
HIDDEN = re.compile(r"\.[0-9a-f]{8}-.+")


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last line for a person."""
        if self.status < 0:
            return ""  # it was ended
        lines = [line for line in self.err.splitlines() if line.startswith("initbench")]
        return (lines or self.out.splitlines() or self.err.splitlines() or [""])[-1]


class Running:
    """A command as a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process, self.out, self.err = process, out, err
        self.pid = process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def done(self, seconds: float = PATIENCE) -> Done:
        """Wait for its end."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            status = self.process.wait()
            return Done(status, "", f"initbench: it hung for {seconds:.0f} s")
        return Done(status, *(path.read_text(errors="replace") for path in (self.out, self.err)))

    def signal(self, number: int, whole: bool = True) -> None:
        """Send a signal to the group, or to its first process alone."""
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.pid, number)

    def children(self) -> list[int]:
        """Processes of its session that were forked from the clean one: workers, and the one that draws the report."""
        found = session(self.pid)
        parents = {pid for pid, (_, line) in found.items() if "forkserver" in line}
        return [pid for pid, (above, _) in found.items() if above in parents]


def session(number: int) -> dict[int, tuple[int, str]]:
    """{process: (its parent, its command line)} of a session, without those that have ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, above, _, its = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its) == number and state not in "ZX":
                found[int(path.name)] = int(above), (path / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended meanwhile
            continue
    return found


def listening() -> None:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class World:
    """A folder of its own, with its own folder for temporary files."""

    def __init__(self, study: Sequence[str] = STUDY, folder: Path | None = None) -> None:
        self.study = tuple(study)
        self.folder = Path(tempfile.mkdtemp(prefix="f-")) if folder is None else folder
        self.tmp = self.folder / "t"
        self.place = self.folder / "w"
        self.tmp.mkdir(parents=True)
        self.place.mkdir()
        self.begun: list[Running] = []
        self.tokens: set[str] = set()  # of the folders for temporary files that were left here

    def copy_of(self, other: World) -> World:
        """With what another has made."""
        shutil.copytree(other.place, self.place, dirs_exist_ok=True)
        return self

    @property
    def outputs(self) -> Path:
        return self.place / "outputs"

    @property
    def made(self) -> Path:
        """The study's folder."""
        return self.outputs / self.study_name

    @property
    def study_name(self) -> str:
        return next(one.partition("=")[2] for one in self.study if one.startswith("study="))

    def parts(self) -> list[Path]:
        return sorted(self.outputs.glob("store/*/part-*.parquet"))

    def start(
        self,
        *asked: str,
        module: str = "initbench",
        env: Mapping[str, str | None] | None = None,
        before: Callable[[], None] = lambda: None,
        streams: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> Running:
        """Start a command, by itself this world's study."""
        self.look()
        files = [self.folder / f"{len(self.begun)}.{name}" for name in ("out", "err")]
        how = [sys.executable, "-c", code] if code else [sys.executable, "-m", module]
        with files[0].open("wb") as out, files[1].open("wb") as err:
            process = subprocess.Popen(
                [*how, *(asked or self.study)],
                cwd=self.place,
                env=self.env(env or {}),
                start_new_session=True,
                preexec_fn=lambda: (listening(), before()),  # type: ignore[func-returns-value]
                **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **(streams or {})},
            )
        self.begun.append(Running(process, *files))
        return self.begun[-1]

    def env(self, more: Mapping[str, str | None]) -> dict[str, str]:
        """The environment of a command; None: without that variable."""
        left_out = ("MLFLOW_TRACKING_URI", "INITBENCH_TRACEBACK")
        plain = {key: value for key, value in os.environ.items() if key not in left_out}
        wanted = {**plain, "TMPDIR": str(self.tmp), "OMP_NUM_THREADS": "1", "COLUMNS": "160", **more}
        return {key: value for key, value in wanted.items() if value is not None}

    def run(self, *asked: str, **how: Any) -> Done:
        """A command and its end."""
        return self.start(*asked, **how).done()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- afterwards

    def orphans(self, *running: Running, seconds: float = 10.0) -> list[str]:
        """Processes that have outlived their command."""
        deadline = time.monotonic() + seconds
        while True:
            left = [line for one in running for _, line in session(one.pid).values()]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def look(self) -> None:
        """Which processes have left their folder for temporary files: by it the next command finds their semaphores."""
        self.tokens |= {path.name.removeprefix("initbench_") for path in self.tmp.glob("initbench_*")}

    def semaphores(self) -> list[str]:
        """Named semaphores of processes that have died here."""
        return sorted(path.name for path in Path("/dev/shm").glob("sem.ib-*") if path.name[7:15] in self.tokens)

    def leftovers(self) -> list[str]:
        """Files that no command needs any more: temporary ones, semaphores, journals."""
        hidden = [
            path for path in self.place.rglob("*") if HIDDEN.fullmatch(path.name) or path.name.endswith("-journal")
        ]
        return sorted([path.name for path in self.tmp.iterdir()] + [path.name for path in hidden] + self.semaphores())

    def content(self) -> dict[str, str]:
        """What a study left, as digests of what does not depend on when and where it was made."""
        found = {}
        for path in sorted(self.made.rglob("*")):
            name = str(path.relative_to(self.made))
            if path.suffix in (".parquet", ".csv"):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.is_file():
                found[name] = ""
        study = json.loads((self.made / "study.json").read_text())
        kept = {
            key: value
            for key, value in study.items()
            if key not in ("created", "elapsed", "mlflow", "whole", "command", "overrides")
        }
        found["study.json"] = digest(kept)
        found["parts"] = digest(sorted(path.name for path in self.parts()))
        found |= records(self.place / "mlflow.db")
        return found


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def records(file: Path) -> dict[str, str]:
    """What MLflow holds of every run, without ids and times: kinds and counts, params, every point."""
    if not file.is_file():
        return {}
    queries = {
        "runs": "SELECT name, status, lifecycle_stage FROM runs WHERE lifecycle_stage = 'active'",
        "params": "SELECT runs.name, key, value FROM params JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'",
        "points": "SELECT runs.name, key, value, step, is_nan FROM metrics JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'",
        "latest": "SELECT runs.name, key, value FROM latest_metrics JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'",
    }
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return {f"MLflow {name}": digest(sorted(map(repr, database.execute(query)))) for name, query in queries.items()}


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Names of what is not the same, or not in both."""
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
