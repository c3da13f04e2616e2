"""maps.md on the site: which layer uses which stored weight, drawn from the schemes themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from drawn import box, picture, text

from initbench import catalogue
from initbench.config.groups import ModelConfig, SharingConfig
from initbench.errors import NotApplicable
from initbench.sharing.build import BUILDERS, scheme
from initbench.sharing.scheme import Scheme

DEPTH, WIDTH = 7, 8
BY_HAND = {"explicit": [[1, 5], [2, 4]], "transposed": [[1, 6], [2, 5]]}  # what these need
CELL, GAP = 44, 8


def scheme_of(name: str) -> Scheme:
    layers = ModelConfig(depth=DEPTH, width=WIDTH).layers(WIDTH, WIDTH)
    try:
        return scheme(SharingConfig(name), layers)
    except NotApplicable:
        return scheme(SharingConfig(name, groups=BY_HAND[name]), layers)


def drawn_map(name: str) -> str:
    """The layers from input to output, each with the letter and colour of the weight that it uses; a mark where a formula
    makes its weight from that."""
    found = scheme_of(name)
    letters = {slot.name: chr(ord("A") + i) for i, slot in enumerate(found.weights)}
    together = {
        slot: group[0] for group in (*found.ties, *found.soft) for slot in group
    }  # equal for a while, or pulled
    shared = [one for one in found.weights if len(one.layers) > 1]
    colour = {one.name: f"slot-{i % 4}" for i, one in enumerate(shared)}
    parts = []
    for layer, slot in enumerate(found.weight_slot):
        x = layer * (CELL + GAP)
        kind = colour.get(slot.name, "slot-tied" if slot.name in together else "slot")
        parts += [box(x, 2, CELL, CELL, kind)]
        parts += [text(x + CELL / 2, 30, letters[slot.name] + ("′" if layer in found.formulas else ""), "middle")]
        parts += [text(x + CELL / 2, CELL + 18, layer, "middle", "small")]
    uses = "".join(letters[slot.name] for slot in found.weight_slot)
    return picture((DEPTH + 1) * (CELL + GAP), CELL + 24, parts, f"layers 0 to {DEPTH} use the weights {uses}")


def meanings(page: str) -> dict[str, tuple[str, str, str]]:
    """Scheme -> (weight of layer l, what is stored, source), from the table of sharing.md."""
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in page.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    return {re.findall(r"\w+", name)[0]: (weight, stored, source) for name, weight, stored, _, source in cells}


def section(name: str, weight: str, stored: str, source: str, options: list[str]) -> str:
    lines = [f"### {name}\n", f"**{weight}**\n", drawn_map(name) + "\n"]
    lines += [f"- Stored weights of the group: {stored}"] if stored else []
    lines += [f"- Source: {source}"] if source else []
    lines += [f"- Options: {', '.join(f'`sharing={one}`' for one in options)}"]
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri != "maps.md":
        return markdown
    table = meanings((Path(__file__).parents[1] / "sharing.md").read_text(encoding="utf-8"))
    options = [row["option"] for row in catalogue.option_rows("sharing")]
    of_scheme = {name: [one for one in options if re.fullmatch(rf"{name}(_\d)?", one)] or [name] for name in BUILDERS}
    sections = [section(name, *table[name], of_scheme[name]) for name in BUILDERS]
    return markdown.replace("<!-- maps -->", "\n\n".join(sections))
