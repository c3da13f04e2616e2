"""python -m initbench.store ls | verify | gc | rm STUDY: what is stored, whether it is whole, and how to get rid of it."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from initbench.cli import streams
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.config.checks import one_of
from initbench.errors import every, printable, refusal, shown
from initbench.grammar import megabytes, plural
from initbench.startup.processes import alone
from initbench.store import lock
from initbench.store.inventory import Inventory, StoredArm, StudyFolder, size_of

GC = "python -m initbench.store gc"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if `verify` finds damage; 2 with one line for wrong input."""
    return answered("initbench.store", lambda: _done(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="python -m initbench.store",
        description="What is stored in a folder of outputs, whether it is whole, and how to get rid of it.",
    )
    made.add_argument("what", choices=COMMANDS, help="ls: sizes of studies, or of the arms of STUDY; verify: every checksum; "
                      "gc: remove what no study uses; rm: remove the folder of STUDY")  # fmt: skip
    made.add_argument("study", nargs="?", metavar="STUDY", help="for ls and rm: name of a study, e.g. default")
    made.add_argument(
        "--outputs", default="outputs", metavar="DIR", help="folder that studies wrote to (default: outputs)"
    )
    made.add_argument("--yes", action="store_true", help="for gc: remove it; without, gc only lists it")
    return made


def _done(args: argparse.Namespace) -> int:
    if args.study is not None and args.what not in ("ls", "rm"):
        raise refusal(shown(args.study), f"{args.what} takes no study", "leave it out")
    if args.study is None and args.what == "rm":
        raise refusal("rm", "no study is named", "name one, e.g. python -m initbench.store rm default")
    if args.yes and args.what != "gc":
        raise refusal("--yes", f"{args.what} does not ask", "leave it out")
    found = Inventory(Path(args.outputs))
    return COMMANDS[args.what](found, args)


def ls(found: Inventory, args: argparse.Namespace) -> int:
    """Sizes, and what no study uses."""
    if args.study is not None:
        return _arms(found, _named(found, args.study))
    stored = {arm.key: arm for arm in found.arms}
    rows = []
    for study in found.studies:
        own = [stored[key] for key in study.arms if key in stored]
        runs, size = sum(arm.runs for arm in own), sum(arm.size for arm in own)
        rows.append(
            [study.folder.name, len(study.arms), runs, megabytes(size), megabytes(study.size), _note(study, own)]
        )
    _table(("study", "arms", "runs", "store", "folder", ""), rows)
    used = {key for study in found.studies for key in study.arms}
    unused = [arm for arm in found.arms if arm.key not in used]
    sizes = sum(arm.size for arm in found.arms) + sum(study.size for study in found.studies)
    for line in _unused_lines(unused):
        _say(line)
    runs = sum(arm.runs for arm in found.arms)
    _say(f"{found.outputs}: {plural(len(found.studies), 'study', 'studies')}, {plural(len(found.arms), 'arm')}, "
         f"{plural(runs, 'run')}, {megabytes(sizes)}")  # fmt: skip
    return 0


def _arms(found: Inventory, study: StudyFolder) -> int:
    """Sizes of the arms of a study."""
    if study.wrong and not study.arms:
        raise every([study.wrong])
    stored = {arm.key: arm for arm in found.arms}
    rows: list[list[Any]] = []
    for key, label in study.arms.items():
        arm = stored.get(key)
        if arm is None:
            rows.append([label, key, 0, 0, megabytes(0), "not in the store"])
        else:
            rows.append([label, key, arm.runs, len(arm.parts), megabytes(arm.size), _note(None, [arm])])
    _table(("arm", "key", "runs", "parts", "size", ""), rows)
    own = [stored[key] for key in study.arms if key in stored]
    _say(f"{study.folder}: {plural(len(study.arms), 'arm')}, {plural(sum(arm.runs for arm in own), 'run')}, "
         f"{megabytes(sum(arm.size for arm in own))} in the store, {megabytes(study.size)} in its folder")  # fmt: skip
    return 0


def _note(study: StudyFolder | None, arms: Sequence[StoredArm]) -> str:
    """What is unusual."""
    notes = []
    if study is not None and study.wrong:
        notes.append("nobody can tell what it uses")
    if study is not None and study.at_work:
        notes.append("a command is at work in it")
    older = sum(arm.older for arm in arms)
    if older:
        notes.append("older numerics" if study is None else f"{plural(older, 'arm')} of older numerics")
    aside = sum(len(arm.damaged) for arm in arms)
    if aside:
        notes.append(f"{plural(aside, 'damaged part')} set aside")
    return ", ".join(notes)


def _unused_lines(unused: Sequence[StoredArm]) -> list[str]:
    older = [arm for arm in unused if arm.older]
    lines = []
    if older:
        size = megabytes(sum(arm.size for arm in older))
        lines.append(f"left behind by a newer NUMERICS_VERSION: {plural(len(older), 'arm')}, {size}")
    if unused:
        size = megabytes(sum(arm.size for arm in unused))
        lines.append(f"no study uses {plural(len(unused), 'arm')}, {size}: {GC} lists them")
    return lines


def verify(found: Inventory, args: argparse.Namespace) -> int:
    """Every checksum: of parts, frames and study.json."""
    files = list(found.checked())
    wrong = [line for _, line in files if line]
    for line in wrong:
        _say(line)
    counted = f"{plural(len(found.arms), 'arm')} and {plural(len(found.studies), 'study', 'studies')}"
    if wrong:
        _say(f"{found.outputs}: {len(wrong)} of {plural(len(files), 'file')} damaged, of {counted}")
        return 1
    _say(f"{found.outputs}: {plural(len(files), 'file')} of {counted} as they were written")
    return 0


def gc(found: Inventory, args: argparse.Namespace) -> int:
    """Remove what no study uses, while no command is at work."""
    if found.root.is_symlink():
        raise refusal(found.root, "a link, so studies of other folders may use it", "remove by hand what nobody needs")
    with lock.at_once(found.root / lock.FOLDER / "store", found.root):
        unused, useless = found.unused(), found.useless()
        own = {path for arm in unused for path in (*arm.parts, *arm.damaged, arm.folder / "failure.json")}
        paths = sorted({*own, *useless})
        paths = [path for path in paths if path.exists()]
        size = megabytes(sum(map(size_of, paths)))
        for arm in unused:
            _say(f"{arm.folder}: {plural(arm.runs, 'run')}, {megabytes(arm.size)}, no study uses it"
                 + (", of older numerics" if arm.older else ""))  # fmt: skip
        for path in useless:
            if path not in own:
                _say(
                    f"{path}: {'damaged, set aside' if path.name.startswith('damaged-') else 'left by a killed process'}"
                )
        if not paths:
            _say(f"{found.outputs}: nothing to remove")
        elif not args.yes:
            _say(
                f"{found.outputs}: {plural(len(paths), 'file')}, {size}; nothing is removed yet: {GC} --yes removes them"
            )
        else:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            for arm in unused:
                if not any(arm.folder.iterdir()):  # else it holds notes of looks
                    arm.folder.rmdir()
            _say(f"{found.outputs}: removed {plural(len(paths), 'file')}, {size}")
    return 0


def rm(found: Inventory, args: argparse.Namespace) -> int:
    """Remove the folder of a study; its runs stay in the store."""
    study = _named(found, args.study)
    with ExitStack() as stack:
        for name in (f"{study.folder.name}.run", f"{study.folder.name}.files"):
            stack.enter_context(lock.at_once(found.root / lock.FOLDER / name, study.folder))
        keys, size = set(study.arms), study.size
        away = study.folder.with_name(f".{secrets.token_hex(4)}-{study.folder.name}")
        study.folder.rename(away)  # at once: half a study is none
        if away.is_symlink():
            away.unlink()
        else:
            shutil.rmtree(away)
    left = Inventory(found.outputs)
    own = [arm for arm in left.arms if arm.key in keys]
    used = {key for one in left.studies for key in one.arms}
    unused = [arm for arm in own if arm.key not in used]
    said = f"removed {study.folder}, {megabytes(size)}; the store still holds {plural(sum(arm.runs for arm in own), 'run')} of it"
    if unused:
        said += f", {megabytes(sum(arm.size for arm in unused))} of which no other study uses: {GC} --yes removes what no study uses"
    _say(said)
    return 0


def _named(found: Inventory, name: str) -> StudyFolder:
    """The study of a name, or of its folder."""
    for study in found.studies:
        if name in (study.folder.name, str(study.folder), f"{study.folder}/"):
            return study
    names = [study.folder.name for study in found.studies]
    raise refusal(shown(name), f"no study in {found.outputs}", one_of(name, names) if names else "there is none")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns for a person and for `awk` alike: text to the left, numbers to the right."""
    if not rows:
        return
    cells = [list(head), *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)]
    right = [any(isinstance(row[i], int) or str(row[i]).endswith(" MB") for row in rows) for i in range(len(head))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        text = "  ".join(cell.rjust(w) if to_right else cell.ljust(w) for cell, w, to_right in zip(row, widths, right))
        _say(text.rstrip())


def _say(text: str) -> None:
    streams.write(printable(text), sys.stdout)


COMMANDS: dict[str, Callable[[Inventory, argparse.Namespace], int]] = {"ls": ls, "verify": verify, "gc": gc, "rm": rm}

if __name__ == "__main__":
    sys.exit(alone(main))
