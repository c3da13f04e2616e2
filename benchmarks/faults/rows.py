"""The other faults, a row each: what is done to a command or its files. What the same command gives afterwards is compared
by `judged`."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.kills import Eye
from benchmarks.faults.world import Done, Running, World, differences

SMALL = (
    *(
        "init=eye,zeros",
        "sharing=none",
        "seeds=4",
        "optim.lr=[0.1,0.3]",
        "train.steps=20",
        "model.width=8",
        "model.depth=2",
    ),
    *("engine.chunk=2", "study=s", "track.uri=null", "engine.workers=1", "report.formats=[md,csv,archive]"),
)
BESIDE = (*SMALL[:-2], "engine.workers=2", "report.formats=[html,md,csv,archive]")  # with workers, and one that draws
TRACKED = tuple(one for one in SMALL if not one.startswith("track."))
NOBODY = 65534


class Skipped(Exception):
    """This machine has not what a row needs."""


@dataclass
class Row:
    """One row of the table."""

    group: str
    name: str
    status: int | None = None
    said: str = ""
    again: int | None = None  # status of the same command afterwards
    differs: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def fine(self) -> bool:
        """A line for a person, and afterwards everything as if nothing had happened."""
        if self.skipped:
            return True
        hurt = bool(self.differs or self.orphans or self.leftovers) or "Traceback" in self.said
        return not hurt and self.again == 0 and (bool(self.said) or (self.status is not None and self.status < 0))

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "fine": self.fine}


Act = Callable[[World], Done]


@dataclass(frozen=True)
class Case:
    """What is done in a world that holds nothing, or the finished study; `study`: the command."""

    group: str
    name: str
    act: Act
    finished: bool = False
    study: tuple[str, ...] = SMALL
    quick: bool = False  # part of the suite
    real: bool = False  # not as a fork of a process that has its surroundings already


CASES: list[Case] = []


def case(group: str, name: str, **how: Any) -> Callable[[Act], Act]:
    def add(act: Act) -> Act:
        CASES.append(Case(group, name, act, **how))
        return act

    return add


def judged(one: Case, finished: World | None, truth: dict[str, str], make: Callable[..., World] = World) -> Row:
    """Do it, give the same command again, and compare."""
    row = Row(one.group, one.name)
    world = make(one.study)
    if one.finished and finished is not None:
        world.copy_of(finished)
    try:
        done = one.act(world)
        row.status, row.said = done.status, done.said.replace(str(world.folder), "…")
        if "Traceback" in done.err:
            row.said = "Traceback: " + done.err.strip().splitlines()[-1]
        row.orphans = world.orphans(*world.begun)
        again = world.run()
        row.again = again.status
        row.differs = differences(world.content(), truth)
        row.leftovers = world.leftovers()
    except Skipped as reason:
        row.skipped = str(reason)
    world.remove()
    return row


def until(condition: Callable[[], object], running: Running | None = None, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline and (running is None or running.alive):
        time.sleep(0.002)


# ---- signals


def signalled(*numbers: int, whole: bool, apart: float = 0.05) -> Act:
    """Signals while it trains."""

    def act(world: World) -> Done:
        running = world.start()
        until(world.parts, running)
        for number in numbers:
            running.signal(number, whole)
            time.sleep(apart)
        return running.done()

    return act


def stopped(world: World) -> Done:
    """The whole group stands still for a while."""
    running = world.start()
    until(world.parts, running)
    running.signal(signal.SIGSTOP)
    time.sleep(3)
    running.signal(signal.SIGCONT)
    return running.done()


for numbers, whole, name in (
    ((signal.SIGINT,), True, "Ctrl-C"),
    ((signal.SIGINT, signal.SIGINT), True, "Ctrl-C twice"),
    ((signal.SIGTERM,), False, "SIGTERM to the command"),
    ((signal.SIGTERM,), True, "SIGTERM to the whole group"),
    ((signal.SIGHUP,), True, "SIGHUP: the terminal is closed"),
):
    CASES.append(Case("signals", name, signalled(*numbers, whole=whole), study=BESIDE, quick="whole" in name))
CASES.append(Case("signals", "SIGSTOP, SIGCONT after 3 s", stopped, study=BESIDE))


# ---- files


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    """A file of the same kind from elsewhere."""
    if path.name.startswith("part-"):
        other = next(one for one in path.parents[1].glob("*/part-*.parquet") if one.parent != path.parent)
        path.unlink()
        shutil.copy(other, path.parent)
    elif path.name == "study.json":
        path.write_text('{"name": "another program"}')
    else:
        shutil.copy(
            path.with_name({"runs.parquet": "history.parquet", "history.parquet": "runs.parquet"}[path.name]), path
        )


HARMS = {"torn": torn, "flipped": flipped, "emptied": emptied, "foreign": foreign}


def harmed_part(harm: str) -> Act:
    def act(world: World) -> Done:
        HARMS[harm](world.parts()[0])
        (world.made / ".made.json").unlink()
        return world.run()

    return act


def harmed_file(harm: str, name: str) -> Act:
    def act(world: World) -> Done:
        HARMS[harm](world.made / name)
        return world.run("outputs/s", "--format", "md", module="initbench.report")

    return act


def folder_instead(name: str) -> Act:
    def act(world: World) -> Done:
        path = world.made / name
        path.unlink()
        path.mkdir()
        done = world.run()
        path.rmdir()  # as the message says
        return done

    return act


for harm in HARMS:
    CASES.append(Case("files", f"a part file {harm}", harmed_part(harm), finished=True))
for name in ("runs.parquet", "history.parquet", "study.json"):
    for harm in HARMS:
        CASES.append(Case("files", f"{name} {harm}; `report`", harmed_file(harm, name), finished=True))
    CASES.append(Case("files", f"a folder in the place of {name}", folder_instead(name), finished=True))


@case("files", "the compiled kernel flipped", real=True)
def kernel(world: World) -> Done:
    cache = world.folder / "cache"
    env = {"INITBENCH_CACHE": str(cache)}
    world.run(*world.study, "train.dry_run=true")
    shutil.copytree(_cache(), cache)
    for path in cache.rglob("*.o"):
        flipped(path)
    return world.run(env=env)


def _cache() -> Path:
    from initbench.disk import cache_folder

    found = cache_folder()
    if found is None:
        raise Skipped("no cache")
    return found


# ---- several at once


@case("at once", "two identical commands", study=BESIDE, quick=True)
def two(world: World) -> Done:
    return _together(world, 2)


@case("at once", "five identical commands")
def five(world: World) -> Done:
    return _together(world, 5)


def _together(world: World, n: int) -> Done:
    all_ = [world.start() for _ in range(n)]
    ends = [one.done() for one in all_]
    said = sorted((end.said for end in ends if "waiting" in end.said), key=len)
    return Done(max(end.status for end in ends), "", said[0] if said else "initbench: nobody waited")


@case("at once", "two studies that share arms, one store")
def sharing(world: World) -> Done:
    other = world.start(*(one for one in world.study if not one.startswith("study=")), "study=other")
    end = world.run()
    return Done(max(end.status, other.done().status), end.out, end.err)


@case("at once", "`report` while the study is made again")
def report_meanwhile(world: World) -> Done:
    world.run()
    running = world.start(*world.study, "train.rerun=true")
    done = world.run("outputs/s", "--format", "md", module="initbench.report")
    until(lambda: not running.alive)
    more = world.run("outputs/s", "--format", "md", module="initbench.report")
    return Done(max(done.status, more.status, running.done().status), more.out, done.err + more.err)


# ---- disks


@contextmanager
def disk(world: World, size: int) -> Iterator[None]:
    """A small disk where the command works; only root may have one."""
    if (
        os.getuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(world.place)], capture_output=True
        ).returncode
    ):
        raise Skipped("no disk can be mounted")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(world.place)], check=False)


def full(phase: str | None) -> Act:
    """The disk is full before the command starts, or fills up when it comes to a phase."""

    def act(world: World) -> Done:
        keep = world.folder / "kept"
        with disk(world, 2**23):
            ballast = world.place / "ballast"
            eye = Eye(world)
            running = None if phase is None else world.start()
            zipped = world.made / "study.zip"  # after which MLflow's records are written, into a file made before
            while running and running.alive and not (zipped.exists() if phase == "MLflow" else eye.sees(str(phase))):
                time.sleep(0.001)
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"0" * 4096)
            done = (running or world.start()).done()
            ballast.unlink()
            shutil.copytree(world.place, keep)
        shutil.copytree(keep, world.place, dirs_exist_ok=True)
        return done

    return act


def limited(size: int) -> Act:
    """No file may be larger."""

    def act(world: World) -> Done:
        return world.run(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)))

    return act


CASES.append(Case("disk", "the disk is full", full(None), study=TRACKED))
for phase in ("training", "frames", "report", "MLflow"):
    CASES.append(Case("disk", f"the disk fills up: {phase}", full(phase), study=TRACKED))
for size in (9_000, 24_000, 60_000):
    CASES.append(Case("disk", f"files of at most {size // 1000} kB", limited(size)))


def weak() -> None:
    """Root that may do to other users' files what anybody may."""
    for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def given_away(path: Path, mode: int) -> None:
    """Another user's from now on."""
    if os.getuid() != 0:
        raise Skipped("only root can give files away")
    os.chown(path, NOBODY, NOBODY)
    path.chmod(mode)


