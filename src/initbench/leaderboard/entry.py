"""One initializer's results as a file: what anybody can add, and what is believed only after it was checked.

An entry is data: nothing in it is imported, executed or looked up. It holds, for each setting, rate and seed, the step at which
the target was met, or `never`, or `diverged`; what that cost; and how it was made. `hash` is over all of the rest, so that a torn or
edited file is noticed; whether its numbers are true only a re-run tells (`--check`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench.disk import published
from initbench.errors import InputError, refusal, shown
from initbench.initializers.option_files import known, target_of
from initbench.leaderboard import checks
from initbench.leaderboard.settings import Grid

FORMAT = 1
NEVER, DIVERGED = "never", "diverged"
MOST_BYTES = 2**21
FRESH = "make it again with python -m initbench.leaderboard --add"


@dataclass(frozen=True)
class Entry:
    """A checked entry."""

    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.content["initializer"])

    @property
    def own(self) -> bool:
        """Whether it is no option of init: a person's own function, or one of an installed package."""
        return self.name not in known()

    def results(self, sharing: str) -> list[Mapping[str, Any]]:
        """One record a setting, in the order of the grid; none where it was not trained with this sharing."""
        return list(self.content["results"].get(sharing, ()))

    @property
    def text(self) -> str:
        """The file."""
        return written(self.content)

    @property
    def reproducible(self) -> str:
        """What a re-run must give byte for byte: all but how it was made, and the hash of that."""
        return canonical({key: value for key, value in self.content.items() if key not in ("made", "hash")})


def canonical(content: Any) -> str:
    """JSON without a choice: sorted keys, no spaces.

    >>> canonical({"b": 1.0, "a": [None]})
    '{"a":[null],"b":1.0}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def hash_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of an entry without its `hash`.

    >>> hash_of({"a": 1, "hash": "x"}) == hash_of({"a": 1})
    True
    """
    return hashlib.sha256(canonical({k: v for k, v in content.items() if k != "hash"}).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> Entry:
    """An entry of this content, with its hash."""
    return Entry({**content, "hash": hash_of(content)})


def written(content: Mapping[str, Any]) -> str:
    """The text of an entry file: one line a setting, so that a difference shows where it is.

    >>> print(written({"b": {"none": [{"x": 1}, {"x": 2}]}, "a": 1}), end="")
    {
    "a": 1,
    "b": {
     "none": [
      {"x": 1},
      {"x": 2}
     ]
    }
    }
    """
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_value(content[key])}" for key in sorted(content)) + "\n}\n"


def _value(value: Any) -> str:
    nested = isinstance(value, dict) and value and all(isinstance(part, list) for part in value.values())
    if not nested:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    parts = []
    for key in sorted(value):
        lines = ",\n".join(f"  {json.dumps(one, sort_keys=True, allow_nan=False)}" for one in value[key])
        parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}"


def path_of(name: str, folder: Path) -> Path:
    """The file of an initializer's entry."""
    return folder / f"{name}.json"


def write(entry: Entry, folder: Path) -> Path:
    """Publish an entry in its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(entry.name, folder)
    with published(path) as new:
        new.write_text(entry.text, encoding="utf-8")
    return path


def read(path: Path, grid: Grid) -> Entry:
    """A file as a checked entry; InputError names the file, what is wrong and what to do."""
    content = loaded(path)
    try:
        wrong, do = _wrong(path, content, grid)
    except RecursionError:  # what can be read can be too deep to be written
        wrong, do = "nested too deep", FRESH
    if wrong:
        raise refusal(path, wrong, do)
    return Entry(content)


def read_all(folder: Path, grid: Grid, but: str | None = None) -> tuple[list[Entry], list[InputError]]:
    """All entries of a folder by name, `but` one, and the refusals of those that do not fit."""
    found, refused = [], []
    for path in sorted(folder.glob("*.json")):
        if path.stem == but:
            continue
        try:
            found.append(read(path, grid))
        except InputError as error:
            refused.append(error)
    base = next((one for one in found if one.name == grid.baseline), None)
    if base is None:
        return found, refused
    same_nets = []
    for one in found:
        wrong = checks.other_net(one.content["results"], base.content["results"])
        if wrong:
            refused.append(refusal(path_of(one.name, folder), wrong, FRESH))
        else:
            same_nets.append(one)
    return same_nets, refused


def loaded(path: Path) -> Any:
    """The JSON of a file that is not too large, without what JSON readers disagree on."""

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    def real(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else constant(digits)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {shown(key)} is there twice")
            seen.add(key)
        return dict(pairs)

    try:
        if path.exists() and not path.is_file():  # a folder, or a device without an end
            raise refusal(path, "no regular file", "put the entry itself there")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise refusal(path, f"larger than {MOST_BYTES:,} bytes", FRESH)
        return json.loads(content.decode("utf-8"), parse_constant=constant, parse_float=real, object_pairs_hook=once)
    except OSError as error:
        raise refusal(path, f"cannot be read ({error.strerror})", "make it readable") from None
    except RecursionError:
        raise refusal(path, "nested too deep", FRESH) from None
    except UnicodeDecodeError:
        raise refusal(path, "not UTF-8 text", FRESH) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise refusal(path, f"not JSON ({error})", FRESH) from None


def _wrong(path: Path, content: Any, grid: Grid) -> tuple[str, str]:
    """(what is wrong, what to do); empty where it fits."""
    if not isinstance(content, dict):
        return "must be an object", FRESH
    form = content.get("format")
    if form != FORMAT or isinstance(form, bool):
        newer = isinstance(form, int) and not isinstance(form, bool) and form > FORMAT
        wrong = f"format {shown(form)}, this version reads {FORMAT}"
        return wrong, "update initbench" if newer else FRESH
    wrong = checks.wrong_head(content)
    if wrong:
        return wrong, FRESH
    if content["hash"] != hash_of(content):
        return "its hash is not that of its content: it was edited or is torn", FRESH
    name, target = content["initializer"], content["target"]
    if name in known() and target != target_of(name):
        return f"{shown(name)} is {target_of(name)}, not {shown(target)}", "name your own initializer module.function"
    if path.stem != content["initializer"]:
        return f"it is the entry of {shown(content['initializer'])}", "give the file the name of its initializer"
    return checks.wrong_results(content, grid), FRESH
