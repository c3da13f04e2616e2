"""What lies in a folder of outputs: the studies, the arms of the store, and which arm belongs to which study."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from initbench.config.arm import NUMERICS_VERSION
from initbench.disk import HIDDEN, unfinished
from initbench.errors import InputError, every, refusal
from initbench.store import lock
from initbench.store.parts import NUMERICS, Store, examined
from initbench.store.reading import FILES, MOST_JSON, PLANNED, check_file, read_folder
from initbench.store.study_file import checked_study

STUDIES = ("study.json", PLANNED)


@dataclass(frozen=True)
class StoredArm:
    """An arm of the store by the ends of its part files, without reading them whole."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name

    @cached_property
    def parts(self) -> list[Path]:
        return Store(self.folder.parent).parts(self.key)

    @cached_property
    def damaged(self) -> list[Path]:
        """Parts that were set aside."""
        return sorted(self.folder.glob("damaged-part-*.parquet"))

    @cached_property
    def size(self) -> int:
        """Bytes of all its files."""
        return size_of(self.folder)

    @cached_property
    def runs(self) -> int:
        return sum(one.num_rows for one in self._ends)

    @cached_property
    def older(self) -> bool:
        """Whether an older NUMERICS_VERSION has trained it: the command that asked for it trains it anew."""
        told = [(one.metadata or {}).get(NUMERICS.encode(), b"") for one in self._ends]
        return any(version.isdigit() and int(version) < NUMERICS_VERSION for version in told)

    @cached_property
    def _ends(self) -> list[pq.FileMetaData]:
        found = []
        for path in self.parts:
            try:
                found.append(pq.read_metadata(path))
            except (OSError, pa.ArrowException):  # `verify` says why
                continue
        return found


@dataclass(frozen=True)
class StudyFolder:
    """A study in its folder; `wrong` says why nobody can tell what it uses."""

    folder: Path

    @cached_property
    def arms(self) -> dict[str, str]:
        """Arm key -> label, as far as is known."""
        return self._read[0]

    @property
    def wrong(self) -> str:
        return self._read[1]

    @cached_property
    def size(self) -> int:
        return size_of(self.folder)

    @cached_property
    def at_work(self) -> str:
        """Who trains or writes it now, in words; empty where nobody does."""
        root = self.folder.parent / "store"
        return lock.held_by(root / lock.FOLDER / f"{self.folder.name}.run") or lock.held_by(
            lock.of_files(self.folder)) or ""  # fmt: skip

    @cached_property
    def _read(self) -> tuple[dict[str, str], str]:
        found: dict[str, str] = {}
        for name in (name for name in STUDIES if os.path.lexists(self.folder / name)):
            path = self.folder / name
            try:
                check_file(path)
                content = checked_study(path, MOST_JSON)
            except InputError as error:
                return {}, str(error)
            found |= {arm["arm_key"]: arm["label"] for arm in content["arms"] if arm.get("arm_key")}
            if name == PLANNED and (content.get("asked") or {}).get("goes_on"):
                wrong = "it has not ended, and decides on its way which arms it uses"
                return found, str(refusal(self.folder, wrong, "run its command again, or remove it with rm"))
        return found, ""


@dataclass(frozen=True)
class Inventory:
    """Everything below a folder of outputs. Raises InputError where that holds no store."""

    outputs: Path

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            wrong = "no such folder" if not self.outputs.is_dir() else "no store in it"
            raise refusal(f"--outputs {self.outputs}", wrong, "name the folder that a study wrote to, e.g. outputs")

    @property
    def root(self) -> Path:
        return self.outputs / "store"

    @cached_property
    def arms(self) -> list[StoredArm]:
        """The arms with something in them."""
        folders = (path for path in sorted(self.root.iterdir()) if path.is_dir() and path.name != lock.FOLDER)
        return [arm for arm in map(StoredArm, folders) if arm.parts or arm.damaged]

    @cached_property
    def studies(self) -> list[StudyFolder]:
        """The folders that hold a file of a study."""
        folders = (path for path in self._folders if path != self.root and not HIDDEN.fullmatch(path.name))
        return [
            StudyFolder(path) for path in folders if any(os.path.lexists(path / name) for name in (*FILES, PLANNED))
        ]

    @property
    def _folders(self) -> list[Path]:
        return [path for path in sorted(self.outputs.iterdir()) if path.is_dir()]

    def unused(self) -> list[StoredArm]:
        """Arms that no study uses. Raises InputError for a study of which that cannot be told."""
        used: set[str] = set()
        for study in self.studies:
            if study.wrong:
                raise every([study.wrong])
            used |= set(study.arms)
        return [arm for arm in self.arms if arm.key not in used]

    def useless(self) -> list[Path]:
        """What serves nobody: damaged parts that were set aside, and what killed processes have left unfinished."""
        folders = [self.root, *(arm.folder for arm in self.arms), *(study.folder for study in self.studies)]
        figures = [study.folder / "figures" for study in self.studies]
        left = [path for folder in (*folders, *figures) for path in unfinished(folder)]
        removed = [path for path in self._folders if HIDDEN.fullmatch(path.name)]  # studies, by half
        return [*(path for arm in self.arms for path in arm.damaged), *left, *removed]

    def checked(self) -> Iterator[tuple[Path, str]]:
        """Each file that has a checksum, with what is wrong with it in one line; empty where nothing is."""
        for arm in self.arms:
            for part in arm.parts:
                try:
                    table, why = examined(part)
                except OSError as error:
                    table, why = None, f"cannot be read ({error.strerror or error})"
                do = "run the study's command again, which trains its runs anew"
                yield part, "" if table is not None else f"{part}: damaged ({why}); {do}"
        for study in self.studies:
            if not os.path.lexists(study.folder / "study.json") and not study.wrong:
                continue  # it has not ended
            try:
                read_folder(study.folder)
            except InputError as error:
                yield study.folder, str(error)
            else:
                for name in FILES:
                    yield study.folder / name, ""


def size_of(folder: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if not folder.is_dir():
        return folder.lstat().st_size
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
