"""The table of docs/durability.md from the results of `python -m benchmarks.faults`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

MARK = "<!-- table: python -m benchmarks.faults --doc docs/durability.md -->"


def write(results: Path, page: Path) -> None:
    """Replace all after the mark."""
    text = page.read_text().split(MARK)[0]
    page.write_text(f"{text}{MARK}\n\n{table(json.loads(results.read_text()))}\n")


def table(done: dict[str, Any]) -> str:
    """Markdown of everything that was done."""
    lines = ["| killed | in the phase | kills | ended as if undisturbed |", "|---|---|---:|---:|"]
    hits = [kill for chain in done.get("kills", []) for kill in chain["kills"] if kill["hit"]]
    for who, phase in dict.fromkeys((kill["who"], kill["phase"]) for kill in sorted(hits, key=order)):
        own = [kill["fine"] for kill in hits if (kill["who"], kill["phase"]) == (who, phase)]
        lines.append(f"| {who} | {phase} | {len(own)} | {sum(own)} |")
    lines.append(f"| **all** | | **{len(hits)}** | **{sum(kill['fine'] for kill in hits)}** |")
    lines += [
        "",
        "| what was done | status | what the command said | the same command then | lost |",
        "|---|---:|---|---|---|",
    ]
    for row in done.get("rows", []):
        if row["skipped"]:
            lines.append(f"| {row['name']} | | skipped: {row['skipped']} | | |")
            continue
        then = "the same bytes" if row["again"] == 0 and not row["differs"] else f"status {row['again']}"
        hurt = [*row["differs"], *row["orphans"], *row["leftovers"]]
        lines.append(
            f"| {row['name']} | {row['status']} | {cell(row['said'])} | {then} | {', '.join(hurt) or 'nothing'} |"
        )
    return "\n".join(lines)


def order(kill: dict[str, Any]) -> tuple[int, int]:
    """The whole group first, phases as they come."""
    from benchmarks.faults.kills import GROUP, PARENT, PHASES, REPORTER, SERVER, WORKER

    return [GROUP, PARENT, WORKER, REPORTER, SERVER].index(kill["who"]), list(PHASES).index(kill["phase"])


def cell(text: str) -> str:
    """A line in a cell of a table, as code."""
    text = re.sub(r"([0-9a-f]{6})[0-9a-f]{10,}", r"\1…", text)  # keys and digests
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`" if text else ""