@case("disk", "the outputs are another user's", finished=True, real=True)
def another_user(world: World) -> Done:
    given_away(world.outputs, 0o755)
    done = world.run("init=eye", *world.study[1:], before=weak)
    os.chown(world.outputs, 0, 0)
    return done


@case("disk", "the store is another user's", finished=True, real=True)
def anothers_store(world: World) -> Done:
    for path in (world.outputs / "store").iterdir():
        given_away(path, 0o755)
    done = world.run("seeds=5", *(one for one in world.study if not one.startswith("seeds=")), before=weak)
    for path in (world.outputs / "store").iterdir():
        os.chown(path, 0, 0)
    return done


# ---- MLflow's database


def database(harm: Callable[[Path], object]) -> Act:
    """Harmed before the command, and moved away after it, as the message says."""

    def act(world: World) -> Done:
        file = world.place / "mlflow.db"
        harm(file)
        (world.made / ".made.json").unlink()
        done = world.run()
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        return done

    return act


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for start in range(4096, len(content), 8192):
        content[start : start + 64] = b"\xff" * 64
    file.write_bytes(bytes(content))


def another_program(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as made, made:
        made.execute("CREATE TABLE songs (name TEXT)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as made, made:
        made.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


for name, harm in {
    "damaged": damaged, "torn": torn, "text": lambda file: file.write_text("text"), "another program's": another_program,
    "a newer MLflow's": newer, "a folder": a_folder,
}.items():  # fmt: skip
    CASES.append(Case("database", f"mlflow.db {name}", database(harm), finished=True, study=TRACKED))


@case("database", "mlflow.db locked by another program", finished=True, study=TRACKED)
def locked(world: World) -> Done:
    with closing(sqlite3.connect(world.place / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        return world.run()


@case("database", "mlflow.db another user's, read-only", finished=True, study=TRACKED, real=True)
def read_only(world: World) -> Done:
    given_away(world.place / "mlflow.db", 0o444)
    (world.made / ".made.json").unlink()
    done = world.run(before=weak)
    os.chown(world.place / "mlflow.db", 0, 0)
    (world.place / "mlflow.db").chmod(0o644)
    return done


# ---- surroundings


def under(**how: Any) -> Act:
    """The command, in other surroundings."""
    return lambda world: world.run(**how)


ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
JUMP = """
import sys, time
began, real = time.time(), time.time
time.time = lambda: real() - (86400 * 400 if real() - began > 0.5 else 0)
time.time_ns = lambda: int(time.time() * 1e9)
from initbench.__main__ import as_process
sys.argv[0] = "initbench"
sys.exit(as_process())
"""
CASES += [
    Case("surroundings", "an ascii terminal", under(env=ASCII), quick=True),
    Case("surroundings", "no HOME and no cache folder", under(env={"HOME": None, "XDG_CACHE_HOME": "/proc/none", "INITBENCH_CACHE": "/proc/none"}), real=True),
    Case("surroundings", "64 file descriptors", under(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))), study=BESIDE, quick=True),
    Case("surroundings", "TMPDIR that is not there", under(env={"TMPDIR": "/nowhere"}), real=True),
    Case("surroundings", "the clock jumps back 400 days", under(code=JUMP), real=True),
]  # fmt: skip


@case("surroundings", "closed stdout")
def closed_stdout(world: World) -> Done:
    return world.run(before=lambda: os.close(1))


@case("surroundings", "a reader that has gone (`| head -0`)")
def gone(world: World) -> Done:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return world.run(streams={"stdout": writing})
    finally:
        os.close(writing)


@case("surroundings", "stdout on a full disk", quick=True)
def full_stdout(world: World) -> Done:
    with open("/dev/full", "wb") as full_disk:
        return world.run(streams={"stdout": full_disk})
