"""What the pages and the last table say of one study, from its analysis and the table of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from initbench.reproduce.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

    from initbench.claims.found import Found


@dataclass(frozen=True)
class Outcome:
    """A study and what came out; `verdict` is None where it has not run in full."""

    slug: str
    claim: str
    source: str
    expected: str
    verdict: Verdict | None = None
    size: str = ""
    parts: Sequence[Found] = ()


def outcome(slug: str, analysis: ModuleType, measured: pd.DataFrame | None) -> Outcome:
    """The outcome of a study; `measured`: its results/summary.csv, None where there is none."""
    study = study_of(analysis)
    said = (analysis.__doc__ or slug).strip().splitlines()[0]
    claim = study.given.claim if study else getattr(analysis, "CLAIM", said)
    source = study.given.source if study else getattr(analysis, "SOURCE", "")
    if measured is None:
        return Outcome(slug, claim, source, expectation(analysis))
    size = study.size if study else getattr(analysis, "size", lambda measured: "")
    parts = study.found(measured) if study else ()
    return Outcome(slug, claim, source, expectation(analysis), analysis.verdict(measured), size(measured), parts)


def study_of(analysis: ModuleType) -> Any:
    """The claims.Study whose methods an analysis offers; None where its functions are written out."""
    return getattr(analysis.verdict, "__self__", None)


def expectation(analysis: ModuleType) -> str:
    """What was expected before the first run, in one line: a word for each part, or the prediction."""
    study = study_of(analysis)
    if study is None:
        return str(analysis.predict())
    return "; ".join(f"{part.name} {part.expected}" for part in study.given.parts)


def overrides_of(analysis: ModuleType, quick: bool) -> Mapping[str, Sequence[str]]:
    """{sweep: its overrides}; nothing for an analysis that does not say."""
    study = study_of(analysis)
    if study is not None:
        return dict(study.given.overrides(quick))
    return dict(analysis.sweeps(quick)) if hasattr(analysis, "sweeps") else {}
