"""What a person must know before trusting a study, found while it is planned.

Said on the terminal before anything is trained, kept in study.json, and listed in the report under "Read before you
trust". What only shows in the results (divergence, the edge of a grid) is found by the report instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Caution(NamedTuple):
    """One thing to know: a title that stands alone, and a sentence on what follows from it and what to do."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


def merged(found: Iterable[tuple[str, Iterable[Caution]]]) -> list[dict[str, object]]:
    """Each caution once, with the labels of the arms that it is about: what study.json holds.

    >>> merged([("a", [Caution("T", "x")]), ("b", [Caution("T", "x")])])
    [{'title': 'T', 'text': 'x', 'arms': ['a', 'b']}]
    """
    arms: dict[Caution, list[str]] = {}
    for label, cautions in found:
        for caution in cautions:
            arms.setdefault(caution, []).append(label)
    return [{"title": caution.title, "text": caution.text, "arms": labels} for caution, labels in arms.items()]


def lines(cautions: Iterable[dict[str, object]], arms: int) -> list[str]:
    """The cautions as the terminal says them: one line each, with the arms where it is not about all of them.

    >>> lines([{"title": "T", "text": "x", "arms": ["a"]}], arms=2)
    ['T: x [a]']
    """
    out = []
    for caution in cautions:
        labels = [str(label) for label in caution["arms"]]  # type: ignore[attr-defined]
        about = "" if len(labels) == arms else f" [{', '.join(labels[:4])}{', …' if len(labels) > 4 else ''}]"
        out.append(f"{caution['title']}: {caution['text']}{about}")
    return out
