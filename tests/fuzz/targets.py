"""What is tried: for each way into initbench, how an input is drawn and how it is fed in."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import strategies as st

from . import base, frames, grammar
from .judge import Wrong, is_one_line

GROUPS = ("init", "sharing", "data", "model", "optim", "experiment", "engine", "measure")
OPTION = {
    "init": "name: mine\n_target_: initbench.initializers.plain.normal_\nstd: 0.2\nbias: zeros\n",
    "sharing": "name: explicit\ngroups: [[0], [1, 2]]\n",
    "data": "name: teacher\nsamples: 60\ninputs: 5\noutputs: 2\nclasses: 3\nnoise: 0.1\n",
    "model": "name: mlp\ndepth: 3\nwidth: 8\nactivation: relu\n",
    "optim": "name: sgd\nlr: [0.1]\nbatch_size: 8\n",
    "experiment": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      init: eye,zeros\n",
    "engine": "name: auto\n",
    "measure": "name: light\n",
}


@dataclass(frozen=True)
class Target:
    """One way in. `run(input, folder)` raises what initbench raises, or Wrong where the answer breaks a promise."""

    inputs: Callable[[], st.SearchStrategy[Any]]
    run: Callable[[Any, Path], None]
    ready: Callable[[], object] = lambda: None  # what is made once, outside of the limits


def plan(overrides: list[str], config_dirs: list[str] | tuple[str, ...] = ()) -> None:
    """Plan a study; its arms must be told apart by their labels."""
    from initbench.study import command as study

    arms = study.plan(overrides, config_dirs).arms
    labels = [arm.label for arm in arms]
    if len(set(labels)) < len(labels):
        raise Wrong(f"two arms of one label: {labels}")


def run_overrides(given: list[str], folder: Path) -> None:
    plan(base.small(*given))


def option_inputs() -> st.SearchStrategy[Any]:
    def content(group: str) -> st.SearchStrategy[bytes]:
        own = OPTION[group].encode()
        lines = OPTION[group].splitlines()
        changed = st.builds(
            lambda at, key, value: "\n".join(
                [*lines[: at % len(lines)], f"{key}: {value}", *lines[at % len(lines) + 1 :]]
            ),
            st.integers(0, 9),
            st.one_of(st.sampled_from([line.partition(":")[0] for line in lines]), grammar.text()),
            st.one_of(grammar.value(), grammar.literal().map(lambda one: json.dumps(one))),
        )
        return st.one_of(
            changed.map(lambda text: text.encode("utf-8", "surrogatepass")),
            changed.map(lambda text: text.encode("utf-16", "surrogatepass")),
            grammar.splices().map(lambda cuts: grammar.spliced(own, cuts)),
            st.dictionaries(grammar.text(), grammar.literal(), max_size=4).map(lambda one: json.dumps(one).encode()),
            st.binary(max_size=40),
        )

    return st.sampled_from(GROUPS).flatmap(lambda group: st.tuples(st.just(group), content(group)))


def run_option(given: tuple[str, bytes], folder: Path) -> None:
    group, content = given
    grammar.written(folder, f"own/{group}/mine.yaml", content)
    plan(base.small(f"{group}=mine"), [str(folder / "own")])


MEMBERS = ("x", "y", "train", "z", "../x", "x/y", "")
TYPES = (
    "<f8",
    "<f4",
    ">f8",
    "<f2",
    "<i8",
    "|i1",
    "<u4",
    "|b1",
    "<U3",
    "|S3",
    "|O",
    "<c16",
    "<M8[s]",
    "|V4",
    "zz",
    "<f8x",
)


def npz_inputs() -> st.SearchStrategy[Any]:
    size = st.one_of(st.integers(0, 50), st.sampled_from([1, 40, -1, 2**31, 2**62, 10**9]))
    shape = st.one_of(st.lists(size, max_size=3), st.just([40, 3]), st.just([40]))
    fill = st.sampled_from(["zeros", "ones", "count", "random", "nan", "inf", "huge", "short", "none", "pickle"])
    member = st.tuples(
        st.sampled_from(MEMBERS), st.sampled_from(TYPES), shape, st.booleans(), st.sampled_from([1, 2, 3, 9]), fill
    )
    overrides = st.lists(
        st.sampled_from(
            ["data.task=regression", "data.task=classification", "data.target=input", "data.standardize=false",
             "optim.batch_size=null", "train.loss=squared_error", "train.target.metric=accuracy/val"]
        ),
        max_size=2,
    )  # fmt: skip
    changed = st.lists(member, min_size=1, max_size=3)
    return st.tuples(st.one_of(changed, st.just([])), grammar.splices(2), overrides)


def array_bytes(descr: str, shape: list[int], fortran: bool, version: int, fill: str) -> bytes:
    """An .npy file whose header may lie about what follows."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {tuple(shape)!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + payload(descr, shape, fill)


