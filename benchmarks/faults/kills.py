"""Kills at random moments of every phase, in chains: each command is killed too, until the last one may end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.world import ALONE, STATUS, STUDY, Running, World, differences

# what a folder shows when a phase begins, and within how many seconds after it the kill falls
PHASES: dict[str, float] = {
    "planning": 2.0,
    "compiling": 6.0,
    "training": 0.6,
    "frames": 0.06,
    "report": 1.2,
    "MLflow": 0.5,
    "archive": 0.02,
    "end": 0.3,
}
GROUP, PARENT = "the whole group", "the command alone"
WORKER, REPORTER, SERVER = "one worker", "the process that draws the report", "the process that others are forked from"
# of a chain: the kills after which the same command has to be given again, and the last one, which it has to survive
Step = tuple[str, str]
CHAINS: Sequence[tuple[Sequence[Step], Step | None, Sequence[str]]] = (
    ((("planning", GROUP), ("training", GROUP), ("training", PARENT), ("frames", GROUP), ("report", GROUP),
      ("MLflow", GROUP), ("archive", GROUP), ("end", GROUP)), None, ALONE),
    ((), ("training", WORKER), STUDY),
    ((("training", GROUP), ("report", PARENT), ("MLflow", PARENT), ("frames", PARENT), ("planning", PARENT),
      ("archive", PARENT), ("end", PARENT)), None, ALONE),
    ((("training", GROUP),), ("report", REPORTER), STUDY),
    ((("training", PARENT), ("frames", GROUP), ("MLflow", GROUP), ("report", GROUP), ("report", GROUP),
      ("MLflow", GROUP), ("end", GROUP)), None, ALONE),
    ((("planning", GROUP), ("training", PARENT)), ("training", WORKER), STUDY),
    ((("planning", PARENT), ("training", GROUP), ("training", GROUP), ("MLflow", GROUP), ("frames", GROUP),
      ("report", GROUP), ("MLflow", PARENT), ("archive", GROUP)), None, ALONE),
    ((("compiling", GROUP), ("training", GROUP), ("report", PARENT)), ("frames", REPORTER), STUDY),
    ((("training", GROUP), ("frames", GROUP), ("frames", PARENT), ("report", GROUP), ("MLflow", GROUP),
      ("end", GROUP), ("planning", GROUP)), None, ALONE),
    ((("MLflow", GROUP), ("frames", GROUP)), ("frames", REPORTER), STUDY),
    ((), ("training", SERVER), STUDY),
)  # fmt: skip


@dataclass
class Kill:
    """What was killed, and when; `fine`: everything was as undisturbed afterwards."""

    phase: str
    who: str
    seconds: float  # after the beginning of the phase
    hit: bool = False  # it was alive
    parts: int = 0  # that were there
    orphans: list[str] = field(default_factory=list)
    fine: bool = False


@dataclass
class Chain:
    """Kills in one folder, and how it ended."""

    kills: list[Kill] = field(default_factory=list)
    status: int = 0
    differs: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    said: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


class Eye:
    """Sees in a folder that a phase has begun since it was opened."""

    def __init__(self, world: World, cache: Path | None = None) -> None:
        self.world, self.cache = world, cache
        self.before = {name: self.stamp(name) for name in ("study.json", ".made.json", "history.parquet", "study.zip")}
        self.parts = len(world.parts())
        self.database = self.stamp_of(world.place / "mlflow.db")

    def stamp(self, name: str) -> int:
        return self.stamp_of(self.world.made / name)

    @staticmethod
    def stamp_of(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except OSError:
            return 0

    def temporary(self, name: str) -> bool:
        try:
            return any(one.endswith(f"-{name}") and one[0] == "." for one in os.listdir(self.world.made))
        except OSError:
            return False

    def sees(self, phase: str) -> bool:
        """Whether a phase has begun."""
        if phase == "planning":
            return True
        if phase == "compiling":
            return self.cache is not None and any(self.cache.rglob("*.lock"))
        if phase == "training":
            return len(self.world.parts()) > self.parts
        if phase == "frames":
            return self.temporary("history.parquet") or self.stamp("history.parquet") != self.before["history.parquet"]
        if phase == "report":
            return self.stamp("study.json") != self.before["study.json"]
        if phase == "archive":
            return self.temporary("study.zip") or self.stamp("study.zip") != self.before["study.zip"]
        if phase == "MLflow":
            journal = self.world.place / "mlflow.db-journal"
            return journal.exists() or self.stamp_of(self.world.place / "mlflow.db") not in (0, self.database)
        return self.stamp(".made.json") != self.before[".made.json"]


def strike(running: Running, who: str, pick: random.Random) -> bool:
    """Kill; whether there was something to kill."""
    if not running.alive:
        return False
    if who == GROUP:
        running.signal(signal.SIGKILL)
        return True
    if who == PARENT:
        running.signal(signal.SIGKILL, whole=False)
        return True
    children = running.children()
    if who == SERVER:
        from benchmarks.faults.world import session

        found = session(running.pid)
        children = [pid for pid, (above, line) in found.items() if "forkserver" in line and above == running.pid]
    if not children:
        return False
    try:
        os.kill(pick.choice(children), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def killed(world: World, phase: str, who: str, pick: random.Random) -> tuple[Kill, Running]:
    """Start the study's command and kill at a random moment of a phase."""
    cache = world.folder / "cache" if phase == "compiling" else None
    eye = Eye(world, cache)
    kill = Kill(phase, who, round(pick.uniform(0, PHASES[phase]), 4))
    running = world.start(env={"INITBENCH_CACHE": str(cache)} if cache else {})
    while running.alive and not eye.sees(phase):
        time.sleep(0.001)
    time.sleep(kill.seconds)
    kill.hit = strike(running, who, pick)
    kill.parts = len(world.parts())
    return kill, running


def chain(
    index: int,
    truth: Callable[[Sequence[str]], dict[str, str]],
    seed: int,
    most: int,
    make: Callable[..., World] = World,
) -> Chain:
    """One chain of kills, `most` at most, and what the folder is like when the same command may end at last."""
    pick = random.Random(f"{seed} {index}")
    steps, last, study = CHAINS[index % len(CHAINS)]
    world, out = make(study), Chain()
    for phase, who in steps[:most]:
        kill, running = killed(world, phase, who, pick)
        running.done()
        kill.orphans = world.orphans(running)
        out.kills.append(kill)
        if not kill.hit:  # it was through already: all but the runs is made again
            (world.made / ".made.json").unlink(missing_ok=True)
    if last is None or len(out.kills) >= most:
        running = world.start()
    else:
        kill, running = killed(world, *last, pick)
        out.kills.append(kill)
    done = running.done()
    out.kills[-1].orphans += world.orphans(running)
    ended(out, world, truth(study), done.status, done.said)
    world.remove()
    return out


def ended(out: Chain, world: World, truth: dict[str, str], status: int, said: str) -> None:
    """Write down what is left of a chain of kills."""
    out.status, out.said = status, said
    out.differs = differences(world.content(), truth) if (world.made / "study.json").is_file() else ["no study.json"]
    out.leftovers = world.leftovers()
    fine = status == STATUS and not out.differs and not out.leftovers
    for kill in out.kills:
        kill.fine = kill.hit and fine and not kill.orphans


def hits(chains: Iterable[Chain]) -> list[Kill]:
    """The kills that met somebody alive."""
    return [kill for one in chains for kill in one.kills if kill.hit]
