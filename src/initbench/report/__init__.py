"""From a study to a page that answers it: report.html, report.md, CSV tables, report.tex, figures, an archive.

>>> sorted(FORMATS)
['archive', 'csv', 'figures', 'html', 'latex', 'md']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any

from initbench.config.checks import one_of
from initbench.disk import make_folder, naming, published
from initbench.errors import refusal, shown
from initbench.report.source import Source, open_source

FORMATS = ("html", "md", "csv", "latex", "figures", "archive")
DEFAULT = ("html", "md", "csv")  # figures as files take as long as all the rest, an archive doubles what a study holds
Content = str | bytes | Callable[[IO[bytes]], None]  # of a file, or what writes it


def build(
    results: Any,
    *,
    baseline: str | None = None,
    family: Iterable[str] | str | None = None,
    target: Any = None,
    pairs: bool | None = None,
    formats: Iterable[str] | str = DEFAULT,
) -> dict[str, Path]:
    """Write the report of a study beside its frames; gives {file name: path}.

    `results`: a study folder or an archive of one, or an object with `runs`, `history`, `study` and `folder`. `baseline`: a setup's label or
    an initializer's name; `family`: such names, or text with commas: those that get a verdict, one correction for all of them
    (default: the study's, else everyone). `target`: a number of the study's metric, or "accuracy/val:0.9", "loss/train:0.1"; steps to
    target are then recomputed from the history. `pairs`: every two setups too, a matrix and pairs.csv (default: as the study
    says). `formats`: of FORMATS; figures are SVG and PDF files in figures/, the archive
    is study.zip. The same study gives the same bytes.
    Raises InputError for a folder that is none, an unknown format, baseline, family or target; nothing is written then.
    """
    wanted = _wanted(formats)  # refused before anything is read
    return write(open_source(results, baseline=baseline, family=family, target=target, pairs=pairs), wanted)


def write(source: Source, formats: Iterable[str] | str) -> dict[str, Path]:
    """Write the report of an opened study; gives {file name: path}."""
    files = _files(_wanted(formats), source)
    make_folder(source.folder)
    return {name: _write(source.folder / name, content) for name, content in files.items()}


def build_focus(results: Any, name: str, *, target: Any = None) -> dict[str, Path]:
    """Write the page of one setup, or of an initializer, against all others: focus-<name>.html in the study's folder.

    Raises InputError as `build` does.
    """
    from initbench.report import focus

    source = focus.opened(results, name, target)
    return {file: _write(source.folder / file, focus.focused(source, name)) for file in (focus.file_of(name),)}


def build_versus(
    first: Any, second: Any, *, target: Any = None, formats: Iterable[str] | str = DEFAULT
) -> dict[str, Path]:
    """Put two studies side by side: versus-<first>.html, .md and .csv in the folder of the second.

    Raises InputError as `build` does, and if the two have no setup in the same setting.
    """
    from initbench.report import versus

    wanted = [name for name in _wanted(formats) if name in ("html", "md", "csv")]
    if not wanted:
        raise refusal("formats", "two studies side by side have no other formats", "must be one of: html, md, csv")
    both = versus.Versus(*(open_source(one, target=target) for one in (first, second)))
    folder = both.b.folder
    contents = versus.files(both, wanted)
    make_folder(folder)
    return {name: _write(folder / name, content) for name, content in contents.items()}


def _wanted(formats: Iterable[str] | str) -> list[str]:
    wanted = [name.strip() for name in formats.split(",")] if isinstance(formats, str) else list(formats)
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        raise refusal(
            f"format {shown(', '.join(unknown) or 'none')}",
            "unknown" if unknown else "no format is named",
            one_of(", ".join(unknown), FORMATS),
        )
    return wanted


def _files(wanted: list[str], source: Source) -> dict[str, Content]:
    """{name: content} in the order of FORMATS; imported when asked for: a CSV needs no matplotlib."""
    files: dict[str, Content] = {}
    if {"html", "figures"} & set(wanted):
        from initbench.report.blocks import blocks
        from initbench.report.export import figure_files
        from initbench.report.page import page
        from initbench.report.svg import drawing

        with drawing():
            drawn = blocks(source)
            if "html" in wanted:
                files["report.html"] = page(source, drawn=drawn, formats=wanted)
            if "figures" in wanted:
                files |= figure_files(drawn[1].figures)
    from initbench.report import text

    if "md" in wanted:
        files["report.md"] = text.report_markdown(source)
    if "csv" in wanted:
        tables = {
            "leaderboard": source.board,
            "comparisons": source.pairs,
            "effects": source.effects,
            "summary": source.summary,
            **({"pairs": source.all_pairs} if source.every else {}),
        }
        files |= {f"{name}.csv": text.csv(table) for name, table in tables.items()}
    if "latex" in wanted:
        files["report.tex"] = text.report_latex(source)
    if "archive" in wanted:
        from initbench.report.export import archive

        files["study.zip"] = partial(archive, source, "study.zip")
    return files


def _write(path: Path, content: Content) -> Path:
    """Whole or not at all: a reader never sees half a page."""
    with naming(path.parent):
        path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        raise refusal(path, "a folder where a file belongs", "move it away")
    with published(path) as new, open(new, "wb") as out:
        if callable(content):
            content(out)
        else:
            out.write(content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content)
    return path


__all__ = ["DEFAULT", "FORMATS", "Source", "build", "build_focus", "build_versus", "open_source", "write"]