def payload(descr: str, shape: list[int], fill: str) -> bytes:
    """Data for a header, at most a few thousand entries."""
    import numpy as np

    count = 1
    for one in shape:
        count *= max(one, 0)
    count = min(count, 3000)
    if fill in ("none", "pickle"):
        return b"" if fill == "none" else b"cos\nsystem\n(S'true'\ntR."
    values = {
        "zeros": np.zeros(count),
        "ones": np.ones(count),
        "count": np.arange(count),
        "nan": np.full(count, np.nan),
    }
    values |= {"inf": np.full(count, np.inf), "huge": np.full(count, 1e300)}
    drawn = np.random.default_rng(0).standard_normal(count)
    try:
        with np.errstate(all="ignore"):
            made = values.get(fill, drawn).astype(descr).tobytes()
    except (TypeError, ValueError):
        made = b"\x01" * count
    return made[: len(made) // 2] if fill == "short" else made


def run_npz(given: tuple[list[Any], list[Any], list[str]], folder: Path) -> None:
    members, cuts, overrides = given
    content = base.npz()
    if members:
        room = io.BytesIO()
        with zipfile.ZipFile(room, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, *rest in members:
                archive.writestr(f"{name}.npy", array_bytes(*rest))
            for name in {"x", "y"} - {member[0] for member in members}:
                archive.writestr(f"{name}.npy", zipfile.ZipFile(io.BytesIO(content)).read(f"{name}.npy"))
        content = room.getvalue()
    grammar.written(folder, "d.npz", grammar.spliced(content, cuts))
    plan(base.small("data=npz", "data.path=d.npz", *overrides))


def study_inputs() -> st.SearchStrategy[Any]:
    names = st.sampled_from(["study.json", "study.json", "runs.parquet", "history.parquet"])
    raw = st.tuples(names, st.one_of(grammar.splices(), st.binary(max_size=20).map(lambda one: [(0.0, 10**7, one)])))
    change = st.one_of(grammar.edits(), grammar.edits(), grammar.edits(), raw)
    return st.tuples(change, st.sampled_from(["csv,md", "csv,md", "csv,md", "html"]))  # figures take a second


def run_study(given: Any, folder: Path) -> None:
    change, formats = given
    files: dict[str, bytes] = {}
    if isinstance(change, tuple):
        name, cuts = change
        files[name.replace(".", "_")] = grammar.spliced(base.study_files()[name], cuts)
    else:
        files["study_json"] = json.dumps(grammar.edited(base.study_json(), change)).encode()
    read(base.write_study(folder, **files), formats)


def read(folder: Path, formats: str = "csv,md") -> None:
    """Everything that reads a study folder; each may refuse it, all must be right."""
    import initbench as ib
    from initbench import report
    from initbench.errors import InputError

    refusals = []

    def tried(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except InputError as error:
            if not is_one_line(str(error)):
                raise
            refusals.append(error)
            return None

    results = tried(ib.load, folder)
    if results is not None:
        tried(results.leaderboard)
        tried(results.compare)
        tried(lambda: results.history)
    tried(report.build, folder, formats=formats)
    if refusals:
        raise refusals[0]


def name_inputs() -> st.SearchStrategy[Any]:
    return st.tuples(grammar.text(), grammar.text(), st.sampled_from(["html", "md", "csv", "latex", "figures"]))


def run_names(given: tuple[str, str, str], folder: Path) -> None:
    """A study whose initializer and sharing have these names, through one format."""
    from initbench import report

    try:
        runs, history, study = frames.named(*given[:2])
    except UnicodeEncodeError:  # what pandas cannot hold is in no frame
        return
    files = report.build(frames.Study(runs, history, study, folder / "study"), formats=(given[2],))
    for name, path in files.items():
        well_formed(name, path, given[:2])


def well_formed(name: str, path: Path, labels: tuple[str, ...]) -> None:
    """Raise Wrong for a file that a label has broken."""
    if name.endswith(".svg"):
        ElementTree.parse(path)
    if name.endswith(".csv"):
        with path.open(encoding="utf-8", newline="") as file:
            if len({len(row) for row in csv.reader(file)}) > 1:
                raise Wrong(f"{name}: rows of different lengths")
    if name.endswith(".html"):
        text = path.read_text(encoding="utf-8")
        for label in labels:
            if "<script" in label and label in text:
                raise Wrong(f"{name}: {label!r} stands in it as markup")


def argv_inputs() -> st.SearchStrategy[Any]:
    flags = st.sampled_from(
        ["--help", "-h", "--version", "--cfg", "job", "all", "hydra", "--resolve", "--package", "--info", "searchpath",
         "--hydra-help", "--config-dir", ".", "-m", "--run", "-cn", "--", "-", "--target", "0.9", "--baseline", "--format",
         "--study", "--out", "--uri", "--check"]
    )  # fmt: skip
    word = st.one_of(flags, grammar.override(), grammar.text())
    command = st.sampled_from(["initbench", "initbench", "report", "predict", "catalogue"])
    return st.tuples(command, st.lists(word, max_size=4)).filter(lambda given: "-sc" not in " ".join(given[1]))


def run_argv(given: tuple[str, list[str]], folder: Path) -> None:
    """A command by its `main`: status 0, or status 2 and one line."""
    from importlib import import_module

    name, words = given
    module = {"initbench": "initbench.__main__", "report": "initbench.report.__main__"}.get(name, f"initbench.{name}")
    argv = [*base.small(*words), "train.dry_run=true"] if name == "initbench" else words
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            status = import_module(module).main(argv)
        except SystemExit as end:  # argparse's and Hydra's own end
            status = end.code or 0
    if status not in (0, 2):
        raise Wrong(f"status {status}: {said.getvalue()[-1500:]}")
    if status == 2 and not is_one_line(said.getvalue().removesuffix("\n")):
        raise Wrong(f"no refusal of one line: {said.getvalue()[:1500]!r}")


TARGETS = {
    "overrides": Target(lambda: st.lists(grammar.override(), min_size=1, max_size=4), run_overrides),
    "options": Target(option_inputs, run_option),
    "npz": Target(npz_inputs, run_npz, base.npz),
    "study": Target(study_inputs, run_study, base.study_files),
    "frames": Target(frames.inputs, frames.run, base.study_files),
    "names": Target(name_inputs, run_names, base.study_files),
    "argv": Target(argv_inputs, run_argv, base.study_files),
}
