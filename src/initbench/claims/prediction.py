"""predictions.yaml: what a claim says, what is expected of it, and the sweep that will tell; fixed before the first run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from initbench.errors import refusal
from initbench.overrides.read import completed

FILE = "predictions.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML has it: a tenth of the time
KEYS = ("claim", "source", "suite", "parts", "tests", "sweeps", "quick")
OPTIONAL = ("numbers", "unit")


@dataclass(frozen=True)
class Part:
    """One checkable part of a claim. `says`: in words, with the bound; `expected`: the word that we bet on."""

    name: str
    says: str
    expected: str
    why: str = ""


@dataclass(frozen=True)
class Prediction:
    """A predictions.yaml. `sweeps`: {name: overrides}; `quick`: {name: overrides that come after them}, the names it runs.

    A later override takes the place of an earlier one of the same key.

    `tests`: how many races the full and the quick version make; those of all studies of one `suite` are one family.
    `numbers`: how many other tests, of numbers against a region. `unit`: what n counts.
    """

    claim: str
    source: str
    suite: str
    parts: tuple[Part, ...]
    tests: Mapping[str, int]
    sweeps: Mapping[str, Sequence[str]]
    quick: Mapping[str, Sequence[str]]
    digest: str
    numbers: Mapping[str, int] = field(default_factory=lambda: {"full": 0, "quick": 0})
    unit: str = "seeds"

    def overrides(self, quick: bool) -> dict[str, list[str]]:
        """{name of the sweep: its overrides}."""
        if not quick:
            return {name: list(given) for name, given in self.sweeps.items()}
        return {name: completed(self.sweeps[name], fixed=later) for name, later in self.quick.items()}


def load(folder: Path) -> Prediction:
    """The prediction of a study's folder, with the hash of the file: 12 digits of its SHA-256."""
    return _read((folder / FILE).read_bytes(), folder.name)


@lru_cache(maxsize=256)  # a family asks for all of them, and each study for its family
def _read(text: bytes, name: str) -> Prediction:
    given: dict[str, Any] = yaml.load(text, Loader=LOADER)
    if sorted(set(given) - set(OPTIONAL)) != sorted(KEYS):
        raise refusal(
            f"{name}/{FILE}", f"its keys are {', '.join(sorted(given))}", f"must be: {', '.join(sorted(KEYS))}"
        )
    parts = tuple(Part(name, **part) for name, part in given["parts"].items())
    common = given["sweeps"].pop("all", [])
    sweeps = {name: completed(common, fixed=own) for name, own in given["sweeps"].items()}
    digest = hashlib.sha256(text).hexdigest()[:12]
    rest = {key: given[key] for key in given if key not in ("parts", "sweeps")}
    return Prediction(**rest, parts=parts, sweeps=sweeps, digest=digest)


def family(folder: Path, quick: bool) -> int:
    """How many tests the studies of this study's suite make together: the family of Holm's correction.

    So a verdict does not depend on which studies were run beside it.
    """
    suite = load(folder).suite
    others = (load(path.parent) for path in sorted(folder.parent.glob(f"*/{FILE}")))
    return sum(one.tests["quick" if quick else "full"] for one in others if one.suite == suite)
